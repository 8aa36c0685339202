from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.catalog import cards
from basewright.errors import UsageError
from basewright.plan import asking, make, memory, speed, words
from basewright.plan.model import Model
from basewright.records import Device, Job, Machine, Plan

GIB = 2**30
GPU = Device(kind="cuda", name="gpu", memory=24 * GIB, bandwidth=1e12, flops=1e14, flops_float32=5e13, origin="stated")
THERE = Machine(devices=(GPU,), cores=0, ram=24 * GIB, disk_free=None)


def plan(name: str = "llama-3-8b", job: Job = "qlora", memory_of: int = 24 * GIB, **more: object) -> Plan:
    card = cards.get(name)
    there = replace(THERE, devices=(replace(GPU, memory=memory_of),))
    return make.make(card, there, asking.ask(card, GPU, job, **more))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["llama-3-8b", "gpt2", "mixtral-8x7b-v0.1"]), st.integers(2, 400), st.sampled_from(asking.JOBS))
def test_fits_means_within_the_budget_and_ways_say_the_truth(name: str, gib: int, job: Job) -> None:
    made = plan(name, job, gib * GIB, context=512)
    assert made.fits == (made.memory.total <= made.budget)
    for way in made.ways:
        assert way.fits == (way.need <= made.budget)
        assert way.option.startswith("--")
        assert way.price


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 200))
def test_the_largest_context_fits_and_one_token_more_does_not(gib: int) -> None:
    made = plan("llama-3-8b", "qlora", gib * GIB)
    rows = next((way for way in made.ways if "--context" in way.option), None)
    if rows is None:
        return
    context = int(rows.option.split()[-1])
    card = cards.get("llama-3-8b")
    ask = asking.ask(card, GPU, "qlora", context=context, micro_batch=1)
    assert memory.need(Model.of(card), ask, "cuda").memory.total == rows.need <= gib * GIB
    longer = replace(ask, context=context + 1, micro_tokens=context + 1)
    if context < card.context:
        assert memory.need(Model.of(card), longer, "cuda").memory.total > gib * GIB


def test_ways_come_in_order_of_their_price() -> None:
    options = [way.option for way in plan("llama-3-70b", "full", 80 * GIB).ways]
    firsts = [
        next(i for i, option in enumerate(options) if word in option) for word in ("precision", "check", "devices")
    ]
    assert firsts == sorted(firsts)


def test_accumulation_keeps_the_batch() -> None:
    made = plan(batch=16, micro_batch=3, context=256)
    assert (made.micro_batch, made.accumulation) == (3, 6)


def test_h030_a_plan_counts_the_disk() -> None:
    here = Machine(devices=(), cores=1, ram=2**36, disk_free=2**20)
    card = cards.get("foundling-prose")
    made = make.make(card, here, asking.ask(card, asking.device_of(here), "lora", rank=8))
    checkpoints = 3 * 12 * Model.of(card).adapter(8, ())
    assert made.disk == pytest.approx(1.05 * (2 * card.parameters + checkpoints), abs=2)
    assert not made.fits
    assert "disk" in made.reasons[1]


def test_rows_longer_than_the_model_sees_do_not_fit() -> None:
    made = plan("foundling-prose", "lora", context=1025)
    assert not made.fits
    assert "context of 1024" in made.reasons[-1]


@pytest.mark.parametrize("job", asking.JOBS)
def test_every_job_is_explained_with_numbers_that_add_up(job: Job) -> None:
    made = plan("foundling-prose", job, context=256)
    text = words.explained(made)
    assert sum(term.bytes for term in made.terms) == made.memory.total
    for term in made.terms:
        assert term.name in text
    assert "the loss" in text or job in ("complete", "evaluate", "serve")


def test_a_product_is_what_its_filled_formula_says() -> None:
    made = plan("foundling-prose", "lora", context=256)
    for term in (*made.terms, *made.disk_terms):
        if "(" not in term.filled:
            value = eval(term.filled.replace(",", "").replace("x", "*"))
            assert value == pytest.approx(term.bytes, rel=1e-3)


# --- refusals -----------------------------------------------------------------------------------------


def test_an_encoder_does_not_complete() -> None:
    with pytest.raises(UsageError, match="encoder") as caught:
        plan("bert-base-cased", "complete")
    assert caught.value.fix == "basewright plan bert-base-cased --job evaluate"


def test_a_recurrent_model_is_refused_with_what_can_be_read_about_it() -> None:
    with pytest.raises(UsageError, match="recurrent") as caught:
        plan("mamba-1.4b", "complete")
    assert "basewright catalog mamba-1.4b" in caught.value.fix


@pytest.mark.parametrize(
    ("job", "more", "what"),
    [
        ("full", {"rank": 8}, "--rank"),
        ("lora", {"quantization": "q8_0"}, "--quantization"),
        ("serve", {"quantization": "q3"}, "quantization"),
        ("complete", {"shards": 2}, "--devices"),
    ],
)
def test_what_does_not_go_together_is_refused(job: Job, more: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        plan("llama-3-8b", job, **more)  # type: ignore[arg-type]


def test_an_unknown_machine_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        asking.machine_of("rtx-4091", Path())


# --- time ---------------------------------------------------------------------------------------------


def test_reading_is_bound_by_arithmetic_and_writing_by_memory() -> None:
    card = cards.get("llama-3-8b")
    train, write = (speed.speed(Model.of(card), asking.ask(card, GPU, job), GPU) for job in ("full", "complete"))
    assert train
    assert train.bound == "arithmetic"
    assert write
    assert write.bound == "memory"
    bytes_a_token = 2 * card.parameters + 2048 * 128 * 1024
    assert write.tokens_per_second == pytest.approx(0.6 * 1e12 / bytes_a_token)


def test_six_operations_for_each_parameter_and_token_of_training() -> None:
    card = cards.get("llama-3-8b")
    ask = asking.ask(card, GPU, "full", context=1)
    used = card.parameters - 128256 * 4096  # the embedding is looked up
    assert speed.flops_a_token(Model.of(card), ask) == pytest.approx(6 * used, rel=1e-3)


def test_an_unknown_device_has_no_time() -> None:
    card = cards.get("llama-3-8b")
    unknown = replace(GPU, bandwidth=None)
    assert speed.speed(Model.of(card), asking.ask(card, unknown, "full"), unknown) is None
