"""Pilot tunings on a ladder of more and more training examples: who goes on, who is dropped, and on what evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from basewright.errors import UsageError
from basewright.records import Dropped, Forecast, Interval, record
from basewright.stats import curves, paired

SEED = 20_240_203
"""Fixed, so that the same pilots have the same forecasts everywhere."""


@record
class Measured:
    """A pilot's answers to the items, one and the same set for every candidate and rung, in one order."""

    right: NDArray[np.bool_]
    bits: NDArray[np.float64]
    """Surprise of the right label."""


Measure = Callable[[str, int], Measured]
"""(candidate, training examples) to what a tuning of its own on that many measures."""


@record
class Ascent:
    """One candidate's way up."""

    measured: Mapping[int, Measured]
    """By training examples, ascending."""
    forecast: Forecast | None
    """At the target, from the rungs measured; None where none was."""
    dropped: Dropped | None


@record
class Climb:
    ascents: Mapping[str, Ascent]
    """By candidate, in the order they came in."""
    examples: int
    """Training examples all pilots saw."""

    @property
    def survivors(self) -> tuple[str, ...]:
        """Those measured at the last rung."""
        return tuple(name for name, ascent in self.ascents.items() if ascent.dropped is None)


def climb(
    candidates: Sequence[str],
    rungs: Sequence[int],
    measure: Measure,
    *,
    target: int,
    margin: float,
    confidence: float,
    budget: int | None,
    prior: Mapping[str, float] | None,
) -> Climb:
    """Measure candidates rung by rung, each rung a tuning of its own, and drop those that need not go on.

    Before a rung, where `budget` (training examples over all pilots) cannot carry all survivors to the last one,
    successive halving keeps the best by forecast at `target`, as many as an even share of what is left pays for. After
    a rung that is not the last, a candidate is dropped whose accuracy is below the leader's by more than `margin`
    (a share of items) and whose forecast of bits at the last rung begins above where the leader's ends. With
    probability `confidence` none is called separated that, as tuned here, would not be on future items: the level is
    split over rungs and all pairs, because the leader is picked by looking. That other seeds could tune otherwise is
    in the forecast. Two candidates always reach the last rung, or one where the budget pays for no more.

    `prior` is what history expects candidates to score, higher is better, in any unit: it takes part in who is kept
    within a budget (`standing`) and in nothing else. Raises `UsageError` for no or repeated candidates, rungs that do
    not ascend from above 0, and a budget below one candidate's ladder.
    """
    _check(candidates, rungs, budget)
    measured: dict[str, dict[int, Measured]] = {name: {} for name in candidates}
    walk = _Walk(tuple(rungs), target, margin, confidence, prior or {}, list(candidates), measured)
    left = len(candidates) * sum(rungs) if budget is None else budget
    least = min(len(candidates), 2 if left >= 2 * sum(rungs) else 1)
    for place, rung in enumerate(rungs):
        walk.halve(_carried(left, len(walk.alive), least, rungs[place:], first=place == 0), rung)
        for name in walk.alive:
            measured[name][rung] = measure(name, rung)
        left -= rung * len(walk.alive)
        walk.look()
        if rung != rungs[-1]:
            walk.separate(rung, least, len(rungs) - 1)
    return walk.result(candidates)


def standing(forecasts: Mapping[str, float], prior: Mapping[str, float]) -> list[str]:
    """Candidates, the best first: by forecast, or where there is a `prior` by the sum of both ranks, then by forecast.

    Ranks, because history is in other units and one outlier must not decide. One that history does not know is put
    in its middle.
    """
    names = sorted(forecasts, key=forecasts.__getitem__)
    by_forecast = {name: place for place, name in enumerate(names)}
    by_history = {name: place for place, name in enumerate(_by_history(names, prior))}
    return sorted(names, key=lambda name: by_forecast[name] + by_history[name])


def _by_history(names: Sequence[str], prior: Mapping[str, float]) -> list[str]:
    """The best expected first; where history says nothing, in the order given."""
    known = [prior[name] for name in names if name in prior]
    middle = median(known) if known else 0.0
    return sorted(names, key=lambda name: -prior.get(name, middle))


def _check(candidates: Sequence[str], rungs: Sequence[int], budget: int | None) -> None:
    if not candidates or len(set(candidates)) < len(candidates):
        raise UsageError("pilots need candidates, each named once", fix="list every candidate once")
    if not rungs or rungs[0] <= 0 or any(low >= high for low, high in pairwise(rungs)):
        raise UsageError(
            f"rungs must ascend from above 0, not {list(rungs)}", fix="list training examples like [200, 400, 800]"
        )
    if budget is not None and budget < sum(rungs):
        raise UsageError(
            f"a budget of {budget} examples cannot pay one candidate's pilots, which see {sum(rungs)}",
            fix=f"set the budget to {sum(rungs)} or more, or leave out the last rung ({rungs[-1]})",
        )


def _carried(left: int, alive: int, least: int, rungs: Sequence[int], *, first: bool) -> int:
    """How many candidates to measure at the first of the `rungs` to come, with `left` examples to spend on them.

    All, where that pays for all to the end. Else an even share for each rung, less at no rung than `least` whose way
    to the end is paid. At the first rung of all nothing is known yet, so as many are tried as that leaves room for.
    """
    if alive * sum(rungs) <= left:
        return alive
    affordable = (left - least * sum(rungs[1:])) // rungs[0]
    share = affordable if first else left // len(rungs) // rungs[0]
    return max(least, min(alive, affordable, share))


@dataclass(slots=True)
class _Walk:
    """What is known while climbing."""

    rungs: tuple[int, ...]
    target: int
    margin: float
    confidence: float
    prior: Mapping[str, float]
    alive: list[str]
    measured: dict[str, dict[int, Measured]]
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    dropped: dict[str, Dropped] = field(default_factory=dict)

    def look(self) -> None:
        """Draw the curves of those alive out to the target."""
        for name in self.alive:
            self.forecasts[name] = _forecast(self.measured[name], self.target, self.confidence)

    def halve(self, kept: int, rung: int) -> None:
        """Keep the best within the budget; where nothing is measured yet, those history or the order puts first."""
        if kept == len(self.alive):
            return
        if self.forecasts:
            order = standing({name: self.forecasts[name].bits.value for name in self.alive}, self.prior)
            by, how = order[0], ", by forecast"
        else:
            order, by, how = _by_history(self.alive, self.prior), "", ""
        reason = f"the budget carries {kept} of {len(order)} to {rung} examples{how}"
        for name in order[kept:]:
            self._drop(name, "budget", by, reason)

    def separate(self, rung: int, least: int, looks: int) -> None:
        """Drop those the leader has left behind for good; the worst forecast first, and never below `least`."""
        leader = min(self.alive, key=lambda name: _score(self.measured[name][rung]))
        pairs = len(self.measured) * (len(self.measured) - 1) // 2
        level = paired.family_confidence(self.confidence, looks * pairs)
        for name in reversed(standing({name: self.forecasts[name].bits.value for name in self.alive}, {})):
            if len(self.alive) > least and name != leader:
                reason = self._left_behind(leader, name, rung, level)
                if reason:
                    self._drop(name, "curve", leader, reason)

    def _left_behind(self, leader: str, name: str, rung: int, level: float) -> str:
        """Why `name` cannot reach the leader any more; empty where it might."""
        first, second = (self.measured[each][rung].right.tolist() for each in (leader, name))
        seen = paired.compare(leader, first, name, second, level)
        if not seen.separated or seen.difference.low <= self.margin:
            return ""
        last = self.rungs[-1]
        best, own = (_forecast(self.measured[each], last, self.confidence).bits for each in (leader, name))
        if own.low <= best.high:
            return ""
        return (
            f"{100 * seen.difference.value:.1f} points behind after {rung} examples (at least "
            f"{100 * seen.difference.low:.1f}); at {last}, {own.low:.2f} bits or more against at most {best.high:.2f}"
        )

    def _drop(self, name: str, at: Literal["curve", "budget"], by: str, reason: str) -> None:
        given = ", ".join(str(rung) for rung in self.measured[name])
        when = f"after pilots of {given} examples" if given else "before any pilot"
        self.dropped[name] = Dropped(at=at, when=when, by=by, reason=reason)
        self.alive.remove(name)

    def result(self, candidates: Sequence[str]) -> Climb:
        ascents = {
            name: Ascent(
                measured=self.measured[name], forecast=self.forecasts.get(name), dropped=self.dropped.get(name)
            )
            for name in candidates
        }
        return Climb(ascents=ascents, examples=sum(sum(each) for each in self.measured.values()))


def _score(measured: Measured) -> tuple[float, float]:
    """Sorts the better first: more right, then fewer bits."""
    return -float(measured.right.mean()), float(measured.bits.mean())


def _forecast(measured: Mapping[int, Measured], examples: int, confidence: float) -> Forecast:
    table = np.stack([each.bits for each in measured.values()])
    value, low, high, law = curves.forecast(list(measured), table, examples, confidence, SEED)
    bits = Interval(
        value=value,
        low=low,
        high=high,
        n=table.shape[1],
        confidence=confidence,
        method="items drawn again, drift added",
    )
    return Forecast(examples=examples, bits=bits, law=law)
