"""Seed noise: how far the mean over a few tunings may be from the mean over all seeds, at every look."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from scipy import special

from basewright.records import record

FAILED = 2.0
"""A tuning so many standard deviations below its candidate's median counts as no lower for a rival's best case."""
FIRST_LOOK = 5
"""Tunings a pair has together before it is first looked at: with fewer, the noise is all prior."""


@record
class Prior:
    """What is known of seed noise before a tuning: scaled inverse chi-square for the variance.

    The defaults are of 6 base models tuned on 35 tasks with 20 seeds each (`benchmarks.choose.seeds`): the median
    standard deviation of accuracy is 0.012. As spreads of log variances the freedom is about 2 between tasks and about
    6 between the bases of one task, failed tunings aside; 4 is between the two.
    """

    sd: float = 0.012
    freedom: float = 4.0


@record
class Scale:
    """The variance of one tuning's score over seeds, and how many degrees of freedom it is known with."""

    variance: float
    freedom: float

    @property
    def sd(self) -> float:
        return math.sqrt(self.variance)


def expected(items: int, accuracy: float) -> Prior:
    """The prior where scores are of so many items: never below the standard error of the items themselves.

    On the table's small test sets seed noise was about that large (71 items: 0.058; 277 items: 0.021).
    """
    return Prior(sd=max(Prior().sd, math.sqrt(accuracy * (1 - accuracy) / items)))


def pooled(groups: Iterable[Sequence[float]], prior: Prior) -> Scale:
    """Over the candidates of one task: the prior, and every candidate's scores about their own mean."""
    squares, freedom = prior.freedom * prior.sd**2, prior.freedom
    for scores in groups:
        squares += _squares(scores)
        freedom += len(scores) - 1
    return Scale(variance=squares / freedom, freedom=freedom)


def own(scores: Sequence[float], task: Scale, prior: Prior) -> Scale:
    """Of one candidate: its scores, drawn towards the noise of the task (Smyth 2004).

    Candidates differ as tasks do, with the prior's freedom: of the table's bases one failed once in 700 tunings,
    another in one of ten. So the task's noise counts as known with both freedoms in series.
    """
    known = 1 / (1 / prior.freedom + 1 / task.freedom)
    freedom = known + len(scores) - 1
    return Scale(variance=(known * task.variance + _squares(scores)) / freedom, freedom=freedom)


def net(scores: Sequence[float], luck: float) -> list[float]:
    """The scores, drawn together until their variance is what is left of it without `luck`: the part that comes from
    which items each tuning happens to get right. That part is in the error of the items already."""
    if len(scores) < 2 or not (seen := statistics.variance(scores)):
        return list(scores)
    mean, kept = statistics.fmean(scores), math.sqrt(max(0.0, 1 - luck / seen))
    return [mean + kept * (score - mean) for score in scores]


def lifted(scores: Sequence[float], prior: Prior) -> list[float]:
    """The scores with failed tunings raised to `FAILED` prior standard deviations below the (upper) median.

    Raising can only raise the expected score, so an upper bound for it holds for the scores as they are. It is the
    tighter one: a failed tuning lowers a mean a little and widens its error a lot, in both directions.
    """
    least = statistics.median_high(scores) - FAILED * prior.sd
    return [max(score, least) for score in scores]


def looks(repeats: int) -> tuple[int, ...]:
    """When a pair of candidates is looked at: with all the `repeats` tunings each may get, half of that, a quarter
    and so on; as the numbers of tunings of the two together, ascending."""
    numbers = [2 * repeats]
    while numbers[-1] // 2 >= FIRST_LOOK:
        numbers.append(numbers[-1] // 2)
    return tuple(reversed(numbers))


def spent(alpha: float, before: int, now: int, repeats: int) -> float:
    """What a pair's look after `now` tunings may take of `alpha`, where the last one was after `before`: as large a
    part as of all their tunings came since (the linear spending function; Lan and DeMets 1983)."""
    return alpha * (now - before) / (2 * repeats)


def error(first: Scale, n_first: int | None, second: Scale, n_second: int | None, alpha: float) -> float:
    """How far the difference of two means, over `n_first` and `n_second` tunings, may be above what it is over all
    seeds: by more with probability at most `alpha`, one-sided, for normal scores.

    Looks whose `alpha`s sum up to that of a claim all hold together with it (union bound; see `spent`). Student's t
    with the smaller of the two degrees of freedom: those of Welch and Satterthwaite, which add up, are too many so far
    out in the tail. `None` tunings: a score without luck in it. Seeds that the two share are not paired: in the table,
    scores of the same run do not go together.
    """
    sides = [(scale, n) for scale, n in ((first, n_first), (second, n_second)) if n is not None]
    if not sides:
        return 0.0
    freedom = min(scale.freedom for scale, _ in sides)
    return float(-special.stdtrit(freedom, alpha) * math.sqrt(sum(scale.variance / n for scale, n in sides)))


def _squares(scores: Sequence[float]) -> float:
    mean = sum(scores) / len(scores)
    return sum((score - mean) ** 2 for score in scores)
