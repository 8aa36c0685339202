"""A run watched on rows it does not train on: when to look, what was best, when to stop, and what it means in words.

All of it follows from the looks so far, which are part of each checkpoint: a resumed run stops where the other did.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from basewright import signals, store
from basewright.data.pack import Packed, in_turn
from basewright.records import TrainSettings, Validation, ValidationPoint
from basewright.train import losses, ranks

if TYPE_CHECKING:
    from basewright.train.objectives import Objective

ROWS = "validation.jsonl"
"""Nats and tokens of each validation row under the weights that were written, in a result's folder."""
RISEN = 0.02
"""Relative rise of the loss after its lowest that is called overfitting; less is said to be level."""
Points = Sequence[ValidationPoint]


@dataclass(frozen=True, slots=True)
class Watched:
    """Validation rows, packed once: the shortest first."""

    objective: Objective
    packed: tuple[Packed, ...]

    @classmethod
    def of(cls, objective: Objective, micro_tokens: int) -> Watched:
        return cls(objective, tuple(objective.pack(rows) for rows in in_turn(objective.lengths, micro_tokens)))

    @torch.no_grad()
    def loss(self, held: ranks.Alone | ranks.Sharded) -> float | None:
        """Nats per supervised token, or pair; None when the run was asked to stop before all rows were seen."""
        team, total = ranks.team(), 0.0
        for _, row, counts in team.turns(self.packed, lambda row: len(row.ids)):
            if team.any(signals.requested()):
                return None
            total += held(self._nats, row) * counts
        return team.sum(total) / sum(row.supervised for row in self.packed)

    def _nats(self, model: Any, row: Packed) -> float:
        return float(losses.told(self.objective.loss(model, row)).loss.item())

    @torch.no_grad()
    def write(self, model: Any, path: Path) -> None:
        """Nats of each row by itself, in the order of the rows, so that two runs can be compared row by row."""
        lines = []
        for number in range(len(self.objective.lengths)):
            signals.poll()
            row = self.objective.pack([number])
            nats = self._nats(model, row)
            lines.append(json.dumps({"row": number, "nats": nats, "tokens": row.supervised}) + "\n")
        store.write(path, "".join(lines).encode())


def due(points: Points, step: int, tokens: int, settings: TrainSettings) -> bool:
    """Before the first step, after the last, and whenever another `validate_tokens` were seen."""
    if not points:
        return True
    every = settings.validate_tokens
    return step > points[-1].step and (tokens // every > points[-1].tokens // every or step >= settings.steps)


def best(points: Points) -> ValidationPoint | None:
    """The lowest loss after a step, the earliest of equal ones."""
    return min((point for point in points if point.step), key=lambda point: (point.held, point.step), default=None)


def exhausted(points: Points, settings: TrainSettings) -> bool:
    """Whether the last `patience` looks were no lower than the lowest before them."""
    lowest = best(points)
    if lowest is None or not settings.patience:
        return False
    return sum(point.step > lowest.step for point in points) >= settings.patience


def validation(points: Points, watched: Watched, settings: TrainSettings) -> Validation | None:
    lowest = best(points)
    if lowest is None:
        return None
    return Validation(
        data_hash=watched.objective.identity,
        rows=len(watched.objective.lengths),
        curve=tuple(points),
        written=lowest.step,
        stopped=points[-1].step < settings.steps,
    )


def words(found: Validation) -> str:
    """What the curve says, for a person."""
    base, last = found.curve[0], found.curve[-1]
    lowest = next(point for point in found.curve if point.step == found.written)
    if lowest.held >= base.held:
        return (
            f"no step was better than the base itself ({base.held:.3f}); the best, step {lowest.step}, has "
            f"{lowest.held:.3f}: lower the learning rate, or look at what the rows teach"
        )
    said = f"{base.held:.3f} → {lowest.held:.3f} at step {lowest.step}, which is what is written"
    if last.step == lowest.step:
        return f"{said}; it still fell at the last look: more epochs may help"
    gap = "" if last.trained is None else f" while training rows went to {last.trained:.3f}"
    if last.held > lowest.held * (1 + RISEN):
        return f"{said}; then it rose to {last.held:.3f}{gap}: later steps overfitted"
    return f"{said}; then it was level ({last.held:.3f} at step {last.step})"
