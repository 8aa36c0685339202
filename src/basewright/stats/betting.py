"""Betting on a mean: e-processes and intervals that hold however often one looks, for a whole pool or future items.

A bettor starts with wealth 1 and stakes, before each item, a part of it against the claim "the mean is at most `null`".
Where the claim is true wealth is a nonnegative supermartingale, so by Ville's inequality it ever reaches 1/alpha with
probability at most alpha: at every look, after every item (Waudby-Smith and Ramdas 2024, JRSS B 86:1-27).

Values are in [-1, 1]: paired differences of values in [0, 1]. With `pool` the items are drawn without replacement, in
random order, from so many, and the claim is about the mean of them all: what is seen fixes what may remain (Waudby-
Smith and Ramdas 2020, NeurIPS, "Confidence sequences for sampling without replacement"). With `pool` None they are
independent draws, and the claim is about the mean of future ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
MOST = 0.95
"""The largest part of the wealth that one item may take."""
PRIOR_ITEMS = 20.0
PRIOR_GAP = 0.15
PRIOR_SQUARE = 0.4
"""What the estimates that bets follow start from: so many items, with this mean and mean square."""
AIM = 2.2
"""Where a bettor with a horizon wants to be by then, in standard errors; its wealth is some 36 there."""
STAKES = np.geomspace(0.01, 0.8, 8)
ROUNDING = 1e-9
REFUTED = 1e300


def growth(
    values: Array,
    null: float,
    *,
    pool: int | None = None,
    horizon: int | None = None,
    seen: int = 0,
    total: ArrayLike = 0.0,
    squares: ArrayLike = 0.0,
) -> Array:
    """Wealth of each bettor after each of `values` (shape [..., n]), from 1 before them: shape [bettors, ..., n].

    `seen`, `total` and `squares` are of the items before: their number, sum and sum of squares (shape [...]). So an
    e-process goes on batch by batch: wealths of batches multiply. `REFUTED` where nothing that remains in the pool
    could make the claim true. Any stakes are valid that do not look at the item; a weighted sum of wealths is too.

    The first bettor stakes mean over mean square, as estimated before the item (Kelly's stake, to second order), and
    is fast where differences are large. Where it is known after how many future items all bets end (`horizon`) there
    is a second, for differences that are just large enough to be found by then. It stakes what replicates the bet that
    a Brownian motion will have been `AIM` standard errors of then above 0 (compare Kulldorff 1993, SIAM J. Control
    Optim. 31:52-69).
    """
    sums, after = _before(values, total)
    squared, _ = _before(values**2, squares)
    n = seen + np.arange(float(values.shape[-1]))
    excess = sums - n * null
    square = (squared + PRIOR_ITEMS * PRIOR_SQUARE) / (n + PRIOR_ITEMS)
    stakes = (np.maximum(excess + PRIOR_ITEMS * PRIOR_GAP, 0.0) / (n + PRIOR_ITEMS) / square)[None]
    if horizon is not None:
        stakes = np.concatenate([stakes, _aimed(excess, n, np.sqrt(square), horizon)[None]])
    with np.errstate(over="ignore"):
        wealth = np.cumprod(_factors(values, stakes, sums, n, null, pool), axis=-1)
    return np.where(_refuted(after, n + 1, null, pool), REFUTED, np.minimum(wealth, REFUTED))


def bounds(differences: Sequence[float] | Array, confidence: float, pool: int | None) -> tuple[float, float]:
    """An anytime-valid interval for the mean of `differences` (in [-1, 1], in the random order they were drawn).

    Of the whole `pool`, without width when all of it was seen; of future items where `pool` is None. It holds at all
    lengths of the sequence at once. Found by inverting an e-process for each side: those null means that no mixture
    of constant stakes ever refuted at half the error (a mixture over a grid loses at most log(grid) to its best
    member; compare Orabona and Jun 2024, IEEE Trans. Inf. Theory 70:436-455). Raises `ValueError` for values outside
    [-1, 1] or more of them than the pool has.
    """
    x = np.asarray(differences, np.float64)
    if (x.size and not np.abs(x).max() <= 1) or (pool is not None and x.size > pool):
        raise ValueError("differences lie in [-1, 1], at most as many as the pool has items")
    if not x.size:
        return -1.0, 1.0
    mean = float(x.mean())
    if x.size == pool:
        return mean, mean
    threshold = 2 / (1 - confidence)
    low = _edge(lambda null: _ever(x, null, pool) >= threshold, mean)
    high = -_edge(lambda null: _ever(-x, null, pool) >= threshold, -mean)
    return low, high


def _aimed(excess: Array, n: Array, spread: Array, horizon: int) -> Array:
    """The stake of the second bettor: the hazard of a normal distribution, at what is missing in standard errors."""
    left = spread * np.sqrt(np.maximum(horizon - n, 1.0))
    missing = np.clip((AIM * spread * math.sqrt(horizon) - excess) / left, 0.0, 30.0)
    return np.asarray(np.exp(-(missing**2) / 2 - special.log_ndtr(-missing)) / (math.sqrt(2 * math.pi) * left))


def _before(values: Array, start: ArrayLike) -> tuple[Array, Array]:
    """The running sum before each value, and after it."""
    after = np.cumsum(values, axis=-1) + np.asarray(start, np.float64)[..., None]
    return after - values, after


def _factors(values: Array, stakes: Array, sums: Array, n: Array, null: float, pool: int | None) -> Array:
    """What each item multiplies wealth with. Stakes grow as the pool empties: an excess of the whole mean over the
    null is, among the items that remain, larger by pool / remaining."""
    left = np.inf if pool is None else pool - n
    claimed = np.full_like(sums, null) if pool is None else (pool * null - sums) / left
    # Beyond [-1, 1] the claim is refuted, which `_refuted` says, or certain, and then every item loses.
    claimed = np.clip(claimed, ROUNDING - 1, 1.0)
    grown = stakes if pool is None else stakes * (pool / left)
    return np.asarray(1 + np.minimum(grown, MOST / (1 + claimed)) * (values - claimed))


def _refuted(sums: Array, n: Array, null: float, pool: int | None) -> NDArray[np.bool_]:
    """Whether the mean of the pool is above `null` even if all that remain are -1."""
    if pool is None:
        return np.zeros(sums.shape, np.bool_)
    return np.asarray(sums - (pool - n) > pool * null + ROUNDING)


def _ever(x: Array, null: float, pool: int | None) -> float:
    """The highest wealth a uniform mixture of constant stakes ever had; it falls as `null` grows, so it inverts."""
    sums, after = _before(x, 0.0)
    n = np.arange(float(x.size))
    if _refuted(after, n + 1, null, pool).any():
        return REFUTED
    logs = np.cumsum(np.log(_factors(x, STAKES[:, None], sums, n, null, pool)), axis=1)
    return float(np.exp(np.minimum(np.logaddexp.reduce(logs, axis=0).max(), 600.0)) / STAKES.size)


def _edge(refuted: Callable[[float], bool], mean: float) -> float:
    """The largest null mean that is refuted with all below it; never above the mean seen."""
    low, high = -1.0, mean
    if not refuted(low):
        return low
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
