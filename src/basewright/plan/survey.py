"""What one job needs of many models: totals alone, for a table. `make` explains one of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from basewright.errors import UsageError
from basewright.plan import asking, memory
from basewright.plan.model import Model
from basewright.records import Job, Machine, ModelCard, record


@record
class Room:
    """What a model needs of a machine's memory, in bytes."""

    need: int
    budget: int

    @property
    def fits(self) -> bool:
        return self.need <= self.budget


def rooms(cards: Iterable[ModelCard], machine: Machine, job: Job, context: int | None = None) -> dict[str, Room]:
    """By the model's id; those that cannot do the job, or not in that context, are left out."""
    device = asking.device_of(machine)
    budget = machine.ram if device.kind == "cpu" else device.memory
    found = {}
    for card in cards:
        with suppress(UsageError):  # of a kind that the job is not for
            ask = asking.ask(card, device, job, context=context)
            if ask.context <= card.context:
                need = memory.need(Model.of(card), ask, device.kind).memory.total
                found[card.id] = Room(need=need, budget=budget)
    return found
