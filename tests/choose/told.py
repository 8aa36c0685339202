"""Candidates without models: answers drawn from a stated accuracy, with seed noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from basewright.choose.best import Candidate
from basewright.choose.rivals import Rival
from basewright.records import Cost, Dropped, ItemScore, Question


def question(**changes: object) -> Question:
    facts: dict[str, object] = {
        "task": "told", "decides": "tuned", "margin": 0.01, "confidence": 0.95, "rungs": (200, 400), "target": 1000,
        "repeats": 3, "budget": None, "seed": 0,
    }  # fmt: skip
    return Question(**{**facts, **changes})  # type: ignore[arg-type]


def candidate(model: str, parameters: int = 100, dropped: Dropped | None = None) -> Candidate:
    cost = Cost(quantization="f16", memory=2 * parameters, disk=2 * parameters, flops=2.0 * parameters)
    return Candidate(model=model, parameters=parameters, costs=(cost,), dropped=dropped)


def rival(name: str, right: Sequence[bool]) -> Rival:
    items = tuple(_answer(place, one) for place, one in enumerate(right))
    return Rival(name=name, items=items, size=10, how="told")


@dataclass
class Told:
    """A panel: each tuning's accuracy is the model's plus seed noise, and errors are independent between tunings.

    `gain` is what doubling the training examples adds, up to the stated accuracy at the last rung.
    """

    accuracy: Mapping[str, float]
    last: int = 400
    gain: float = 0.03
    seed_sd: float = 0.0
    draw: int = 0
    asked: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(model, examples, seed, place), in order."""

    def answer(self, model: str, examples: int, seed: int, places: Sequence[int]) -> list[ItemScore]:
        self.asked += [(model, examples, seed, place) for place in places]
        level = self.accuracy[model] - self.gain * np.log2(self.last / examples if examples else self.last / 100)
        own = np.random.default_rng([self.draw, sum(model.encode()), examples, seed])
        level = float(np.clip(level + self.seed_sd * own.normal(), 0, 1))
        luck = own.random(100_000)
        return [_answer(place, bool(luck[place] < level)) for place in places]


def _answer(place: int, right: bool) -> ItemScore:
    return ItemScore(
        item=str(place), answer="a" if right else "b", values={"accuracy": float(right), "bits": 0.4 if right else 2.5}
    )
