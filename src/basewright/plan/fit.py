"""Go on with what fits, or say how far the nearest plan is from fitting."""

from __future__ import annotations

from basewright.errors import DoesNotFit
from basewright.plan.memory import MIB
from basewright.records import Plans


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
