"""Tuning refuses data that nobody certified, and moves what it should and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from basewright import store
from basewright.catalog import cards
from basewright.data import rows
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.hub import pull
from basewright.records import (
    Adapter,
    Certificate,
    Check,
    Item,
    Layout,
    LoraSettings,
    Made,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text.tokenizer import open_tokenizer
from basewright.train import tune
from tests.models import tiny_llama

LAYOUT = Layout(prompt="T: {text}\nL:", separator="\n\n")
ITEMS = [Item(id=rows.identity(t), text=t, label=label) for t, label in (("one clock", "a"), ("two ropes", "b")) * 4]
LORA = LoraSettings(rank=4, alpha=8.0, targets=("q_proj", "v_proj"))
SETTINGS = TrainSettings(
    steps=4, batch_tokens=128, micro_tokens=128, learning_rate=0.01, warmup=1, weight_decay=0.0, clip=1.0, seed=0
)


@pytest.fixture
def base(tmp_path: Path) -> Made[Weights]:
    card = cards.get(str(tiny_llama(tmp_path / "one")))
    made, _ = Store(tmp_path / "runs").make("weights", {}, Weights, lambda work: pull.pull(card, work))
    return made


def certificate(base: Made[Weights], items: list[Item] = ITEMS, passed: bool = True) -> Certificate:
    encoded = tune.examples(items, LAYOUT, open_tokenizer(base.folder / "model"))
    check = Check(name="every row learns to stop", value=0.0, limit=0.0, passed=passed, how="h")
    return Certificate(
        base=base.record.card.id, data_hash=tune.data_hash(encoded), rows=len(encoded), tokens=1, supervised_tokens=1,
        longest=1, labels={}, bos_id=0, eos_id=0, pad_id=1, overlays=(), checks=(check,),
    )  # fmt: skip


def run(
    base: Made[Weights], paper: Certificate, tmp_path: Path, lora: LoraSettings = LORA, items: list[Item] = ITEMS
) -> Made[Adapter]:
    made, _ = Store(tmp_path / "runs").make(
        "adapter",
        {"lora": lora},
        Adapter,
        lambda work: tune.tune(base, paper, items, LAYOUT, lora, SETTINGS, work, silent),
    )
    return made


def test_no_certificate_for_these_rows_no_training(base: Made[Weights], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="about other data"):
        run(base, certificate(base, ITEMS[:-1]), tmp_path)
    with pytest.raises(Refused, match="about other data or another base"):
        run(base, replace(certificate(base), base="another"), tmp_path)
    with pytest.raises(Refused, match="not certified: every row learns to stop"):
        run(base, certificate(base, passed=False), tmp_path)


def test_h048_targets_that_name_nothing_are_refused(base: Made[Weights], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="LoRA does not fit"):
        run(base, certificate(base), tmp_path, replace(LORA, targets=("q_prj",)))


def test_h048_only_the_adapter_moves_and_all_of_it(base: Made[Weights], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    before = store.entries(base.folder / "model")
    made = run(base, certificate(base), tmp_path)
    assert store.entries(base.folder / "model") == before
    tensors = load_file(made.folder / "adapter" / "adapter_model.safetensors")
    moved = [name for name, tensor in tensors.items() if "lora_B" in name and tensor.abs().max() > 0]
    assert len(moved) == 2 * 2
    assert made.record.trainable == sum(tensor.numel() for tensor in tensors.values())


def test_step_0_is_the_base(base: Made[Weights]) -> None:
    import torch

    folder = base.folder / "model"
    ids = torch.tensor([[0, 5, 9]])
    plain = load_model(folder)(input_ids=ids).logits
    fresh = tune._with_lora(load_model(folder), LORA, 0).eval()(input_ids=ids).logits
    assert torch.equal(plain, fresh)


def test_steps_count_examples_not_time(base: Made[Weights]) -> None:
    encoded = tune.examples(ITEMS, LAYOUT, open_tokenizer(base.folder / "model"))
    per_epoch = tune.steps_for(encoded, len(encoded), 64, 64, 0)
    assert tune.steps_for(encoded, 1, 64, 64, 0) == 1
    assert tune.steps_for(encoded, 3 * len(encoded), 64, 64, 0) >= 3 * per_epoch - 2
