"""Two models on the same items: the exact paired test, and an interval for the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from basewright.records import Comparison, Interval
from basewright.stats.intervals import proportion


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


def difference(both: int, only_first: int, only_second: int, n: int, confidence: float) -> Interval:
    """Newcombe's hybrid score interval for a difference of paired proportions (Newcombe 1998, method 10)."""
    neither = n - both - only_first - only_second
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    one, two = proportion(both + only_first, n, confidence), proportion(both + only_second, n, confidence)
    phi = _phi(both, only_first, only_second, neither)
    low = math.sqrt(max(0.0, (p1 - one.low) ** 2 - 2 * phi * (p1 - one.low) * (two.high - p2) + (two.high - p2) ** 2))
    high = math.sqrt(max(0.0, (one.high - p1) ** 2 - 2 * phi * (one.high - p1) * (p2 - two.low) + (p2 - two.low) ** 2))
    delta = p1 - p2
    return Interval(
        value=delta, low=delta - low, high=delta + high, n=n, confidence=confidence, method="Newcombe, paired"
    )


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """The correlation of the two answers, with Newcombe's continuity correction where it is positive."""
    n = both + only_first + only_second + neither
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    cross = float(both * neither - only_first * only_second)
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    return cross / math.sqrt(margins)


def family_confidence(confidence: float, comparisons: int) -> float:
    """Bonferroni: the level each of several comparisons is made at so that all hold together."""
    return 1 - (1 - confidence) / max(1, comparisons)
