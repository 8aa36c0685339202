"""Other ways to run a job: what still fits of it, and what would make it fit, each with its price."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from basewright.plan import memory
from basewright.plan.model import Model
from basewright.plan.speed import passes
from basewright.records import Ask, Device, Way

GIB = 2**30
SHARDS = (2, 4, 8, 16, 32, 64)
LOWEST_RANK = 4
ONE_WAY = 25e9
"""Bytes a second to the processor's memory: PCIe 4.0 x16, of which 31.5 GB/s are its arithmetic and 25 the habit."""
Total = Callable[[Ask], int]


def ways(model: Model, ask: Ask, device: Device, budget: int, longest: int) -> tuple[Way, ...]:
    """The largest micro-batch and context that fit as asked; where not even one row does, changes one after the other,
    in order of their price, each on top of those before, until it fits."""

    def total(one: Ask) -> int:
        return memory.need(model, one, device.kind).memory.total

    def way(one: Ask, change: str, option: str, price: str) -> Way:
        need = total(one)
        return Way(change=change, option=option, price=price, need=need, fits=need <= budget)

    found = [way(*each) for each in _sizes(ask, total, budget, longest)]
    current = smallest(ask)
    if total(ask) <= budget or total(current) <= budget:
        return tuple(found)
    options = [] if current == ask else [f"--micro-batch {memory.rows_at_once(current)}"]
    for changed, change, option, price in _changes(model, current, device):
        current, options = replace(current, **changed), [*_without(options, option), option]
        another = way(current, change, " ".join(options), price)
        if another.fits or changed.get("devices") not in SHARDS[:-1]:
            found.append(another)
        if another.fits:
            break
    return tuple(found)


# --- sizes ----------------------------------------------------------------------------------------


def _sizes(ask: Ask, total: Total, budget: int, longest: int) -> Iterator[tuple[Ask, str, str, str]]:
    """Rows at once with the context asked for, and the context of one row."""
    rows = largest(lambda count: total(with_rows(ask, count)) <= budget, max(ask.batch, 1))
    if rows and ask.job != "evaluate":
        most = with_rows(ask, rows)
        name = "slots" if ask.job in ("serve", "complete") else "rows at once"
        price = _accumulated(most) if ask.job in memory.TRAINING else f"of {ask.batch} asked for"
        yield most, f"{rows} {name} of {ask.context:,} tokens", f"--micro-batch {rows}", price
    one = smallest(ask)
    context = largest(lambda length: total(with_context(one, length)) <= budget, longest)
    if context >= 16:
        limit = ", all the model takes" if context == longest else ""
        yield (
            with_context(one, context),
            f"one row of {context:,} tokens{limit}",
            f"--micro-batch 1 --context {context}",
            ("none" if context >= ask.context else "longer rows would have to be cut"),
        )


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where smaller ones need less; 0 if none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def with_rows(ask: Ask, rows: int) -> Ask:
    if ask.job in ("complete", "serve"):
        return replace(ask, batch=rows)
    return replace(ask, micro_tokens=rows * ask.context)


def with_context(ask: Ask, context: int) -> Ask:
    return replace(ask, context=context, micro_tokens=context)


def smallest(ask: Ask) -> Ask:
    return ask if ask.job == "evaluate" else with_rows(ask, 1)


def _accumulated(ask: Ask) -> str:
    count = memory.accumulation(ask)
    return "none" if count == 1 else f"{count} micro-batches a step keep the batch of {ask.batch}"


# --- changes --------------------------------------------------------------------------------------


def _changes(model: Model, ask: Ask, device: Device) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    """(fields of the ask, what changes, the option, the price), the cheapest first."""
    yield from _precisions(ask)
    if ask.rank > LOWEST_RANK:
        price = "an adapter that can learn less"
        yield {"rank": LOWEST_RANK}, f"an adapter of rank {LOWEST_RANK}", f"--rank {LOWEST_RANK}", price
    if ask.job in memory.TRAINING and not ask.checkpointing:
        more = passes(replace(ask, checkpointing=True)) / passes(ask) - 1
        yield {"checkpointing": True}, "activations computed again", "--checkpointing", f"{more:.0%} more arithmetic"
    if ask.job in memory.TRAINING and device.kind == "cuda":
        for devices in SHARDS:
            moved = 3 * _weights(model, ask) * (devices - 1) / devices / GIB
            price = f"{devices} of these devices, {moved:,.0f} GiB through each one's links a step"
            yield {"devices": devices}, f"FSDP2 over {devices} devices", f"--devices {devices}", price
        moved = (2 * _weights(model, ask) + 2 * 2 * memory.trainable(model, ask) * memory.step_bytes(ask)) / ONE_WAY
        price = f"about {moved:,.0f} s more a step, at {ONE_WAY / 1e9:.0f} GB/s to the processor's memory"
        yield {"devices": 1, "offload": True}, "weights wait in the processor's memory", "--offload", price


def _precisions(ask: Ask) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    if ask.precision == "float32" and ask.job not in memory.WHOLE:
        yield {"precision": "bfloat16"}, "weights in bfloat16", "--precision bfloat16", "rounding to 8 bits of mantissa"
    elif ask.precision in ("float32", "mixed"):
        price = "small updates are lost to rounding"
        yield {"precision": "bfloat16"}, "weights and moments in bfloat16", "--precision bfloat16", price
    if ask.job == "lora":
        yield {"job": "qlora"}, "the base in 4 bits", "--job qlora", "a base rounded to 4 bits, and a slower step"
    if ask.job == "serve" and ask.quantization != "q4_k_m":
        for name in ("q8_0", "q4_k_m"):
            if memory.BITS[name] < memory.BITS.get(ask.quantization or "f16", 16.0):
                price = f"weights rounded to {memory.BITS[name]} bits"
                yield {"quantization": name}, f"weights in {name}", f"--quantization {name}", price


def _weights(model: Model, ask: Ask) -> float:
    size = memory.BITS["nf4"] / 8 if ask.job == "qlora" else memory.SIZES[ask.precision]
    return model.parameters * size


def _without(options: list[str], new: str) -> list[str]:
    """Options that the new one does not replace; sharding is dropped where weights wait elsewhere."""
    name = new.split()[0]
    gone = {name} | ({"--devices"} if name == "--offload" else set())
    return [option for option in options if option.split()[0] not in gone]
