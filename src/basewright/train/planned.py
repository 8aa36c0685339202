"""What a tuning will need, from its settings, before its first step; what does not fit is refused with what would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from basewright.errors import DoesNotFit
from basewright.plan import asking, make
from basewright.plan.memory import MIB, trainable
from basewright.plan.model import Model
from basewright.records import Ask, Machine, ModelCard, Plan, TrainSettings
from basewright.train.effort import Derived, Value

FLOAT = 4
"""Bytes of a value of an average of weights."""
TABLES = 3
"""Embedding tables beside a base's own where some of their rows are trained: they are made anew with those rows, to
read and to write with, and have gradients of their whole size. Peaks, table of 49 MiB: 2.6 tied, 3.0 untied."""
SPARED = 8 - 2.04
"""Bytes of AdamW's two moments that 8 bits and a float32 scale for each 256 spare."""


def here(folder: Path) -> Machine:
    """This machine with its processor alone, which is what trains."""
    found = asking.machine_of(asking.HERE, folder)
    return replace(found, devices=found.devices[:1])


def planned(card: ModelCard, derived: Derived, longest: int, machine: Machine) -> tuple[Derived, Plan]:
    """The plan of a tuning whose longest row has so many tokens, and its settings.

    They recompute activations where a run fits only so. Raises `DoesNotFit`.
    """
    settings, plan, fix = foreseen(card, derived, longest, machine)
    if fix:
        raise DoesNotFit("; ".join(plan.reasons[:1]), fix=fix)
    return settings, plan


def foreseen(card: ModelCard, derived: Derived, longest: int, machine: Machine) -> tuple[Derived, Plan, str]:
    """As `planned`, and what would do instead of a plan that does not fit; empty for one that fits."""
    plan = _plan(card, derived, longest, machine)
    if _fits(plan):
        return derived, plan, ""
    if not derived.train.recompute:
        smaller = _recomputing(derived, plan)
        found = _plan(card, smaller, longest, machine)
        if _fits(found):
            return smaller, found, ""
    fix = next((said for said, one in _ways(derived, longest) if _fits(_plan(card, one, longest, machine))), None)
    return derived, plan, fix or "take a smaller model or shorter rows (--long cut --context N)"


def _plan(card: ModelCard, derived: Derived, longest: int, machine: Machine) -> Plan:
    ask = _ask(derived, longest)
    plan = make.make(card, machine, ask)
    each = FLOAT * bool(derived.train.ema) - SPARED * (derived.train.optimizer == "adamw-8bit")
    tables = TABLES * FLOAT * card.shape.width * int(card.config["vocab_size"])
    embedded = tables if derived.lora is not None and derived.lora.tokens else 0
    if not each and not embedded:
        return plan
    memory = replace(
        plan.memory,
        optimizer=plan.memory.optimizer + round(each * trainable(Model.of(card), ask)),
        gradients=plan.memory.gradients + embedded,
    )
    reason = f"{ask.job} needs {make.mib(memory.total)} of {make.mib(plan.budget)}; {make.largest(memory)}"
    return replace(plan, memory=memory, reasons=(reason, *plan.reasons[1:]))


def _ask(derived: Derived, longest: int) -> Ask:
    train, lora = derived.train, derived.lora
    return Ask(
        job="full" if lora is None else "lora" if lora.quantization == "none" else "qlora",
        context=longest,
        micro_tokens=train.micro_tokens,
        batch=max(1, train.batch_tokens // longest),
        precision=train.precision,
        rank=0 if lora is None else lora.rank,
        targets=() if lora is None else lora.targets,
        directed=lora is not None and lora.variant == "dora",
        checkpointing=train.recompute,
        tokens=_tokens(train),
    )


def _tokens(train: TrainSettings) -> int:
    """Of the whole run, at most: batches are seldom full to the last token."""
    return int(train.steps * train.batch_tokens / (1 - train.replay))


def _fits(plan: Plan) -> bool:
    return plan.memory.total <= plan.budget and (plan.disk_free is None or plan.disk <= plan.disk_free)


def _recomputing(derived: Derived, plan: Plan) -> Derived:
    why = f"only so it fits: {plan.memory.total / MIB:,.0f} MiB without, and {plan.budget / MIB:,.0f} are free"
    values = (*derived.values, Value(name="recompute", value="yes", why=why))
    return replace(derived, train=replace(derived.train, recompute=True), values=values)


def _ways(derived: Derived, longest: int) -> Iterator[tuple[str, Derived]]:
    """Options that need less, and the settings they lead to: fewer tokens at once first: only rows group otherwise."""
    train = replace(derived.train, recompute=True)
    micro = train.micro_tokens // 2
    while micro >= longest:
        yield f"--recompute --micro-tokens {micro}", replace(derived, train=replace(train, micro_tokens=micro))
        micro //= 2
    least = replace(train, micro_tokens=longest)
    yield f"--recompute --micro-tokens {longest}", replace(derived, train=least)
    if derived.lora is not None:
        fewest = replace(derived.lora, rank=4, alpha=8.0)
        yield f"--recompute --micro-tokens {longest} --rank 4", replace(derived, train=least, lora=fewest)
