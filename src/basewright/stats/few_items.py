"""The full score on a known benchmark from a few of its items, where many other models have answered all of them.

Every known model is a hypothesis about the new one. An answer multiplies the weight of each known model by how likely
that model gives it; the estimate is the weighted mean of their full scores, and the next item is the one whose answer
is expected to take most variance out of it (adaptive testing with the known models in place of an ability scale).
How likely a known model gives an answer is its own answer, blended with what a few factors over all models say of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from basewright.errors import DataError
from basewright.records import Interval, record

Array = NDArray[np.float64]
Table = NDArray[np.integer]
Small = NDArray[np.float32]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

CALIBRATED_ON = 400
"""Known models that the width of the interval is calibrated on; more would move its level by less than a point."""
RELATED = 0.98
"""Known models that agree on this share of items are taken for merges or copies of each other."""


@record
class Smoothing:
    """How sure known answers are as hypotheses; chosen by `benchmarks/choose/few_items.py` on five benchmarks."""

    rank: int = 20
    """Factors that the answers of all models are reduced to."""
    own: float = 0.5
    """Share of a model's own answers in its probabilities; the factors have the rest."""
    floor: float = 0.05
    """No answer is less likely than this."""
    temper: float = 0.7
    """Exponent of the likelihood: items are not independent, so an answer counts for less than one."""


@record
class Bank:
    """The known models: `scores` (n), and two tables that answers are looked up in."""

    scores: Array
    moments: Small
    """n x (2 items + 1): probability of right, the same times the centred score, and the centred score."""
    likelihood: Small
    """2 x items x n: tempered log-likelihood of a wrong, and of a right answer."""

    @property
    def items(self) -> int:
        return int(self.likelihood.shape[1])


@record
class Walk:
    """Where each of T new models stands: `asked` (T x steps) and `log_weights` (T x n) of the known models."""

    asked: Places
    log_weights: Small


@record
class Estimator:
    bank: Bank
    stretch: Array
    """By number of answers: how many spreads the interval reaches to either side."""
    slack: Array
    """By number of answers: added to the spread of a posterior, which may be as good as none."""
    confidence: float
    items: tuple[int, ...]
    """A fixed list to ask; empty where each next item depends on the answers so far."""

    def next_item(self, answers: Mapping[int, bool]) -> int:
        """The item to ask next, after these answers (right or wrong, by item, in the order asked)."""
        return int(next_items(self.bank, self._walked(answers), self.items)[0])

    def estimate(self, answers: Mapping[int, bool]) -> Interval:
        """The full score, from the answers to the items that `next_item` named.

        The interval is calibrated for a number of answers fixed beforehand; stopping as soon as it looks narrow is not
        covered. Raises `ValueError` for no answers, or for more than `fit` was told of.
        """
        if not 0 < len(answers) <= len(self.stretch):
            raise ValueError(f"calibrated for 1 to {len(self.stretch)} answers, not {len(answers)}")
        value, low, high = (float(one[0]) for one in self.bounds(self._walked(answers)))
        return Interval(value=value, low=low, high=high, n=len(answers), confidence=self.confidence, method="conformal")

    def bounds(self, walk: Walk) -> tuple[Array, Array, Array]:
        """(value, low, high) of each model in a walk."""
        value, spread = posterior(self.bank, walk)
        step = walk.asked.shape[1] - 1
        half = self.stretch[step] * (spread + self.slack[step])
        return value, np.maximum(value - half, 0.0), np.minimum(value + half, 1.0)

    def _walked(self, answers: Mapping[int, bool]) -> Walk:
        walk = start(self.bank, np.zeros((1, len(self.bank.scores)), dtype=np.bool_))
        for item, right in answers.items():
            walk = told(self.bank, walk, np.array([item]), np.array([right]))
        return walk


def fit(
    answers: Table,
    scores: Array,
    count: int,
    *,
    families: Sequence[str] = (),
    items: Sequence[int] = (),
    confidence: float = 0.95,
    smoothing: Smoothing | None = None,
) -> Estimator:
    """Learn from `answers` (models x items, right 1 or wrong 0) and full `scores` (shares of the whole benchmark).

    The interval is calibrated (conformal, Vovk et al. 2005) for up to `count` answers on known models whose relatives
    are hidden: near-copies, and the same family in `families` (of each model). So it covers a model without relatives
    among the known, and is wide for one that has some. `items` asks a fixed list.
    Raises `DataError` for tables that do not fit each other, or too few models.
    """
    _check(answers, scores, count, families, items)
    bank = make_bank(answers, scores, smoothing or Smoothing())
    chosen = np.random.default_rng(0).permutation(len(scores))[:CALIBRATED_ON]
    hidden = relatives(answers, families)[chosen]
    chosen, hidden = chosen[~hidden.all(axis=1)], hidden[~hidden.all(axis=1)]
    place = math.ceil((len(chosen) + 1) * confidence) - 1  # the new model counts as one of the sample
    if place >= len(chosen):
        raise DataError("too few known models have others that are not their relatives", fix="name smaller families")
    walk, stretch, slack = start(bank, hidden), np.zeros(count), np.zeros(count)
    for step in range(count):
        walk = asked(bank, walk, answers[chosen], items)
        value, spread = posterior(bank, walk)
        slack[step] = max(math.sqrt(float((spread**2).mean())) / 4, 1e-9)
        stretch[step] = np.sort(np.abs(scores[chosen] - value) / (spread + slack[step]))[place]
    return Estimator(bank=bank, stretch=stretch, slack=slack, confidence=confidence, items=tuple(items))


def choose_items(answers: Table, scores: Array, count: int) -> tuple[int, ...]:
    """A fixed list, for where items cannot be asked one by one, by forward selection for least squares on the scores.
    Asking by the answers so far errs less: at 25 items by a quarter to a third."""
    _check(answers, scores, count, (), ())
    left = answers - answers.mean(axis=0)
    rest, before = scores - scores.mean(), (left**2).sum(axis=0)
    chosen: list[int] = []
    for _ in range(count):
        size = (left**2).sum(axis=0)
        usable = size > 1e-3 * before  # others repeat those chosen
        gain = np.where(usable, (rest @ left) ** 2 / np.where(usable, size, 1.0), -1.0)
        gain[chosen] = -2.0
        best = int(gain.argmax())
        chosen.append(best)
        direction = left[:, best] / math.sqrt(max(float(size[best]), 1e-12))
        left, rest = left - np.outer(direction, direction @ left), rest - direction * (direction @ rest)
    return tuple(chosen)


def make_bank(answers: Table, scores: Array, smoothing: Smoothing) -> Bank:
    """The tables, from answers (models x items) and scores (shares)."""
    right = answers.astype(np.float64)
    centred = right - right.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    factors = vectors[:, -smoothing.rank :]
    smooth = right.mean(axis=0) + centred @ factors @ factors.T
    likely = np.clip(smooth + smoothing.own * (right - smooth), smoothing.floor, 1 - smoothing.floor)
    score = (scores - scores.mean())[:, None]
    return Bank(
        scores=np.asarray(scores, dtype=np.float64),
        moments=np.hstack([likely, likely * score, score]).astype(np.float32),
        likelihood=(smoothing.temper * np.log([1 - likely.T, likely.T])).astype(np.float32),
    )


def relatives(answers: Table, families: Sequence[str] = ()) -> Mask:
    """Which known models are too close to stand in for an unknown one (n x n): near-copies, and one family."""
    sign = 2 * answers.astype(np.float32) - 1
    close = np.asarray(sign @ sign.T >= (2 * RELATED - 1) * answers.shape[1])
    if families:
        close |= np.equal.outer(np.array(families), np.array(families))
    return close


def start(bank: Bank, hidden: Mask) -> Walk:
    """Before any answer; `hidden` (T x n) are the known models that may not be looked at."""
    nothing = np.zeros((len(hidden), 0), dtype=np.int64)
    return Walk(asked=nothing, log_weights=np.where(hidden, -np.inf, 0.0).astype(np.float32))


def asked(bank: Bank, walk: Walk, answers: Table, items: Sequence[int] = ()) -> Walk:
    """One item on, for models whose `answers` (T x items) are all at hand."""
    chosen = next_items(bank, walk, items)
    return told(bank, walk, chosen, answers[np.arange(len(chosen)), chosen] == 1)


def next_items(bank: Bank, walk: Walk, items: Sequence[int] = ()) -> Places:
    """For each model the item to ask next: of the fixed list, or where the variance is expected to fall the most.

    Where a right answer has probability q, the fall is cov(score, right)^2 / (q (1 - q)): exact before tempering.
    Raises `ValueError` where none is left.
    """
    models, steps = walk.asked.shape
    if steps >= (len(items) or bank.items):
        raise ValueError("no item is left to ask")
    if items:
        return np.full(models, items[steps])
    means = _weights(walk) @ bank.moments
    right, product, score = means[:, : bank.items], means[:, bank.items : -1], means[:, -1:]
    fall = (product - right * score) ** 2 / (right * (1 - right))
    np.put_along_axis(fall, walk.asked, -1.0, axis=1)
    return np.asarray(fall.argmax(axis=1))


def told(bank: Bank, walk: Walk, items: Places, right: Mask) -> Walk:
    """After each model's answer to its item."""
    return Walk(
        asked=np.hstack([walk.asked, items[:, None]]),
        log_weights=walk.log_weights + bank.likelihood[right.astype(np.int64), items],
    )


def posterior(bank: Bank, walk: Walk) -> tuple[Array, Array]:
    """Mean and standard deviation of the known scores under the weights, for each model of the walk."""
    weights = _weights(walk).astype(np.float64)
    mean = weights @ bank.scores
    return mean, np.sqrt(np.maximum(weights @ bank.scores**2 - mean**2, 0.0))


def _weights(walk: Walk) -> Small:
    raw = np.exp(walk.log_weights - walk.log_weights.max(axis=1, keepdims=True))
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def _check(answers: Table, scores: Array, count: int, families: Sequence[str], items: Sequence[int]) -> None:
    if answers.ndim != 2 or not np.isin(answers, (0, 1)).all():
        raise DataError("answers are not a table of 0 and 1", fix="give a row for each model: right 1, wrong 0")
    if len(scores) != len(answers) or (families and len(families) != len(answers)):
        raise DataError("answers, scores and families are of different models", fix="give one of each for every model")
    if not np.isfinite(scores).all() or scores.min() < 0 or scores.max() > 1:
        raise DataError("a full score is not a share between 0 and 1", fix="divide scores in points by 100")
    if len(answers) < 100:
        raise DataError(f"{len(answers)} known models are too few", fix="use a benchmark with answers of 100 or more")
    if len(set(items)) < len(items) or not set(items) <= set(range(answers.shape[1])):
        raise DataError("the list names an item twice, or one there is none of", fix="name columns of the answers")
    if not 0 < count <= (len(items) or answers.shape[1]):
        raise DataError(f"{count} items cannot be asked", fix="ask at least 1, and no more than there are")
