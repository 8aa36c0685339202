"""What past scores say of a new task before anything is tuned: an order to work in, never evidence.

A Gaussian process over models. A past task's scores are its level plus its spread times standardised scores; of
these about half the variance is a model's general standing, the other half is how it takes to that very task, where
models with alike past profiles are alike. Scores that are already known on the new task shift its level and the
models like those tried. (Rasmussen and Williams 2006, equations 2.23-2.24; expected improvement is of Jones,
Schonlau and Welch 1998, equation 15.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from basewright.errors import StoreError, UsageError
from basewright.records import Choice, ModelFacts, Standing
from basewright.store import Store

Table = Mapping[str, Mapping[str, float]]
"""Past scores as shares of items, by task and by model; a model that was not tuned for a task is missing there."""
Array = NDArray[np.float64]
PERCENT = ("accuracy", "normalised accuracy", "exact match", "f1", "pass@1")

GENERAL = 0.5
"""Share of a standardised score's variance that is the same on every task."""
LENGTH = GENERAL**0.5
"""Past profiles nearer than this are alike: root mean square difference in standardised scores, task by task."""
OWN = 0.1
"""Share of the task's own half that no relative tells: a model's luck with the seed, mostly."""
LEVEL, LEVEL_SD, SPREAD = 0.5, 0.25, 0.05
"""Where nothing is known: what a task's scores lie around, how surely, and how far they lie apart."""
EQUAL = 1e-6
"""Share of items: a task whose scores spread by less tells no model from another."""
BORROWED = 4
"""Scores of typical spread each past task's own spread is averaged with: of two models it says little."""


def prior(
    table: Table, candidates: Sequence[str], task_scores: Mapping[str, float], length: float = LENGTH
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each candidate's score on the new task, as shares of items.

    `task_scores` are those known on it, of any model; they are taken as they are, and come back with deviation 0.
    `length` is how far apart, in standardised scores, profiles may be and still count as alike.
    """
    known = list(task_scores)
    models = list(dict.fromkeys([*known, *candidates]))
    profiles, level, spread = _standardised(table, models)
    general, unsure = _general(profiles)
    mean, variance = level + spread * general, LEVEL_SD**2 + spread**2 * (unsure + 1 - GENERAL)
    if known:
        own = np.eye(len(known), len(models)) * (spread**2 * (unsure + OWN * (1 - GENERAL)))
        alike = (1 - OWN) * (1 - GENERAL) * _alike(profiles, general, len(known), length)
        across = LEVEL_SD**2 + spread**2 * alike + own
        weights = np.linalg.solve(across[:, : len(known)], across)
        mean = mean + ([task_scores[name] for name in known] - mean[: len(known)]) @ weights
        variance = np.maximum(variance - (across * weights).sum(axis=0), 0.0)
        variance[: len(known)] = 0.0
    found = {name: (float(mean[i]), float(variance[i] ** 0.5)) for i, name in enumerate(models)}
    return {name: found[name] for name in candidates}


def next_candidate(
    table: Table, candidates: Sequence[str], task_scores: Mapping[str, float], length: float = LENGTH
) -> str:
    """The candidate to tune next: of those without a score, the one that promises most above the best score so far.

    Of equals the first. Raises `UsageError` when every candidate has a score.
    """
    from scipy.special import ndtr

    open_ = [name for name in candidates if name not in task_scores]
    if not open_:
        raise UsageError("every candidate has been tuned", fix="choose among the scores there are")
    beliefs = prior(table, open_, task_scores, length)
    mean, deviation = np.array([beliefs[name] for name in open_]).T
    if not task_scores:
        return open_[int(mean.argmax())]
    deviation = np.maximum(deviation, 1e-12)
    gain = (mean - max(task_scores.values())) / deviation
    density = np.exp(-(gain**2) / 2) / np.sqrt(2 * np.pi)
    return open_[int((deviation * (gain * ndtr(gain) + density)).argmax())]


def past_runs(store: Store) -> Table:
    """Scores of the base models in every choice of this store, by task and by how it was measured; the newest of each.

    What is damaged, or was written by a version with other fields, is left out: an order can do without.
    """
    table: dict[str, dict[str, float]] = {}
    for stamp in store.all():
        if stamp.kind != "choice":
            continue
        try:
            made = store.find(stamp.kind, stamp.id.removeprefix(f"{stamp.kind}-"), Choice)
        except StoreError:
            continue
        if made is not None:
            asked = made.record.question
            name = f"{asked.task}, {asked.decides}, {max(asked.rungs, default=0)} examples"
            row = table.setdefault(name, {})
            for model, score in _scores(made.record).items():
                row.setdefault(model, score)
    return table


def published(facts: Iterable[ModelFacts]) -> Table:
    """Scores as their makers printed them, by task, metric and shots, as shares: only of metrics in percent, where more
    is better."""
    table: dict[str, dict[str, float]] = {}
    for one in facts:
        for score in (score for score in one.scores if score.metric in PERCENT):
            shots = "shots not said" if score.shots is None else f"{score.shots} shots"
            table.setdefault(f"{score.task}, {score.metric}, {shots}, published", {})[one.id] = score.value / 100
    return table


# --- what the table says --------------------------------------------------------------------------


def _standardised(table: Table, models: Sequence[str]) -> tuple[Array, float, float]:
    """Past scores (models x tasks), each task's less their mean and over their spread, NaN where there is none; and
    the level and the spread, as shares of items, of a typical task."""
    rows = [row for row in table.values() if row]
    everyone = dict.fromkeys([*models, *(name for row in rows for name in row)])
    scores = np.array([[row.get(name, np.nan) for row in rows] for name in everyone]).reshape(len(everyone), len(rows))
    if not rows:
        return scores, LEVEL, SPREAD
    count, levels = np.isfinite(scores).sum(axis=0), np.nanmean(scores, axis=0)
    squares = np.nansum((scores - levels) ** 2, axis=0)
    spreads = np.sqrt(squares[count > 1] / (count[count > 1] - 1))
    apart = spreads[spreads > EQUAL]
    spread = float(np.median(apart)) if apart.size else SPREAD
    pooled = np.sqrt((squares + BORROWED * spread**2) / (count + BORROWED))
    return ((scores - levels) / pooled)[: len(models)], float(levels.mean()), spread


def _general(profiles: Array) -> tuple[Array, Array]:
    """General standing and the variance left in it: the mean past score, drawn to 0 as far as tasks are few."""
    tasks = np.isfinite(profiles).sum(axis=1)
    few = (1 - GENERAL) / GENERAL
    return np.nansum(profiles, axis=1) / (tasks + few), GENERAL * few / (tasks + few)


def _alike(profiles: Array, general: Array, first: int, length: float) -> Array:
    """How alike the first models are to all (first x all), 0 to 1; the less, the fewer their past tasks.

    A gap counts as the model's general standing: leaving it out pair by pair would not give a covariance.
    """
    tasks = np.isfinite(profiles).sum(axis=1)
    filled = np.where(np.isfinite(profiles), profiles, general[:, None])
    squares = (filled**2).sum(axis=1)
    apart = np.maximum(squares[:first, None] + squares - 2 * filled[:first] @ filled.T, 0.0)
    sure = tasks / (tasks + 1)
    alike: Array = sure[:first, None] * sure * np.exp(-apart / (2 * length**2 * max(profiles.shape[1], 1)))
    np.fill_diagonal(alike, 1.0)
    return alike


def _scores(choice: Choice) -> dict[str, float]:
    """Each base model's score after the last rung.

    One that was dropped on the way is credited with what the others gained from there on, on average: a score
    after 200 examples and one after 800 do not compare.
    """
    standings = [s for s in choice.ranked if s.kind == "base model" and (s.score or s.rungs)]
    last = max((s.rungs[-1].examples for s in standings if s.rungs), default=0)
    ends = [s for s in standings if not s.rungs or s.rungs[-1].examples == last]
    return {s.model: _end(s) + (0.0 if s in ends else _gain(ends, s.rungs[-1].examples)) for s in standings}


def _end(standing: Standing) -> float:
    return standing.score.value if standing.score else standing.rungs[-1].accuracy.value


def _gain(ends: Iterable[Standing], examples: int) -> float:
    """Mean score at the end minus mean score at that rung, of those that have both."""
    gains = [_end(s) - r.accuracy.value for s in ends for r in s.rungs if r.examples == examples]
    return float(np.mean(gains)) if gains else 0.0
