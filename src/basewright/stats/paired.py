"""Two models on the same items: the exact paired test, an interval for the difference, and what could be detected."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from basewright.records import Comparison, Interval
from basewright.stats import clusters, intervals
from basewright.stats.intervals import wilson


def compare(
    first: str, right_first: Sequence[bool], second: str, right_second: Sequence[bool], confidence: float = 0.95
) -> Comparison:
    """McNemar's exact test on the items that only one of the two got right, and Newcombe's paired interval.

    The pair is `separated` when the two-sided exact p-value is below 1 - `confidence`. Sequences are in the same
    order of items. Raises `ValueError` when they differ in length or are empty.
    """
    if len(right_first) != len(right_second) or not right_first:
        raise ValueError("a paired comparison needs the same items on both sides")
    pairs = list(zip(right_first, right_second, strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    p_value = exact_p(only_first, only_second)
    both = sum(a and b for a, b in pairs)
    return Comparison(
        first=first,
        second=second,
        difference=difference(both, only_first, only_second, len(pairs), confidence),
        only_first=only_first,
        only_second=only_second,
        p_value=p_value,
        separated=p_value < 1 - confidence,
    )


def exact_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p-value: a fair coin for each item only one got right; 1 when there is none."""
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return float(stats.binomtest(only_first, discordant, 0.5).pvalue)


def interval(
    first: Sequence[float], second: Sequence[float], groups: Sequence[str] | None, confidence: float
) -> Interval:
    """The interval for the mean of `first` minus that of `second`, of the same items in the same order.

    Where both are right or wrong, Newcombe's, on the effective number of items where groups are shared; else
    Student's t on the differences (`intervals.mean`). Raises `ValueError` as `clusters.totals` does.
    """
    deltas = [a - b for a, b in zip(first, second, strict=True)]
    if not {*first, *second} <= {0, 1}:
        return intervals.mean(deltas, confidence, groups)
    both = sum(a == b == 1 for a, b in zip(first, second, strict=True))
    counts = both, deltas.count(1), deltas.count(-1), len(deltas)
    sums, sizes = clusters.totals(deltas, groups)
    if len(sizes) == len(deltas):
        return difference(*counts, confidence)
    return _clustered_difference(*counts, sums, sizes, confidence)


def difference(both: int, only_first: int, only_second: int, n: int, confidence: float) -> Interval:
    """Newcombe's hybrid score interval for a difference of paired proportions (Newcombe 1998, method 10)."""
    low, high = _newcombe(both, only_first, only_second, n, float(stats.norm.ppf((1 + confidence) / 2)))
    value = (only_first - only_second) / n
    return Interval(value=value, low=low, high=high, n=n, confidence=confidence, method="Newcombe, paired")


def _clustered_difference(
    both: int,
    only_first: int,
    only_second: int,
    n: int,
    sums: clusters.Array,
    sizes: clusters.Array,
    confidence: float,
) -> Interval:
    """Newcombe's interval for as many independent items as the groups are worth; `sums` are first minus second."""
    value, low, high = (only_first - only_second) / n, -1.0, 1.0
    if len(sizes) > 1:
        spread = (only_first + only_second) / n - value**2
        worth = clusters.effective(sums, sizes, spread, int((sums != 0).sum()))
        scale = worth / n
        z = intervals.quantile(sizes, confidence)
        low, high = _newcombe(scale * both, scale * only_first, scale * only_second, worth, z)
    method = "Newcombe, paired, clustered"
    return Interval(value=value, low=low, high=high, n=n, confidence=confidence, method=method)


def _newcombe(both: float, only_first: float, only_second: float, n: float, z: float) -> tuple[float, float]:
    neither = n - both - only_first - only_second
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    (low1, high1), (low2, high2) = wilson(p1, n, z), wilson(p2, n, z)
    phi = _phi(both, only_first, only_second, neither)
    low = math.sqrt(max(0.0, (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2))
    high = math.sqrt(max(0.0, (high1 - p1) ** 2 - 2 * phi * (high1 - p1) * (p2 - low2) + (p2 - low2) ** 2))
    return p1 - p2 - low, p1 - p2 + high


def _phi(both: float, only_first: float, only_second: float, neither: float) -> float:
    """The correlation of the two answers, with Newcombe's continuity correction where it is positive."""
    n = both + only_first + only_second + neither
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins <= 0:
        return 0.0
    cross = both * neither - only_first * only_second
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    return cross / math.sqrt(margins)


def detectable(deltas: Sequence[float], groups: Sequence[str] | None, alpha: float, power: float = 0.8) -> float | None:
    """The smallest true difference that a test at level `alpha` finds with probability `power` on such items.

    That is (z(1 - alpha/2) + z(power)) standard errors of a mean difference of 0 (Connor 1987; Miller 2024, eq. 9),
    where the models differ on items, or groups, as much as was seen. None where they differ on so few that no
    paired test can reach `alpha`: its p-value is at least 2 / 2 ** (how many differ).
    """
    sums, sizes = clusters.totals(deltas, groups)
    if 2.0 ** (1 - int((sums != 0).sum())) >= alpha:
        return None
    reach = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    return float(reach * math.sqrt(float((sums**2).sum())) / sizes.sum())


def family_confidence(confidence: float, comparisons: int) -> float:
    """Bonferroni: the level each of several comparisons is made at so that all hold together."""
    return 1 - (1 - confidence) / max(1, comparisons)
