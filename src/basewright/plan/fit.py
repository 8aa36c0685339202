"""Go on with what fits, or say how far the nearest plan is from fitting."""

from __future__ import annotations

from basewright import machine
from basewright.errors import DoesNotFit
from basewright.plan.memory import MIB
from basewright.records import Plan, Plans

ROOM = 2
"""Times the plan that a run was never seen to reach while freed memory was kept; 1.6 at most."""


def require(plans: Plans) -> Plans:
    """The plans that fit. Raises `DoesNotFit` when none does, naming the one that is closest to it."""
    fitting = tuple(plan for plan in plans.plans if plan.fits)
    if fitting:
        return Plans(plans=fitting)
    if not plans.plans:
        raise DoesNotFit("no model was named", fix="name at least one in [candidates].models")
    closest = min(plans.plans, key=lambda plan: (plan.memory.total - plan.budget, plan.disk - plan.disk_free))
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
