"""What `tuning.py` measures of others, each in an environment of its own; imported there only.

TRL: trl 1.16.0, datasets, and the torch, transformers and peft of ours. LLaMA-Factory pins its own:
`pip install llamafactory==0.9.5 torch==2.13.0`, then `pip uninstall torchvision torchaudio`, whose wheels do not match
a torch built for CPUs; it imports torchaudio whatever it trains, so an empty one is put in its place.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.tuning import CONTEXT, RANK, ROWS_A_STEP, TARGETS, VOCABULARY, Clock, new_model, other, rows

IGNORE = -100
LINE = 2048
"""LLaMA-Factory's own length of a packed line; two are a step. Of lines of 512, a fifth would be padding."""


def trl(asked: dict[str, Any], clock: Clock) -> tuple[list[float], float | None]:
    """SFTTrainer with what TRL's documentation proposes: packing, or eight rows padded to the longest."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    packing = asked["kind"] == "packed"
    config = SFTConfig(
        **_settings(asked), packing=packing, max_length=CONTEXT, gradient_checkpointing=False,
        train_sampling_strategy="sequential",
    )  # fmt: skip
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    watch = Watch(clock)
    torch.manual_seed(0)
    trainer = watch.over(SFTTrainer)(
        model=new_model(asked), args=config, train_dataset=Dataset.from_dict({"input_ids": _rows(asked)}),
        processing_class=_tokenizer(), peft_config=lora, callbacks=[watch.callback()],
    )  # fmt: skip
    trainer.train()
    return watch.losses, watch.neighbour() if packing else None


def llamafactory(asked: dict[str, Any], clock: Clock) -> tuple[list[float], float | None]:
    """Its SFT stage from files, as its command line runs it: `packing`, `neat_packing`, or eight rows padded."""
    torchaudio = ModuleType("torchaudio")
    torchaudio.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = torchaudio
    from llamafactory.train.sft import workflow  # type: ignore[import-not-found]
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]

    folder = _files(asked)
    watch = Watch(clock)
    workflow.CustomSeq2SeqTrainer = watch.over(workflow.CustomSeq2SeqTrainer)
    unpacked = asked["kind"] == "unpacked"
    lines: dict[str, Any] = {"cutoff_len": CONTEXT}
    if not unpacked:
        lines = {"cutoff_len": LINE, "per_device_train_batch_size": ROWS_A_STEP * CONTEXT // LINE, "packing": True}
    run_exp(
        {
            **_settings(asked), **lines, "stage": "sft", "do_train": True, "model_name_or_path": str(folder / "model"),
            "dataset": "rows", "dataset_dir": str(folder), "cache_dir": str(folder / "cache"), "template": "empty",
            "neat_packing": asked["kind"] == "neat", "disable_shuffling": unpacked, "finetuning_type": "lora",
            "lora_rank": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.0, "lora_target": ",".join(TARGETS),
            "disable_gradient_checkpointing": True,
        },
        [watch.callback()],
    )  # fmt: skip
    return watch.losses, None if unpacked else watch.neighbour()


def _files(asked: dict[str, Any]) -> Path:
    """A folder with the model, a tokenizer and the rows as LLaMA-Factory reads them."""
    folder = Path(tempfile.mkdtemp(dir=asked["folder"]))
    new_model(asked).save_pretrained(folder / "model")
    _tokenizer().save_pretrained(folder / "model")
    told = [[_word(id) for id in row] for row in _rows(asked)]
    # A prompt of one id, so that all others are learned and none is predicted from the row before.
    examples = [{"instruction": words[0], "input": "", "output": " ".join(words[1:])} for words in told]
    (folder / "rows.json").write_text(json.dumps(examples), "utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), "utf-8")
    return folder


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """Arguments of transformers' Trainer, which both build on."""
    return {
        "output_dir": tempfile.mkdtemp(dir=asked["folder"]), "per_device_train_batch_size": ROWS_A_STEP,
        "max_steps": asked["steps"] + 1, "learning_rate": asked["rate"], "lr_scheduler_type": "constant",
        "weight_decay": 0.0, "max_grad_norm": 1.0, "adam_beta2": 0.999, "bf16": asked["precision"] == "bfloat16",
        "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "report_to": "none", "disable_tqdm": True,
        "seed": 0,
    }  # fmt: skip


def _rows(asked: dict[str, Any]) -> list[list[int]]:
    """As many as its steps take; packed, some are left over."""
    return rows(asked, (ROWS_A_STEP if asked["kind"] == "unpacked" else 20) * (asked["steps"] + 1))


def _word(id: int) -> str:
    """All of one length: as a special token, none is found inside another."""
    return f"t{id:05}"


def _tokenizer() -> Any:
    """Words of ids: TRL wants one, though its rows are ids already; LLaMA-Factory reads text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({_word(id): id for id in range(VOCABULARY)}, unk_token=_word(0)))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, bos = _word(0), _word(1)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, eos_token=bos, bos_token=bos)


class Watch:
    """What a Trainer computes in each step, seen from inside it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.losses: list[float] = []
        self.model: Any = None
        self.inputs: dict[str, Any] = {}

    def over(self, trainer: Any) -> Any:
        """The same trainer, its inputs seen."""
        watch = self

        class Watched(trainer):  # type: ignore[misc]
            def compute_loss(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
                watch.inputs = dict(inputs)
                return super().compute_loss(model, inputs, *rest, **more)

        return Watched

    def callback(self) -> Any:
        from transformers import TrainerCallback

        watch = self

        class Follow(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
                watch.begin(model)

            def on_step_end(self, *_: Any, **__: Any) -> None:
                watch.clock.step(watch.tokens())

            def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
                watch.losses += [logs["loss"]] if "loss" in logs else []

        return Follow()

    def begin(self, model: Any) -> None:
        import torch

        assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
        self.model = model
        self.clock.begin()

    def tokens(self) -> int:
        """Those of rows: what is learned, and the first token of each row."""
        learned = self.inputs["labels"] != IGNORE
        started = learned[:, 1:] & ~learned[:, :-1]
        return int(learned.sum() + started.sum())

    def neighbour(self) -> float:
        """What another first row changes in the nats of the second, packed behind it, in the last step's inputs."""
        import torch

        line, second, end = self._second_row()
        given = {key: value for key, value in self.inputs.items() if key != "labels"}
        changed = given["input_ids"].clone()
        changed[line, :second] = torch.tensor(other(changed[line, :second].tolist()))
        self.model.eval()
        nats = []
        with torch.no_grad():
            for ids in (given["input_ids"], changed):
                logits = self.model(**{**given, "input_ids": ids}).logits[line, second : end - 1].float()
                nats.append(
                    float(torch.nn.functional.cross_entropy(logits, ids[line, second + 1 : end], reduction="sum"))
                )
        return abs(nats[1] - nats[0])

    def _second_row(self) -> tuple[int, int, int]:
        """A line with two rows, and where its second begins and ends."""
        for line, positions in enumerate(self.inputs["position_ids"].tolist()):
            starts = [i for i, position in enumerate(positions) if position == 0] + [len(positions)]
            if len(starts) > 2 and starts[2] - starts[1] > 1:  # padding is all zeros
                return line, starts[1], starts[2]
        raise SystemExit("no line of the last step holds two rows")
