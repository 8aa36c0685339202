from __future__ import annotations

from dataclasses import replace

import pytest

from basewright import machine
from basewright.catalog import cards
from basewright.errors import DoesNotFit
from basewright.plan import fit, memory
from basewright.records import Machine, Plan, Plans

MIB = 2**20
HERE = Machine(devices=(), cores=1, ram=2**36, disk_free=2**40)


def plan(name: str, budget: int) -> Plan:
    made = memory.make(
        cards.get("foundling-prose"),
        HERE,
        job="lora",
        context=256,
        micro_tokens=4096,
        rank=8,
        targets=("q_proj",),
        budget=budget,
    )
    return replace(made, model=name)


def test_what_fits_goes_on_in_its_order() -> None:
    plans = Plans(plans=(plan("a", 2**34), plan("b", 500 * MIB), plan("c", 2**33)))
    assert [one.model for one in fit.require(plans).plans] == ["a", "c"]


def test_when_nothing_fits_the_closest_is_named_with_its_need_and_a_way_out() -> None:
    plans = Plans(plans=(plan("far", 500 * MIB), plan("near", 600 * MIB)))
    with pytest.raises(DoesNotFit, match="the closest is near") as caught:
        fit.require(plans)
    need = plans.plans[1].memory.total / MIB
    assert f"needs {need:,.0f} MiB of 600 MiB" in caught.value.message
    assert caught.value.fix.startswith("[tune].micro_tokens = ")
    assert "\n" not in caught.value.message + caught.value.fix


def test_no_plans_fit_nothing() -> None:
    with pytest.raises(DoesNotFit):
        fit.require(Plans(plans=()))


def test_memory_is_spared_only_where_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(machine, "return_freed_memory", lambda: calls.append(True))
    need = plan("a", 2**34).memory.total
    assert not fit.prepare(plan("roomy", 2 * need))
    assert not calls
    assert fit.prepare(plan("tight", 2 * need - 1))
    assert calls
