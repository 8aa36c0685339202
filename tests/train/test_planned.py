"""What a tuning needs is known before its first step; recomputing is chosen where only that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from basewright.catalog import cards
from basewright.errors import DoesNotFit
from basewright.records import Machine, ModelCard
from basewright.train import effort, planned
from tests.models import tiny_llama

LENGTHS = (200,) * 300


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return cards.get(str(tiny_llama(tmp_path / "m", layers=6, width=256, feed_forward=768, context=4096)))


def derive(**given: Any) -> effort.Derived:
    return effort.derive("full", "standard", LENGTHS, width=64, stored="float32", maps=(), given=effort.Given(**given))


def machine(memory: int, tmp_path: Path) -> Machine:
    return replace(planned.here(tmp_path), ram=memory, disk_free=None)


def test_recomputing_is_chosen_where_only_that_fits(card: ModelCard, tmp_path: Path) -> None:
    derived = derive(micro_tokens=8192, batch_tokens=8192)
    room = machine(2**40, tmp_path)
    same, plan = planned.planned(card, derived, 200, room)
    assert same == derived
    smaller, less = planned.planned(card, derived, 200, machine(plan.memory.total - 1, tmp_path))
    assert smaller.train == replace(derived.train, recompute=True)
    assert less.memory.total < plan.memory.total
    assert smaller.values[-1].why.startswith("only so it fits")


def test_what_does_not_fit_is_refused_with_what_would(card: ModelCard, tmp_path: Path) -> None:
    derived = derive(micro_tokens=8192, batch_tokens=8192)
    recomputing = replace(derived, train=replace(derived.train, recompute=True))
    _, plan = planned.planned(card, recomputing, 200, machine(2**40, tmp_path))
    with pytest.raises(DoesNotFit, match="full needs") as refused:
        planned.planned(card, derived, 200, machine(plan.memory.total - 1, tmp_path))
    assert refused.value.fix == "--recompute --micro-tokens 4096"
    with pytest.raises(DoesNotFit) as refused:
        planned.planned(card, derived, 200, machine(2**20, tmp_path))
    assert "smaller model" in refused.value.fix


def test_an_average_of_weights_is_counted(card: ModelCard, tmp_path: Path) -> None:
    room = machine(2**40, tmp_path)
    _, plain = planned.planned(card, derive(), 200, room)
    _, averaged = planned.planned(card, derive(ema=0.99), 200, room)
    assert averaged.memory.total - plain.memory.total == 4 * card.parameters


def test_tables_with_trained_rows_are_counted(card: ModelCard, tmp_path: Path) -> None:
    room, given = machine(2**40, tmp_path), effort.Given()
    lora = effort.derive("lora", "standard", LENGTHS, width=64, stored="float32", maps=("q_proj",), given=given)
    assert lora.lora is not None
    more = replace(lora, lora=replace(lora.lora, tokens=(1, 2)))
    _, plain = planned.planned(card, lora, 200, room)
    _, trained = planned.planned(card, more, 200, room)
    assert trained.memory.total - plain.memory.total == 3 * 4 * 256 * card.config["vocab_size"]
