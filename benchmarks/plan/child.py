"""One point, really run, in a process of its own: prints the peak of its memory above the state after imports."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from basewright import machine
from basewright.records import TrainSettings, silent
from benchmarks.plan.points import FITS, POINTS, Point

STEPS = 2
"""The second step begins with the optimizer's moments: the first that needs all."""


def main(group: str, number: int, keep: bool) -> None:
    if not keep:
        machine.return_freed_memory()
    import peft  # noqa: F401
    import pydantic  # noqa: F401 - all that every walk of Basewright loads
    import rich.console  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch
    import transformers  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM  # noqa: F401

    from basewright.engine import torch_lm  # noqa: F401
    from basewright.train import loop  # noqa: F401

    torch.set_num_threads(1)
    torch.manual_seed(0)
    point = (POINTS if group == "points" else FITS)[number]
    before = machine.resident()
    machine.forget_peak()
    started = time.monotonic()
    run(point)
    print(
        json.dumps({"peak": machine.peak_resident() - before, "imports": before, "seconds": time.monotonic() - started})
    )


def run(point: Point) -> None:
    ask, model = point.ask, build(point.config)
    if ask.job in ("evaluate", "complete"):
        _use(model.eval(), point)
        return
    if ask.precision == "bfloat16":
        model.bfloat16()
    if ask.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if ask.rank:
        model = with_lora(model, ask.rank, point)
    if ask.plain:
        _train_plainly(model.train(), point)
    else:
        _train(model, point)


def build(config: dict[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM

    words = {key: value for key, value in config.items() if key != "model_type"}
    made = CONFIG_MAPPING[config["model_type"]](**words)
    made._attn_implementation = "sdpa"
    auto = AutoModelForMaskedLM if "bert" in config["model_type"] else AutoModelForCausalLM
    return auto.from_config(made).float()


def with_lora(model: Any, rank: int, point: Point) -> Any:
    from peft import LoraConfig, get_peft_model

    from basewright.plan.model import Model

    targets = Model.of(point.card).targets(point.ask.targets)
    if "bert" in point.config["model_type"]:
        names: Any = rf".*layer.*\.({'|'.join(targets)})"  # not the dense layer of the head
    else:
        names = list(targets)
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=names))


def _train(model: Any, point: Point) -> None:
    """Through the loop that Basewright trains with."""
    import numpy as np

    from basewright.data.pack import Packed, pack
    from basewright.text.encode import Encoded
    from basewright.train import attention, loop, losses, quick

    attention.install()
    model.set_attn_implementation(attention.NAME)
    quick.quicken(model)
    ask, vocabulary = point.ask, point.card.shape.vocabulary

    def rows(step: int) -> list[Packed]:
        shape = (ask.batch, ask.context)
        ids = np.random.default_rng(step).integers(0, vocabulary, shape).tolist()
        return [pack([Encoded(tuple(row), (True,) * ask.context) for row in ids])]

    settings = TrainSettings(
        steps=STEPS,
        batch_tokens=ask.micro_tokens,
        micro_tokens=ask.micro_tokens,
        learning_rate=1e-3,
        warmup=1,
        weight_decay=0.0,
        clip=1.0,
        seed=0,
        precision="float32" if ask.precision == "float32" else "bfloat16",
    )
    with tempfile.TemporaryDirectory() as scratch:
        loop.run(model, rows, losses.next_token, settings, Path(scratch), silent, identity="benchmark")


def _train_plainly(model: Any, point: Point) -> None:
    """Forward, loss, backward, AdamW, as transformers and PEFT do by themselves."""
    import torch

    ask, vocabulary = point.ask, point.card.shape.vocabulary
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    loss_of = _preference if ask.job == "dpo" else _likelihood
    for step in range(STEPS):
        torch.manual_seed(step)
        rows = ask.batch * (2 if ask.job == "dpo" else 1)
        loss_of(model, torch.randint(0, vocabulary, (rows, ask.context))).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _likelihood(model: Any, ids: Any) -> Any:
    words = {} if "bert" in model.config.model_type else {"use_cache": False}
    return model(input_ids=ids, labels=ids, **words).loss


def _preference(model: Any, ids: Any) -> Any:
    """DPO's loss on pairs, the reference being the base without its adapter (Rafailov et al. 2023)."""
    import torch
    from torch.nn import functional

    def said() -> Any:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        picked = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return -picked.view(ids.shape[0], -1).sum(-1)

    with torch.no_grad(), model.disable_adapter():
        reference = said()
    gain = said() - reference
    chosen, rejected = gain.chunk(2)
    return -functional.logsigmoid(0.1 * (chosen - rejected)).mean()


def _use(model: Any, point: Point) -> None:
    import torch

    ask, vocabulary = point.ask, point.card.shape.vocabulary
    if ask.plain:
        with torch.no_grad():
            for step in range(2):
                torch.manual_seed(step)
                ids = torch.randint(0, vocabulary, (ask.batch, ask.context))
                logits = model(
                    input_ids=ids, **({} if "bert" in model.config.model_type else {"use_cache": False})
                ).logits
                del logits
        return
    lm = _engine(model, vocabulary)
    draw = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(2, vocabulary)}" for _ in range(count))

    if ask.job == "complete":
        from basewright.engine.lm import Sampling

        prompts = [[draw.randrange(2, vocabulary) for _ in range(ask.context - 32)] for _ in range(ask.batch)]
        list(lm.complete(prompts, [Sampling(max_tokens=32, temperature=0.0)] * ask.batch))
        return
    from basewright.engine.lm import Request
    from basewright.plan.memory import OWN_TOKENS

    shared = words(ask.context - OWN_TOKENS)
    choices = tuple(" " + words(3) for _ in range(4))
    own = OWN_TOKENS - sum(2 for _ in choices)
    lm.loglikelihood([Request(f"{shared} {words(own)}", choices) for _ in range(100)])
    lm.rolling([words(ask.context * 2)])


def _engine(model: Any, vocabulary: int) -> Any:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    from basewright.engine.torch_lm import TorchLM
    from basewright.text.tokenizer import Tokenizer

    backend = Backend(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = Tokenizer(backend=backend, bos=False, bos_id=None, eos_id=0, pad_id=1, size=vocabulary)
    return TorchLM(name="random", model=model, tokenizer=tokenizer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["keep"])
