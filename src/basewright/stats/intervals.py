"""Intervals for one score.

The methods were chosen by simulation (`benchmarks/intervals.py`): which of them cover at their level, on both sides,
for few items, skewed metrics and items that share a passage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from basewright.records import Interval
from basewright.stats import clusters
from basewright.stats.clusters import Array

UNBOUNDED = 1e308
"""Stands for infinity, which JSON does not have."""


def interval(values: Sequence[float], groups: Sequence[str] | None, confidence: float, binary: bool) -> Interval:
    """The interval for the mean of a metric over items, by the method that suits it (named in the result).

    `values` are of the items, in one order with `groups`: the names of what items share (a passage), empty where an
    item shares nothing. Right or wrong answers (`binary`; also any metric that was only ever 0 or 1) get Wilson's
    interval, on the effective number of items where groups are shared; other metrics get `ratio`. Raises `ValueError`
    for no values, or for values that are not finite or, where `binary`, not 0 or 1.
    """
    sums, sizes = clusters.totals(values, groups)
    if set(values) <= {0, 1}:
        if len(sizes) == len(values):
            return proportion(round(sums.sum()), len(values), confidence)
        return clustered_proportion(sums, sizes, confidence)
    if binary:
        raise ValueError("right or wrong is 1 or 0")
    return ratio(sums, sizes, len(values), confidence)


def proportion(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a binomial proportion (Wilson 1927): keeps its level for small n and near 0 or 1.

    Raises `ValueError` unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no proportion")
    low, high = wilson(successes / n, n, float(stats.norm.ppf((1 + confidence) / 2)))
    return Interval(value=successes / n, low=low, high=high, n=n, confidence=confidence, method="Wilson")


def clustered_proportion(sums: Array, sizes: Array, confidence: float) -> Interval:
    """Wilson's interval on the effective number of items, with Student's quantile (Korn and Graubard 1998; Dean and
    Pacheco 2015). `sums` are the successes in each group. With one group the interval is all of [0, 1]."""
    n, p = int(sizes.sum()), float(sums.sum() / sizes.sum())
    low, high = 0.0, 1.0
    if len(sizes) > 1:
        mixed = min(int((sums > 0).sum()), int((sums < sizes).sum()))
        low, high = wilson(p, clusters.effective(sums, sizes, p * (1 - p), mixed), quantile(sizes, confidence))
    return Interval(value=p, low=low, high=high, n=n, confidence=confidence, method="Wilson, clustered")


def wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """The bounds for a share `p` of `n` items, `z` standard errors away; `n` may be an effective number."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if p == 0 else max(0.0, centre - half)), (1.0 if p == 1 else min(1.0, centre + half))


def ratio(sums: Array, sizes: Array, n: int, confidence: float) -> Interval:
    """The interval for sum(sums) / sum(sizes) over independent groups of `n` items in all: a mean, or nats by bytes.

    Student's t with the error of `clusters.errors`, its skewness removed by Hall's transformation (Hall 1992, J. R.
    Statist. Soc. B 54:221-228). On skewed metrics it holds its level better than t (which misses on one side) and
    than the BCa, percentile and studentised bootstraps, and needs no draws. With one group it is unbounded; where
    nothing varies it has no width.
    """
    value = float(sums.sum() / sizes.sum())
    shared = ", clustered" if len(sizes) < n else ""
    low, high = -UNBOUNDED, UNBOUNDED
    if len(sizes) > 1:
        parts = clusters.errors(sums, sizes)
        error = math.sqrt(float((parts**2).sum()))
        skew = float(((parts / error) ** 3).sum()) if error > 0 else 0.0
        t = quantile(sizes, confidence)
        low, high = value - error * _unskewed(t, skew), value - error * _unskewed(-t, skew)
    method = f"t, skewness removed{shared}"
    return Interval(value=value, low=low, high=high, n=n, confidence=confidence, method=method)


def _unskewed(t: float, skew: float) -> float:
    """The inverse of Hall's cubic, with `skew` the skewness of the mean; as it is without any."""
    if abs(skew) < 1e-9:
        return t
    return 3 * (math.cbrt(1 + skew * (t - skew / 6)) - 1) / skew


def mean(values: Sequence[float], confidence: float = 0.95, groups: Sequence[str] | None = None) -> Interval:
    """Student's t interval for a mean, clustered where items share a group. With one group it is unbounded.

    For paired differences, which are mostly 0 and symmetric enough: there it covers better than `ratio`.
    """
    sums, sizes = clusters.totals(values, groups)
    value = float(sums.sum() / sizes.sum())
    half = UNBOUNDED
    if len(sizes) > 1:
        half = quantile(sizes, confidence) * math.sqrt(float((clusters.errors(sums, sizes) ** 2).sum()))
    low, high = max(-UNBOUNDED, value - half), min(UNBOUNDED, value + half)
    method = "t" if len(sizes) == len(values) else "t, clustered"
    return Interval(value=value, low=low, high=high, n=len(values), confidence=confidence, method=method)


def quantile(sizes: Array, confidence: float) -> float:
    """How many standard errors a two-sided interval reaches, for groups of these sizes."""
    return float(stats.t.ppf((1 + confidence) / 2, clusters.freedom(sizes)))
