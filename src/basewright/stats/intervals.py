"""Intervals for one score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from basewright.records import Interval


def proportion(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a binomial proportion (Wilson 1927): keeps its level for small n and near 0 or 1.

    Raises `ValueError` unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no proportion")
    z = float(stats.norm.ppf((1 + confidence) / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(value=p, low=low, high=high, n=n, confidence=confidence, method="Wilson")


def mean(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval for a mean. With one value the interval is unbounded."""
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    centre = float(np.mean(values))
    if n == 1:
        return Interval(value=centre, low=-1e308, high=1e308, n=1, confidence=confidence, method="t")
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(value=centre, low=centre - half, high=centre + half, n=n, confidence=confidence, method="t")
