from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from basewright import machine
from basewright.catalog import cards
from basewright.errors import DoesNotFit
from basewright.plan import fit, memory
from basewright.plan.model import Model
from basewright.records import Ask, Device, Machine, Plan, Plans

MIB = 2**20
PROSE = cards.get("foundling-prose")
CPU = Device(kind="cpu", name="cpu", memory=2**36)
HERE = Machine(devices=(CPU,), cores=1, ram=2**36, disk_free=2**40)


def asked(tokens: int = 4096) -> Ask:
    return Ask(job="lora", context=256, micro_tokens=tokens, batch=tokens // 256, rank=8, targets=("q_proj",))


def plan(name: str, budget: int) -> Plan:
    return replace(fit.of_recipe(PROSE, HERE, asked(), budget), model=name)


def test_what_fits_goes_on_in_its_order() -> None:
    plans = Plans(plans=(plan("a", 2**34), plan("b", 470 * MIB), plan("c", 2**33)))
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


def test_a_recipe_is_planned_on_the_processor_where_it_runs() -> None:
    both = replace(HERE, devices=(CPU, Device(kind="cuda", name="gpu", memory=MIB)))
    assert fit.of_recipe(PROSE, both, asked(), None).fits


@settings(deadline=None)
@given(st.integers(445 * MIB, 4096 * MIB))
def test_the_advice_of_a_plan_that_does_not_fit_is_true(budget: int) -> None:
    made = fit.of_recipe(PROSE, HERE, asked(32768), budget)
    assume(not made.fits)
    found = re.match(r"\[tune\]\.micro_tokens = (\d+)", made.reasons[1])

    def need(tokens: int) -> int:
        ask = replace(asked(32768), micro_tokens=tokens, context=min(256, tokens))
        return memory.need(Model.of(PROSE), ask).memory.total

    if found is None:
        assert "smaller model" in made.reasons[1]
        assert need(64) > budget
    else:
        assert need(int(found[1])) <= budget < need(2 * int(found[1]))


def test_memory_is_spared_only_where_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(machine, "return_freed_memory", lambda: calls.append(True))
    need = plan("a", 2**34).memory.total
    assert not fit.prepare(plan("roomy", 2 * need))
    assert not calls
    assert fit.prepare(plan("tight", 2 * need - 1))
    assert calls
