"""Ranks and learning rates tried on less of the training, the worse two thirds left out each time.

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) by thirds, as in Hyperband (Li et al. 2018): nine
trials of a ninth of the steps, three of a third, and the winner is trained to the end, for three times one run. Each
trial is a run of its own, with a schedule of its own length; what is compared is its lowest validation loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from basewright.errors import UsageError
from basewright.records import Interval, LoraSettings, Separated, Sweep, Trial, Validation
from basewright.stats import intervals
from basewright.stats.paired import family_confidence
from basewright.train import watch
from basewright.train.effort import Derived, Value, warmup

KEPT = 3
"""One trial in so many goes on, with so many times the steps."""
RANKS = (0.5, 1.0, 2.0)
RATES = (1 / 3, 1.0, 3.0)
"""Times what the dial says."""
CONFIDENCE = 0.95
Settings = tuple[int | None, float]
"""Rank, and learning rate."""
Ran = tuple[Validation, Path]
"""What a run's validation found, and the folder of its result."""


def settings(derived: Derived, *, rank_given: bool, rate_given: bool) -> list[Settings]:
    """What is tried; what was given is not. Raises `UsageError` where nothing is left to try."""
    if not derived.train.validate_tokens:
        raise UsageError(
            "a sweep chooses by the validation loss, and there are no validation rows",
            fix="--validate FILE, or --validation-share 0.1",
        )
    lora, rate = derived.lora, derived.train.learning_rate
    ranks: list[int | None] = [None if lora is None else lora.rank]
    if lora is not None and not rank_given:
        ranks = [max(1, round(lora.rank * times)) for times in RANKS]
    rates = [rate] if rate_given else [float(f"{rate * times:.2g}") for times in RATES]
    found = list(dict.fromkeys(product(ranks, rates)))
    if len(found) == 1:
        raise UsageError("there is nothing to sweep: rank and learning rate are given", fix="leave one of them out")
    return found


def at(derived: Derived, chosen: Settings, share: float = 1.0) -> Derived:
    """The settings of a run with this rank and rate, over a share of the steps."""
    rank, rate = chosen
    lora, steps = derived.lora, max(1, round(derived.train.steps * share))
    if lora is not None and rank is not None:
        lora = replace(lora, rank=rank, alpha=lora.alpha / lora.rank * rank)
    train = replace(derived.train, learning_rate=rate, steps=steps, warmup=warmup(steps))
    return replace(derived, lora=lora, train=train, values=tuple(_said(one, lora, rate) for one in derived.values))


def largest(derived: Derived, tried: Sequence[Settings]) -> Derived:
    """The run that needs most memory."""
    return at(derived, max(tried, key=lambda one: one[0] or 0))


def sweep(derived: Derived, tried: Sequence[Settings], run: Callable[[Derived], Ran]) -> Sweep:
    """Try them rung by rung; `run` makes an ordinary run, or finds it made."""
    left, trials, rung = list(tried), list[Trial](), 1
    while True:
        share = 1 / len(left)
        ran = {one: run(at(derived, one, share)) for one in left}
        ordered = sorted(left, key=lambda one: _loss(ran[one][0]))
        kept = ordered[: max(1, len(ordered) // KEPT)]
        steps = at(derived, left[0], share).train.steps
        for rank, rate in ordered:
            loss = _loss(ran[rank, rate][0])
            on = (rank, rate) in kept
            trials.append(Trial(rung=rung, rank=rank, learning_rate=rate, steps=steps, held=loss, kept=on))
        if len(kept) == 1:
            return Sweep(trials=tuple(trials), others=_separated(ordered, ran))
        left, rung = kept, rung + 1


def _separated(ordered: Sequence[Settings], ran: dict[Settings, Ran]) -> tuple[Separated, ...]:
    """The last rung's others against its winner, row by row; all intervals hold together."""
    first = _rows(ran[ordered[0]][1])
    confidence = family_confidence(CONFIDENCE, len(ordered) * (len(ordered) - 1) // 2)
    return tuple(
        Separated(rank=one[0], learning_rate=one[1], worse_by=_difference(_rows(ran[one][1]), first, confidence))
        for one in ordered[1:]
    )


def _difference(other: Sequence[dict[str, float]], first: Sequence[dict[str, float]], confidence: float) -> Interval:
    """Nats per supervised token that the other has more, over the same rows."""
    sums = np.array([a["nats"] - b["nats"] for a, b in zip(other, first, strict=True)])
    return intervals.ratio(sums, np.array([float(row["tokens"]) for row in first]), len(first), confidence)


def _rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / watch.ROWS).read_text("utf-8").splitlines()]


def _loss(found: Validation) -> float:
    return next(point.held for point in found.curve if point.step == found.written)


def _said(one: Value, lora: LoraSettings | None, rate: float) -> Value:
    new = {"learning rate": rate, "rank": None if lora is None else lora.rank}.get(one.name, one.value)
    return one if new == one.value else replace(one, value=new, why="of the sweep")
