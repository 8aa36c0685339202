"""Learning curves: the loss after more training examples, from the losses after fewer, with an interval.

Which law is used where was measured on 30 models x 3 datasets (`benchmarks/choose/tuning.py`): up to two doublings
beyond the last rung, using the rectified law where it foretold the last rung errs a little less than a straight line in
logarithms; further out it errs more, because few rungs do not fix the loss that remains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from basewright.records import record
from basewright.stats.clusters import Array
from basewright.stats.intervals import UNBOUNDED

RECTIFIED = "rectified scaling law"
LINE = "straight line in logarithms"
FLAT = "one rung, no curve"

LAST = 4
"""Rungs a straight line is laid through: the last ones, because slopes change along the ladder."""
ENOUGH = 6
"""Rungs the rectified law needs: its four parameters from all but the last rung, which it has to foretell."""
REACH = 4.0
"""How many times beyond the last rung the rectified law is trusted."""
NOISE = 0.01
"""Least scatter of one tuning about its curve, in logarithms: two rungs lie on their line and still have errors."""
DRIFT = 0.05
"""Error of a curve's slope per doubling beyond the last rung, in logarithms: what the worst of 3 data sets measured
calls for. The two others call for half of it, and 56 to 71 % of that one would lie within: a fourth may be worse."""
FLOOR = 1e-3
"""Losses below are taken as this one: a thousandth of a bit is no difference, and zero has no logarithm."""
DRAWS = 200
POWERS = np.linspace(0.05, 1.5, 30)
LEARNED = np.linspace(0.0, 15.0, 31)
"""Grid of the rectified law: beta, and the logarithm of examples at which the power phase begins (ln D_l / beta)."""


@record
class Curve:
    """A fitted law: (B, D_l, beta, E) of the rectified one, (intercept, slope) of a line in natural logarithms."""

    law: str
    parameters: tuple[float, ...]

    def at(self, examples: float) -> float:
        """The loss after `examples` training examples, in the unit of the losses fitted."""
        return float(_at(self.law, np.array([self.parameters]), examples)[0])


def fit(examples: Sequence[int], losses: Sequence[float]) -> Curve:
    """The rectified scaling law L(D) = B / (D_l + D^beta) + E (Lin et al. 2024, arXiv 2402.02314, eq. 5), or a line.

    The law has to earn its place: `ENOUGH` rungs, and fitted without the last one it foretells that one better than
    the line does. Both are fitted to relative errors. Raises `ValueError` for fewer than two rungs, for rungs that do
    not ascend from above 0, and for losses that are negative or not finite.
    """
    rungs, values = _checked(examples, [losses])
    law = _law(rungs, values)
    return _curve(law, rungs, values)


def line(examples: Sequence[int], losses: Sequence[float]) -> Curve:
    """The straight line through the last `LAST` rungs, in logarithms. Raises `ValueError` as `fit` does."""
    return _curve(LINE, *_checked(examples, [losses]))


def accept_then_stop(examples: Sequence[int], losses: Sequence[float], keep: int = 3, delta: float = 5.0) -> Curve:
    """Lin et al.'s AtS: a line in logarithms through the rungs of the power phase (arXiv 2402.02314, algorithm 1).

    From the last `keep` rungs backwards, a rung is accepted while it lies within `delta` standard deviations of the
    residuals of the line through those accepted so far, and the first that does not stops it. As in the authors' code
    the first rung of a ladder longer than `keep` is only ever tested. Raises `ValueError` as `fit` does.
    """
    rungs, values = _checked(examples, [losses])
    x, y = np.log(rungs), np.log(values[0])
    accepted = len(x)
    if len(x) > keep:
        for accepted in range(keep, len(x)):
            slope, intercept = np.polyfit(x[-accepted:], y[-accepted:], 1)
            scatter = float((y[-accepted:] - intercept - slope * x[-accepted:]).std())
            if abs(y[-accepted - 1] - intercept - slope * x[-accepted - 1]) > delta * scatter:
                break
    slope, intercept = np.polyfit(x[-accepted:], y[-accepted:], 1)
    return Curve(law=LINE, parameters=(float(intercept), float(slope)))


def forecast(
    examples: Sequence[int], losses: ArrayLike, target: int, confidence: float, seed: int
) -> tuple[float, float, float, str]:
    """(value, low, high, law): the mean loss after `target` training examples, with its interval.

    `losses` is [rungs, items], in bits, of the same items at every rung. Three errors add up, in logarithms: the items
    (resampled, the same ones at all rungs), how far single tunings scatter about their curve (redrawn), and `DRIFT`
    for each doubling that lies beyond the last rung. At a rung that was measured there is no drift, but for a future
    tuning there is scatter. One rung alone says nothing of a slope: its value, between 0 and unbounded. Raises
    `ValueError` as `fit` does, and where `losses` is not of these rungs.
    """
    table = np.asarray(losses, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(examples) or not table.size:
        raise ValueError("losses must be [rungs, items], one row for each rung")
    if len(examples) == 1 and np.isfinite(table).all():
        return float(table.mean()), 0.0, UNBOUNDED, FLAT
    rungs, means = _checked(examples, [table.mean(axis=1).tolist()])
    law = _law(rungs, means) if target <= REACH * rungs[-1] else LINE
    value = float(_at(law, _parameters(law, rungs, means), target)[0])
    drawn = np.log(
        np.maximum(_at(law, _parameters(law, rungs, _redrawn(law, rungs, means, table, seed)), target), FLOOR)
    )
    doublings = max(0.0, math.log2(target / rungs[-1]))
    width = float(stats.norm.ppf((1 + confidence) / 2)) * math.hypot(float(drawn.std()), DRIFT * doublings, NOISE)
    return value, value * math.exp(-width), value * math.exp(width), law


def _redrawn(law: str, rungs: Array, means: Array, table: Array, seed: int) -> Array:
    """`DRAWS` ladders that could have been: items drawn again, and each tuning moved by the scatter about the curve."""
    random = np.random.default_rng(seed)
    items = table.shape[1]
    counts = random.multinomial(items, np.full(items, 1 / items), size=DRAWS)
    scatter = _scatter(law, rungs, means)
    moved = np.exp(scatter * random.standard_normal((DRAWS, len(rungs))))
    drawn: Array = np.maximum(counts @ table.T / items * moved, FLOOR)
    return drawn


def _scatter(law: str, rungs: Array, means: Array) -> float:
    """Standard deviation of the rungs about the curve, in logarithms, for the parameters it has; at least `NOISE`."""
    seen = slice(-LAST, None) if law == LINE else slice(None)
    parameters = _parameters(law, rungs, means)
    missed = [math.log(m / _at(law, parameters, float(n))[0]) for n, m in zip(rungs[seen], means[0][seen], strict=True)]
    freedom = len(missed) - parameters.shape[1]
    return max(NOISE, math.sqrt(math.fsum(m * m for m in missed) / freedom)) if freedom > 0 else NOISE


def _checked(examples: Sequence[int], losses: Sequence[Sequence[float]]) -> tuple[Array, Array]:
    rungs, values = np.asarray(examples, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if len(rungs) < 2 or rungs[0] <= 0 or not (np.diff(rungs) > 0).all():
        raise ValueError("a learning curve needs two rungs or more, ascending from above 0")
    if values.shape[1] != len(rungs) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("a learning curve needs one loss for each rung, finite and not negative")
    return rungs, np.maximum(values, FLOOR)


def _law(rungs: Array, means: Array) -> str:
    """Which law foretells the last rung from those before."""
    if len(rungs) < ENOUGH:
        return LINE
    missed = {
        law: abs(math.log(_at(law, _parameters(law, rungs[:-1], means[:, :-1]), rungs[-1])[0] / means[0, -1]))
        for law in (LINE, RECTIFIED)
    }
    return RECTIFIED if missed[RECTIFIED] < missed[LINE] else LINE


def _curve(law: str, rungs: Array, values: Array) -> Curve:
    return Curve(law=law, parameters=tuple(float(p) for p in _parameters(law, rungs, values)[0]))


def _parameters(law: str, rungs: Array, values: Array) -> Array:
    """[ladders, parameters] of a law, fitted to each row of `values`, [ladders, rungs]."""
    return _rectified(rungs, values) if law == RECTIFIED else _line(rungs, values)


def _at(law: str, parameters: Array, examples: float) -> Array:
    """[ladders]: the loss by each row of parameters."""
    if law == RECTIFIED:
        scale, learned, power, rest = parameters.T
        return np.asarray(scale / (learned + examples**power) + rest)
    return np.asarray(np.exp(parameters[:, 0] + parameters[:, 1] * math.log(examples)))


def _line(rungs: Array, values: Array) -> Array:
    x, y = np.log(rungs[-LAST:]), np.log(values[:, -LAST:])
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    return np.stack([y.mean(axis=1) - slope * x.mean(), slope], axis=1)


def _rectified(rungs: Array, values: Array) -> Array:
    """Least squares of relative errors: B and E in closed form, neither negative, on a grid of D_l and beta.

    A grid always finds the best of its points; the surface has long valleys in which searches from a start get lost.
    """
    power, begins = (each.ravel() for each in np.meshgrid(POWERS, LEARNED))
    learned = np.exp(power * begins)
    shape = 1 / (learned[:, None] + rungs[None, :] ** power[:, None])
    weight = values**-2.0
    hh, h = weight @ (shape**2).T, weight @ shape.T
    hy, y = (weight * values) @ shape.T, (weight * values).sum(axis=1)[:, None]
    ones = weight.sum(axis=1)[:, None]
    spread = np.maximum(hh * ones - h**2, 1e-12 * hh * ones)
    rest = np.clip((hh * y - h * hy) / spread, 0, y / ones)
    scale = np.maximum((hy - rest * h) / hh, 0)
    rest = np.where(scale > 0, rest, y / ones)
    errors = scale**2 * hh + 2 * scale * rest * h + rest**2 * ones - 2 * scale * hy - 2 * rest * y
    best = errors.argmin(axis=1)
    row = np.arange(len(values))
    return np.stack([scale[row, best], learned[best], power[best], rest[row, best]], axis=1)
