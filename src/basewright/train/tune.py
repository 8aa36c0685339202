"""Adapt a base model with LoRA (Hu et al. 2021), on data that carries a certificate."""

from __future__ import annotations

import json
import logging
import resource
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers.pytorch_utils import Conv1D

from basewright import store
from basewright.data.pack import Order, Packed, pack
from basewright.errors import Refused
from basewright.plain import to_plain
from basewright.records import Adapter, Certificate, Item, Layout, LoraSettings, Made, Progress, TrainSettings, Weights
from basewright.store import Work
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import loop, losses
from basewright.train.opened import open_model


def examples(items: Sequence[Item], layout: Layout, tokenizer: Tokenizer) -> list[Encoded]:
    """Each item as its prompt and its label, ended by a supervised EOS."""
    return [encode.example(tokenizer, layouts.prompt(layout, item.text), layouts.target(item.label)) for item in items]


def data_hash(rows: Sequence[Encoded]) -> str:
    """Identity of training data as the model sees it: every token id and every mask bit, in order."""
    return store.digest([[row.ids, row.mask] for row in rows])


def tune(
    base: Made[Weights],
    certificate: Certificate,
    items: Sequence[Item],
    layout: Layout,
    lora: LoraSettings,
    settings: TrainSettings,
    work: Work,
    progress: Progress,
) -> Adapter:
    """Train a LoRA adapter and write it to `work.out/adapter` in PEFT's format.

    Raises `Refused` unless `certificate` passed and is about exactly these rows. Resumes after a kill.
    """
    tokenizer = open_tokenizer(base.folder / "model")
    rows = examples(items, layout, tokenizer)
    _require(certificate, base.record.card.id, data_hash(rows))
    order = Order(tuple(len(row.ids) for row in rows), settings.micro_tokens, settings.batch_tokens, settings.seed)
    model = _with_lora(open_model(base.folder / "model"), lora, settings.seed)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)

    def packed(step: int) -> list[Packed]:
        return [pack([rows[i] for i in micro]) for micro in order.step(step)]

    state = loop.run(
        model,
        packed,
        losses.next_token,
        settings,
        work.scratch,
        progress,
        identity=store.digest([base.record.commit, certificate.data_hash, lora]),
    )
    folder = work.out / "adapter"
    _write(model, folder, base.record)
    work.measured["peak_memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Adapter(
        base=base.record.card.id,
        base_commit=base.record.commit,
        lora=lora,
        train=settings,
        data_hash=certificate.data_hash,
        layout=layout,
        bos=tokenizer.bos,
        stop_ids=(tokenizer.eos_id,),
        trainable=trainable,
        tokens=state.tokens,
        flops=4.0 * base.record.card.parameters * state.tokens,
        first_loss=state.first_loss,
        last_loss=state.last_loss,
        sha256=store.sha256_of(folder / "adapter_model.safetensors"),
    )


def steps_for(rows: Sequence[Encoded], seen: int, micro_tokens: int, batch_tokens: int, seed: int) -> int:
    """Optimizer steps until at least `seen` examples have been trained on."""
    order = Order(tuple(len(row.ids) for row in rows), micro_tokens, batch_tokens, seed)
    steps, epoch = 0, 0
    while seen > 0:
        for batch in order.epoch(epoch):
            if seen > 0:
                seen -= sum(len(micro) for micro in batch)
                steps += 1
        epoch += 1
    return steps


def _require(certificate: Certificate, base: str, data: str) -> None:
    if not certificate.passed:
        failed = next(check for check in certificate.checks if not check.passed)
        raise Refused(f"the training data is not certified: {failed.name}", fix="correct the data, then build again")
    if certificate.base != base or certificate.data_hash != data:
        raise Refused(
            f"the certificate is about other data or another base than {base}", fix="build again: it certifies anew"
        )


def _with_lora(model: Any, lora: LoraSettings, seed: int) -> Any:
    """LoRA on the named linear layers; A random from the seed, B zero, so that step 0 is the base itself."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    try:
        with warnings.catch_warnings():  # peft speaks of experts, on which no adapter sits
            warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
            return get_peft_model(model, config)
    except ValueError as error:
        raise Refused(f"LoRA does not fit this model: {error}", fix="correct [tune].targets in the recipe") from error


def _write(model: Any, folder: Path, base: Weights) -> None:
    """PEFT's files, with the base named as id@commit instead of a path of this machine."""
    logging.getLogger("peft").setLevel(logging.ERROR)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    config["base_model_name_or_path"] = base.card.id
    config["revision"] = base.commit
    config["target_modules"] = sorted(config["target_modules"])  # PEFT writes a set, in another order each time
    store.write_json(path, to_plain(config))
