"""Go on with what fits, or say how far the nearest plan is from fitting."""

from __future__ import annotations

from dataclasses import replace

from basewright import machine
from basewright.errors import DoesNotFit
from basewright.plan import make, memory
from basewright.plan.memory import MIB
from basewright.plan.model import Model
from basewright.records import Ask, Machine, ModelCard, Plan, Plans

SHORTEST = 64
"""Tokens below which halving rows does not go."""
ROOM = 2
"""Times the plan that a run was never seen to reach while freed memory was kept; 1.6 at most."""


def of_recipe(card: ModelCard, here: Machine, ask: Ask, budget: int | None) -> Plan:
    """The plan of a recipe's tuning, on the processor; its advice is the first halving of `micro_tokens` that fits."""
    plan = make.make(card, replace(here, devices=here.devices[:1]), ask, budget)
    if plan.memory.total <= plan.budget:
        return plan
    return replace(plan, reasons=(plan.reasons[0], _advice(Model.of(card), ask, plan.budget), *plan.reasons[2:]))


def _advice(model: Model, ask: Ask, budget: int) -> str:
    tokens = ask.micro_tokens // 2
    while tokens >= SHORTEST:
        smaller = replace(ask, micro_tokens=tokens, context=min(ask.context, tokens))
        need = memory.need(model, smaller).memory.total
        if need <= budget:
            return f"[tune].micro_tokens = {tokens} would need {need / MIB:,.0f} MiB"
        tokens //= 2
    return "shorter rows would not fit either: take a smaller model, or more memory"


def require(plans: Plans) -> Plans:
    """The plans that fit. Raises `DoesNotFit` when none does, naming the one that is closest to it."""
    fitting = tuple(plan for plan in plans.plans if plan.fits)
    if fitting:
        return Plans(plans=fitting)
    if not plans.plans:
        raise DoesNotFit("no model was named", fix="name at least one in [candidates].models")
    closest = min(plans.plans, key=lambda plan: (plan.memory.total - plan.budget, plan.disk - (plan.disk_free or 0)))
    need, budget = closest.memory.total / MIB, closest.budget / MIB
    raise DoesNotFit(
        f"no candidate fits; the closest is {closest.model}: {closest.job} needs {need:,.0f} MiB of {budget:,.0f} MiB",
        fix="; ".join(closest.reasons[1:]),
    )


def prepare(plan: Plan) -> bool:
    """Before the work of a plan: spare memory where the budget leaves less than twice the need, else be fast.

    Says whether memory is spared; then a step takes about 1.3 times the processor time.
    """
    tight = plan.memory.total * ROOM > plan.budget
    if tight:
        machine.return_freed_memory()
    return tight
