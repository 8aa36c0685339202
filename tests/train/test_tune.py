"""Tuning refuses data that nobody certified, and moves what it should and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from basewright import store
from basewright.catalog import cards
from basewright.data import rows
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.hub import airlock, pull
from basewright.records import (
    Adapter,
    Certificate,
    Check,
    Checkpoint,
    Item,
    Layout,
    LoraSettings,
    LoraVariant,
    Made,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text.tokenizer import open_tokenizer
from basewright.train import adapters, tune
from basewright.train.objectives import NextToken
from tests.models import tiny_llama

LAYOUT = Layout(prompt="T: {text}\nL:", separator="\n\n")
ITEMS = [Item(id=rows.identity(t), text=t, label=label) for t, label in (("one clock", "a"), ("two ropes", "b")) * 4]
LORA = LoraSettings(rank=4, alpha=8.0, targets=("q_proj", "v_proj"))
SETTINGS = TrainSettings(
    steps=4, batch_tokens=128, micro_tokens=128, learning_rate=0.01, warmup=1, weight_decay=0.0, clip=1.0, seed=0
)


@pytest.fixture
def base(tmp_path: Path) -> Made[Weights]:
    return pulled(tmp_path)


def pulled(tmp_path: Path, precision: str = "float32") -> Made[Weights]:
    card = cards.get(str(tiny_llama(tmp_path / "one", precision=precision)))
    made, _ = Store(tmp_path / "runs").make("weights", {}, Weights, lambda work: pull.pull(card, work))
    return made


def certificate(base: Made[Weights], items: list[Item] = ITEMS, passed: bool = True) -> Certificate:
    encoded = tune.examples(items, LAYOUT, open_tokenizer(base.folder / "model"))
    check = Check(name="every row learns to stop", value=0.0, limit=0.0, passed=passed, how="h")
    return Certificate(
        base=base.record.card.id, data_hash=NextToken(encoded).identity, rows=len(encoded), tokens=1,
        supervised_tokens=1, longest=1, labels={}, bos_id=0, eos_id=0, pad_id=1, overlays=(), checks=(check,),
    )  # fmt: skip


def run(
    base: Made[Weights],
    paper: Certificate,
    tmp_path: Path,
    lora: LoraSettings = LORA,
    *,
    settings: TrainSettings = SETTINGS,
    continued: Path | None = None,
) -> Made[Adapter]:
    encoded = tune.examples(ITEMS, LAYOUT, open_tokenizer(base.folder / "model"))
    made, _ = Store(tmp_path / "runs").make(
        "adapter",
        {"lora": lora, "settings": settings, "from": str(continued)},
        Adapter,
        lambda work: tune.adapt(base, paper, NextToken(encoded), LAYOUT, lora, settings, work, silent, continued),
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
    fresh = adapters.put_on(load_model(folder), LORA, 0).eval()(input_ids=ids).logits
    assert torch.equal(plain, fresh)


@pytest.mark.parametrize("variant", adapters.VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_plain_peft_loads_what_was_trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: LoraVariant,
    precision: Literal["float32", "bfloat16"],
) -> None:
    """The adapter on the plain base answers as the model did when its last step was done."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = pulled(tmp_path, precision)
    trained: list[torch.Tensor] = []
    ids, write = torch.tensor([[0, 5, 9, 40, 7]]), adapters.write

    def asked(model: Any, *rest: Any) -> None:
        model.get_base_model().set_attn_implementation("sdpa")
        trained.append(model.float().eval()(input_ids=ids).logits.detach())
        write(model, *rest)

    monkeypatch.setattr(adapters, "write", asked)
    settings = replace(SETTINGS, precision=precision)
    made = run(base, certificate(base), tmp_path, replace(LORA, variant=variant), settings=settings)
    plain = AutoModelForCausalLM.from_pretrained(base.folder / "model", dtype=torch.float32)
    before = plain(input_ids=ids).logits
    loaded = PeftModel.from_pretrained(plain, made.folder / "adapter").eval()(input_ids=ids).logits
    assert (loaded - trained[0]).abs().max() < 2e-5
    assert (loaded - before).abs().max() > 0.01


def test_an_adapter_is_continued_from_where_it_was(base: Made[Weights], tmp_path: Path) -> None:
    first = run(base, certificate(base), tmp_path)
    folder = first.folder / "adapter"
    assert adapters.settings_of(folder) == replace(LORA, targets=tuple(sorted(LORA.targets)))
    again = run(base, certificate(base), tmp_path, replace(LORA, targets=("q_proj", "v_proj")), continued=folder)
    assert again.record.first_loss < first.record.first_loss
    assert again.record.parent == first.record.sha256
    with pytest.raises(Refused, match="does not fit"):
        run(base, certificate(base), tmp_path, replace(LORA, rank=8), continued=folder)


def test_all_weights_are_written_as_a_model_that_stops(base: Made[Weights], tmp_path: Path) -> None:
    """transformers alone opens the folder, gives the label that was taught, and ends there."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = open_tokenizer(base.folder / "model")
    rows_of = tune.examples(ITEMS, LAYOUT, tokenizer)
    settings = replace(SETTINGS, steps=40, learning_rate=3e-3)
    made, _ = Store(tmp_path / "runs").make(
        "checkpoint",
        {},
        Checkpoint,
        lambda work: tune.full(base, certificate(base), NextToken(rows_of), LAYOUT, settings, work, silent),
    )
    assert made.record.tuning is not None
    assert made.record.tuning.last_loss < 0.1 < made.record.tuning.first_loss
    airlock.inspect(made.folder)
    model = AutoModelForCausalLM.from_pretrained(made.folder)
    plain = AutoTokenizer.from_pretrained(made.folder)
    asked = plain("T: two ropes\nL:", return_tensors="pt")
    answer = model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked.input_ids.shape[1] :]
    assert answer[-1].item() == tokenizer.eos_id
    assert plain.decode(answer[:-1]) == " b"


def test_what_was_learned_is_kept_step_by_step(base: Made[Weights], tmp_path: Path) -> None:
    made = run(base, certificate(base), tmp_path)
    steps = [json.loads(line) for line in (made.folder / "steps.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    assert steps[-1]["loss"] == made.record.last_loss
    assert 0 < made.stamp.measured["mfu"] < 1
    assert made.stamp.measured["tokens_per_second"] > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recomputing_changes_no_bit(tmp_path: Path, precision: Literal["float32", "bfloat16"]) -> None:
    """So it is no part of what a run is found by."""
    base, chosen = pulled(tmp_path, precision), replace(SETTINGS, precision=precision)
    kept = run(base, certificate(base), tmp_path, settings=chosen)
    recomputed = run(base, certificate(base), tmp_path, settings=replace(chosen, recompute=True))
    assert kept.record.sha256 == recomputed.record.sha256


def test_steps_count_examples_not_time(base: Made[Weights]) -> None:
    encoded = NextToken(tune.examples(ITEMS, LAYOUT, open_tokenizer(base.folder / "model"))).lengths
    per_epoch = tune.steps_for(encoded, len(encoded), 64, 64, 0)
    assert tune.steps_for(encoded, 1, 64, 64, 0) == 1
    assert tune.steps_for(encoded, 3 * len(encoded), 64, 64, 0) >= 3 * per_epoch - 2
