"""The leader against one other: what is known about these items, future items and future tunings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance

from basewright.choose.book import Book
from basewright.records import Duel, DuelOutcome, Interval, ItemScore, record
from basewright.stats import betting, noise, paired
from basewright.stats.noise import Scale

METHOD = "betting, valid at any time, and one look at the whole pool"
EARLY = 0.5
"""Share of what may fail that bets have; the rest is for the look at the whole pool. At 0.2 equals came to 15 of 200
where 10 are allowed: an interval of fixed size, unlike bets, has no slack."""
CERTAIN = Scale(variance=0.0, freedom=math.inf)
"""Of what has no luck in it: a model asked as it is, a classical method."""


@record
class Side:
    """One of the two: what decides, by item, averaged over its tunings."""

    model: str
    values: Mapping[int, float]
    scores: tuple[float, ...]
    """Of each tuning, over those items."""
    noise: Scale


def sides(book: Book, models: Sequence[str]) -> dict[str, Side]:
    """Every finalist on the items that each of its tunings answered."""
    columns = {model: _columns(book, model) for model in models}
    scores = {model: [fmean(column.values()) for column in found] for model, found in columns.items()}
    spread = {model: noise.net(scores[model], _luck(columns[model])) for model in models}
    prior, lucky = noise.Prior(), book.question.decides != "few-shot"
    task = noise.pooled([noise.lifted(one, prior) for one in spread.values()], prior)
    return {
        model: Side(
            model=model,
            values={place: fmean(column[place] for column in columns[model]) for place in columns[model][0]},
            scores=tuple(scores[model]),
            noise=noise.own(spread[model], task, prior) if lucky else CERTAIN,
        )
        for model in models
    }


def classical(model: str, answers: Sequence[ItemScore]) -> Side:
    """A rival, which answered every item."""
    values = {place: float(one.correct) for place, one in enumerate(answers)}
    return Side(model=model, values=values, scores=(fmean(values.values()),), noise=CERTAIN)


def duel(first: Side, second: Side, order: Sequence[int], *, repeats: int, alpha: float, margin: float) -> Duel:
    """Each end of the bounds fails with probability `alpha` at most, however often and whenever one looks.

    The mean over future items of these tunings is inside `on_items`; the mean over all seeds is at most `seed_error`
    away from it. The two errors have nothing to do with each other, so their squares add up (Zou and Donner 2008,
    Statist. Med. 27:1693-1702, the way Newcombe joins two intervals). Where tunings may be repeated there are two
    looks, before and after, and the means over tunings are bet on anew: half of `alpha` for each.
    """
    lucky = first.noise.variance + second.noise.variance > 0
    part = alpha / 2 if lucky and repeats > 1 else alpha
    pairs = [(first.values[p], second.values[p]) for p in order if p in first.values and p in second.values]
    gap = fmean(a - b for a, b in pairs)
    items = _future(pairs, part, whole=len(pairs) == len(order))
    pool = betting.bounds([a - b for a, b in pairs], 1 - 2 * part, len(order))
    error = _seed_error(first, second, alpha, repeats)
    low, high = gap - math.hypot(gap - items[0], error), gap + math.hypot(items[1] - gap, error)
    low, high = max(-1.0, low), min(1.0, high)
    return Duel(
        first=first.model,
        second=second.model,
        difference=gap,
        items=len(pairs),
        on_items=_interval(gap, len(pairs), items, 1 - 2 * part),
        pool=_interval(gap, len(pairs), pool, 1 - 2 * part),
        seed_error=error,
        low=low,
        high=high,
        outcome=_outcome(low, high, margin),
    )


def _future(pairs: Sequence[tuple[float, float]], alpha: float, *, whole: bool) -> tuple[float, float]:
    """About future items: bets valid at any time, and one look at the `whole` pool, of a size nothing seen chose."""
    low, high = betting.bounds([a - b for a, b in pairs], 1 - 2 * EARLY * alpha, None)
    if whole:
        last = paired.interval([a for a, _ in pairs], [b for _, b in pairs], None, 1 - 2 * (1 - EARLY) * alpha)
        low, high = max(low, last.low), min(high, last.high)
    return low, high


def _outcome(low: float, high: float, margin: float) -> DuelOutcome:
    if low > 0 or high < 0:
        return "better" if low > 0 else "worse"
    return "tie within the margin" if -margin < low and high < margin else "not separated"


def _seed_error(first: Side, second: Side, alpha: float, repeats: int) -> float:
    """Looked at twice: with one tuning each, to see whether more are needed, and with those that were made then."""
    counted = [len(side.scores) for side in (first, second) if side.noise is not CERTAIN]
    if not counted:
        return 0.0
    now = counted[0] + counted[-1]
    level = noise.spent(alpha, 2 if now > 2 else 0, now, repeats)
    tunings = [None if side.noise is CERTAIN else len(side.scores) for side in (first, second)]
    return noise.error(first.noise, tunings[0], second.noise, tunings[1], level)


def _columns(book: Book, model: str) -> list[dict[int, float]]:
    """For each tuning, what decides by item, on the items all of them answered."""
    seeds = book.seeds(model)
    places = sorted(set.intersection(*(book.places(model, seed) for seed in seeds)))
    return [dict(zip(places, book.values(model, seed, places), strict=True)) for seed in seeds]


def _luck(columns: Sequence[Mapping[int, float]]) -> float:
    """Variance of one tuning's score from luck item by item: mean variance between tunings, over the items."""
    if len(columns) < 2:
        return 0.0
    return fmean(variance(column[place] for column in columns) for place in columns[0]) / len(columns[0])


def _interval(gap: float, items: int, bounds: tuple[float, float], confidence: float) -> Interval:
    return Interval(value=gap, low=bounds[0], high=bounds[1], n=items, confidence=confidence, method=METHOD)
