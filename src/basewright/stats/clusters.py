"""Means whose items come in groups: what a group adds to the error of a mean, and how many items it is worth.

Items about one passage are right or wrong together, so the independent pieces of evidence are the groups. All here is
on two arrays, the sum of each group's values and the number of its items; groups of one item give the usual formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def totals(values: Sequence[float], groups: Sequence[str] | None) -> tuple[Array, Array]:
    """(sum of values, number of items) of each group. An item without a group (None, or an empty name) is its own.

    Raises `ValueError` for no values, for one that is not finite, or where `groups` has another length.
    """
    if not len(values) or not all(map(math.isfinite, values)):
        raise ValueError("a mean needs values, all of them finite")
    found: dict[str | int, list[float]] = {}
    for place, (value, group) in enumerate(zip(values, groups or [""] * len(values), strict=True)):
        found.setdefault(group or place, []).append(value)
    members = found.values()
    return np.array([math.fsum(one) for one in members]), np.array([float(len(one)) for one in members])


def errors(sums: Array, sizes: Array) -> Array:
    """What each group adds to the error of the mean; the sum of squares is the squared standard error.

    Miller 2024 (arXiv 2411.00640, eq. 4) with the small-sample correction CR2 of Bell and McCaffrey 2002, which is in
    closed form for a mean. Needs two groups.
    """
    share = sizes / sizes.sum()
    mean = sums.sum() / sizes.sum()
    return np.asarray((sums - mean * sizes) / np.sqrt(1 - share) / sizes.sum())


def freedom(sizes: Array) -> float:
    """Degrees of freedom of that standard error (Bell and McCaffrey 2002): groups - 1 where all are of one size."""
    share = sizes / sizes.sum()
    odds = share**2 / (1 - share)
    return float(1 / ((share**2).sum() + odds.sum() ** 2 - (odds**2).sum()))


def effective(sums: Array, sizes: Array, spread: float, informative: int) -> float:
    """How many independent items of variance `spread` would fix the mean as well as these groups do.

    The variance seen is averaged with that of groups whose items all agree, which counts as much as one of the
    `informative` groups: where few groups hold the rarer outcome, the variance seen is mostly luck, and too small.
    """
    worst = float(((sizes / sizes.sum()) ** 2).sum())
    if informative == 0 or spread <= 0:
        return 1 / worst
    seen = float((errors(sums, sizes) ** 2).sum()) / spread
    return (informative + 1) / (informative * seen + worst)
