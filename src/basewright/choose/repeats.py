"""Tune finalists again with other seeds until one is proven within a margin of the best, or the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal

from basewright.errors import UsageError
from basewright.records import record
from basewright.stats import noise
from basewright.stats.noise import Prior, Scale

Run = Callable[[str, int], float]
"""Tunes a candidate with seed number 0, 1, ... and says its accuracy, in [0, 1]; what is kept already counts too."""
Outcome = Literal["winner", "tie within the margin", "not separated"]
HISTORY = 1.0
"""How many tunings history's expected score of a candidate weighs as much as; in the pick, never in a bound."""


@record
class Tuning:
    model: str
    seed: int
    score: float
    pick: str
    """What to go with, had this been the last tuning."""


@record
class Bound:
    """Mean score of `first` minus that of `second`, and where the difference over all seeds lies.

    Each end is off with probability (1 - confidence) / (candidates - 1) at most, over all looks; before the first
    look it is -1 or 1.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float


@record
class Played:
    tunings: tuple[Tuning, ...]
    """In the order they were made."""
    means: dict[str, float]
    sds: dict[str, float]
    """Of each candidate's scores from seed to seed, as the bounds take it."""
    sd: Scale
    """The same of the task: pooled over the candidates, failed tunings raised."""
    leader: str
    """The highest mean."""
    outcome: Outcome
    pick: str
    """The winner; of those tied the cheapest; if nothing is proven, what scores and history together favour."""
    tied: tuple[str, ...]
    """All that are proven to be at most the margin below the best, the pick first; empty unless it is a tie."""
    bounds: tuple[Bound, ...]
    """The pick against every other, as of their last look."""


def play(
    candidates: Sequence[str],
    run: Run,
    *,
    margin: float,
    confidence: float,
    budget: int,
    repeats: int,
    sd: Prior,
    prior: Mapping[str, float] | None = None,
    costs: Mapping[str, float] | None = None,
) -> Played:
    """One tuning of each candidate, then one at a time where it separates the pick from its closest rival.

    A winner is better than every other; it is a tie when none is better than the pick by more than `margin`. Such a
    claim is false with probability at most 1 - `confidence`, whatever was tuned and whenever it stopped: it takes a
    false bound of some candidate against the best one, and each of those bounds has an equal part. It is about the
    mean over all seeds where scores are normal, with noise as `sd` expects; failures too rare to be met are not in it.

    `budget` counts all tunings, `repeats` those of one candidate. `prior` is an expected accuracy, of which only
    differences matter; it orders, and is in the pick. Raises `UsageError` for a budget below one tuning of each.
    """
    if budget < len(candidates):
        raise UsageError(
            f"{budget} tunings cannot compare {len(candidates)} candidates",
            fix="raise the budget to one tuning of each, or name fewer candidates",
        )
    table = _Table(
        candidates=tuple(candidates),
        history=prior or {},
        sd=sd,
        margin=margin,
        alpha=(1 - confidence) / max(1, len(candidates) - 1),
        repeats=repeats,
        looks=noise.looks(repeats),
    )
    for model in sorted(candidates, key=lambda model: -table.history.get(model, -math.inf)):
        table.add(model, run(model, 0))
    while len(table.tunings) < budget and not table.proven():
        following = table.following()
        if following is None:
            break
        table.add(following, run(following, len(table.scores[following])))
    return _played(table, costs or {})


@dataclass(kw_only=True, slots=True)
class _Table:
    """What was scored so far, and the bounds as of each pair's last look."""

    candidates: tuple[str, ...]
    history: Mapping[str, float]
    sd: Prior
    margin: float
    alpha: float
    repeats: int
    looks: tuple[int, ...]
    scores: dict[str, list[float]] = field(default_factory=dict)
    raised: dict[str, list[float]] = field(default_factory=dict)
    """The scores with failed tunings lifted: a candidate as a rival, at its best."""
    low: dict[tuple[str, str], float] = field(default_factory=dict)
    """What the first is ahead of the second at least, over all seeds; negative where it may be behind."""
    looked: dict[frozenset[str], int] = field(default_factory=dict)
    """Tunings that a pair had together when it was last looked at."""
    tunings: list[Tuning] = field(default_factory=list)

    def add(self, model: str, score: float) -> None:
        scores = self.scores.setdefault(model, [])
        scores.append(score)
        self.raised[model] = noise.lifted(scores, self.sd)
        for other in self.scores:
            if other != model:
                self.look(model, other)
        self.tunings.append(Tuning(model=model, seed=len(scores) - 1, score=score, pick=self.pick()))

    def look(self, first: str, second: str) -> None:
        """Both bounds of a pair, where its next look has come; it waits until both have a second tuning."""
        numbers = len(self.scores[first]), len(self.scores[second])
        pair, now = frozenset((first, second)), sum(numbers)
        before = self.looked.get(pair, 0)
        if min(numbers) < 2 or not any(before < look <= now for look in self.looks):
            return
        alpha = noise.spent(self.alpha, before, now, self.repeats)
        self.looked[pair] = now
        self.low[first, second] = self.bound(first, second, alpha)
        self.low[second, first] = self.bound(second, first, alpha)

    def bound(self, first: str, second: str, alpha: float) -> float:
        """Failed tunings count in full against the first; for the second, they count as no worse than bad luck."""
        task, ours, theirs = self.task(), self.scores[first], self.raised[second]
        scales = noise.own(ours, task, self.sd), noise.own(theirs, task, self.sd)
        return fmean(ours) - fmean(theirs) - noise.error(scales[0], len(ours), scales[1], len(theirs), alpha)

    def task(self) -> Scale:
        return noise.pooled(self.raised.values(), self.sd)

    def least(self, model: str) -> float:
        """What the candidate is ahead of every other at least."""
        return min((self.low.get((model, other), -1.0) for other in self.candidates if other != model), default=1.0)

    def proven(self) -> list[str]:
        """Those that no other is better than by more than the margin; none while the pick is not among them.

        So what history warns of needs more than a few lucky tunings, and a claim needs no history.
        """
        proven = [model for model in self.candidates if self.least(model) >= -self.margin]
        return proven if self.pick() in proven else []

    def expected(self) -> dict[str, float]:
        """Scores and history together. History knows differences; its level is where most candidates agree."""
        means = {model: fmean(scores) for model, scores in self.scores.items()}
        known = [model for model in means if model in self.history]
        if not known:
            return means
        level = median(means[model] - self.history[model] for model in known)
        for model in known:
            share = HISTORY / self.weight(model)
            means[model] += share * (level + self.history[model] - means[model])
        return means

    def weight(self, model: str) -> float:
        """Tunings that the expected score rests on, history counted in."""
        return len(self.scores[model]) + (HISTORY if model in self.history else 0.0)

    def pick(self) -> str:
        expected = self.expected()
        return max(expected, key=expected.__getitem__)

    def following(self) -> str | None:
        """Of the pick and the rival hardest to tell from it, the one whose next tuning narrows the error most.

        None when every rival is told apart, or has all its tunings as the pick has.
        """
        expected, task, pick = self.expected(), self.task(), self.pick()
        variance = {model: noise.own(raised, task, self.sd).variance for model, raised in self.raised.items()}
        variance[pick] = noise.own(self.scores[pick], task, self.sd).variance
        nearest, following = math.inf, None
        for rival in self.candidates:
            if rival == pick or self.low.get((pick, rival), -1.0) >= -self.margin:
                continue
            free = [model for model in (pick, rival) if len(self.scores[model]) < self.repeats]
            error = math.sqrt(sum(variance[model] / self.weight(model) for model in (pick, rival)))
            distance = (expected[pick] - expected[rival] + self.margin) / error
            if free and distance < nearest:
                nearest = distance
                following = max(free, key=lambda m: variance[m] / (self.weight(m) * (self.weight(m) + 1)))
        return following


def _played(table: _Table, costs: Mapping[str, float]) -> Played:
    expected, task = table.expected(), table.task()
    proven = sorted(table.proven(), key=lambda model: (costs.get(model, 0.0), -expected[model]))
    winners = [model for model in proven if table.least(model) > 0]
    outcome: Outcome = "winner" if winners else "tie within the margin" if proven else "not separated"
    pick = (winners or proven or [table.pick()])[0]
    means = {model: fmean(table.scores[model]) for model in table.candidates}
    return Played(
        tunings=tuple(table.tunings),
        means=means,
        sds={model: noise.own(table.scores[model], task, table.sd).sd for model in table.candidates},
        sd=task,
        leader=max(means, key=means.__getitem__),
        outcome=outcome,
        pick=pick,
        tied=() if winners else tuple(proven),
        bounds=tuple(
            Bound(
                first=pick,
                second=other,
                difference=means[pick] - means[other],
                low=table.low.get((pick, other), -1.0),
                high=-table.low.get((other, pick), -1.0),
            )
            for other in table.candidates
            if other != pick
        ),
    )
