"""The paired sign-flip test: if two models are equal, it is chance which of the two values an item has from which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from basewright.stats import clusters
from basewright.stats.clusters import Array

EXACT = 16
"""Up to so many items or groups that differ, all 2 ** 16 ways are gone through."""
DRAWS = 19_999
SEED = 20_240_601
"""Fixed, so that the same scores have the same p-value everywhere."""
CELLS = 2**20
"""Random bytes held in memory at a time."""


def sign_flip(deltas: Sequence[float], groups: Sequence[str] | None = None) -> float:
    """Two-sided p-value of the mean difference; exact for up to `EXACT` items or groups that differ.

    Items of one group flip together. Beyond that `DRAWS` random flips, and the flip that was seen counts as one of
    them (Phipson and Smyth 2010), so p is never 0 and never too small. Of right or wrong answers without groups it is
    McNemar's exact test. Raises `ValueError` as `clusters.totals` does.
    """
    sums, _ = clusters.totals(deltas, groups)
    sizes = np.sort(np.abs(sums[sums != 0]))  # in one order, whichever the items and the models come in
    count = len(sizes)
    total = float(sizes.sum())
    seen = abs(float(sums.sum())) - 1e-9 * total
    if count <= EXACT:
        return float((np.abs(2 * (_every(count) @ sizes) - total) >= seen).mean())
    extreme = sum(int((np.abs(2 * kept - total) >= seen).sum()) for kept in _random(sizes))
    return (extreme + 1) / (DRAWS + 1)


def _every(count: int) -> Array:
    """All ways to keep some of `count` things: 2 ** count rows of 1 and 0."""
    return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)


def _random(sizes: Array) -> Iterator[Array]:
    """What is kept of `sizes` in each of `DRAWS` draws, some draws at a time: a random byte keeps or leaves eight."""
    random = np.random.default_rng(SEED)
    eights = np.pad(sizes, (0, -len(sizes) % 8)).reshape(-1, 8)
    kept = _every(8) @ eights.T
    places = np.arange(len(eights))
    rows = max(1, CELLS // len(eights))
    for start in range(0, DRAWS, rows):
        draws = random.integers(0, 256, (min(rows, DRAWS - start), len(eights)), dtype=np.uint8)
        yield kept[draws, places].sum(axis=1)
