"""Seed noise: how often the base to go with is within a point of the best, how often that is claimed, and wrongly.

    python -m benchmarks.choose.seeds      about seven minutes on one core; the same figures every time

6 bases x 35 tasks x 20 tunings (`shared/data/results/model_recycling`, beside the checkout). The best base of a task
has the highest mean over its 20 tunings, failed ones included. An order is a random order of each base's tunings.
Expected scores and seed noise are learned on the 34 other tasks. How much history weighs, when to look and where a
tuning counts as failed are constants of the product, settled on this table; the figures hardly move with them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.choose.repeats import Played, play
from basewright.records import record
from basewright.stats import noise

Array = NDArray[np.float64]
SOURCE = Path(__file__).parents[2] / "../shared/data/results/model_recycling/pretrained_20seed_runs.csv"
MARGIN = 0.01
CONFIDENCE = 0.95
SHARES = {6: "5 %", 10: "8 %", 12: "10 %", 18: "15 %", 24: "20 %", 30: "25 %", 40: "33 %"}
"""Tunings, as shares of all 120."""


@record
class Claims:
    """Shares of (task, order); `worst` of the orders of the task with most false claims."""

    decided: float
    winners: float
    false: float
    worst: float
    tunings: float
    """Mean number of tunings until the answer, claimed or not."""
    decided_by: tuple[float, float]
    """With 25 % and 50 % of the tunings."""

    def cells(self) -> list[str]:
        shares = [f"{share:.1%}" for share in (self.decided, self.winners, self.false, self.worst)]
        return [*shares, f"{self.tunings:.1f}", *(f"{share:.1%}" for share in self.decided_by)]


@record
class Row:
    """By number of tunings: the share of (task, order) whose pick is within the margin of the best, mean and worst."""

    method: str
    picks: dict[int, tuple[float, float]]
    claims: Claims | None = None

    def share(self, tunings: int) -> str:
        return f"{self.picks[tunings][0]:.1%} ({self.picks[tunings][1]:.0%})" if tunings in self.picks else ""


def main() -> None:
    rows = measure()
    together = fmean(_together(task) for task in load()[1])
    print(f"\nCorrelation of two bases' scores in tunings of the same number: {together:.2f} in the mean of tasks")
    print("\nPick within 1 point of the best, % of (task, order) and of the worst task, by share of the 120 tunings\n")
    _table(("method", *SHARES.values()), ((row.method, *map(row.share, SHARES)) for row in rows))
    print(f"\nClaims at {CONFIDENCE:.0%}: a winner, or within 1 point of the best\n")
    head = "method", "decided", "winners", "false", "of the worst task", "tunings", "decided by 25 %", "by 50 %"
    _table(head, ((row.method, *row.claims.cells()) for row in rows if row.claims))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def measure(orders: int = 1000) -> list[Row]:
    """Baselines, then `play`, each on the same orders."""
    bases, scores = load()
    shuffled = [_orders(task, orders, number) for number, task in enumerate(scores)]
    pairs = list(zip(scores, shuffled, strict=True))
    alone = [_within(task, np.array([_expected(scores, t).argmax()])) for t, task in enumerate(scores)]
    return [
        _row("one tuning each", {6: [_within(task, _firsts(x, 1)) for task, x in pairs]}),
        _row("three each", {18: [_within(task, _firsts(x, 3)) for task, x in pairs]}),
        _row("the first two race", {n: [_within(task, _race(x, n)) for task, x in pairs] for n in SHARES}),
        _row("history's first, untuned", dict.fromkeys(SHARES, alone)),
        *(_played(bases, scores, shuffled, repeats, history) for repeats in (20, 5) for history in (False, True)),
    ]


# --- the table ------------------------------------------------------------------------------------


def load() -> tuple[list[str], Array]:
    """Names of the bases; accuracy by task, base and number of the tuning."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["accuracy"]]
    bases, tasks = sorted({row["base_model"] for row in rows}), sorted({row["task"] for row in rows})
    scores = np.full((len(tasks), len(bases), 20), np.nan)
    for row in rows:
        scores[tasks.index(row["task"]), bases.index(row["base_model"]), int(row["stage"])] = float(row["accuracy"])
    if np.isnan(scores).any():
        raise ValueError("the table has holes")
    return bases, scores


def _orders(task: Array, orders: int, number: int) -> Array:
    """Orders x bases x tunings."""
    random = np.random.default_rng(number)
    return random.permuted(np.broadcast_to(task, (orders, *task.shape)), axis=2)


def _together(task: Array) -> float:
    pairs = np.asarray(np.corrcoef(task))[np.triu_indices(len(task), 1)]
    return float(pairs.mean())


# --- what is learned on other tasks ---------------------------------------------------------------


def _expected(scores: Array, task: int) -> Array:
    """Of each base: its mean over the other tasks, from the mean of all bases."""
    means = np.delete(scores, task, axis=0).mean(axis=2)
    offsets: Array = (means - means.mean(axis=1, keepdims=True)).mean(axis=0)
    return offsets


def _noise(scores: Array, task: int) -> noise.Prior:
    others = np.delete(scores, task, axis=0).reshape(-1, scores.shape[2]).tolist()
    return noise.Prior(sd=median(stdev(tunings) for tunings in others))


# --- baselines: the number of the picked base, of each order --------------------------------------


def _firsts(shuffled: Array, tunings: int) -> NDArray[Any]:
    picks: NDArray[Any] = shuffled[:, :, :tunings].mean(axis=2).argmax(axis=1)
    return picks


def _race(shuffled: Array, tunings: int) -> NDArray[Any]:
    """One tuning of each base, the others in equal parts to the first two."""
    orders = np.arange(len(shuffled))
    each = 1 + (tunings - shuffled.shape[1]) // 2
    two = np.argsort(-shuffled[:, :, 0], axis=1)[:, :2]
    means = shuffled[orders[:, None], two, :each].mean(axis=2)
    picks: NDArray[Any] = two[orders, means.argmax(axis=1)]
    return picks


def _within(task: Array, picks: NDArray[Any]) -> float:
    means = task.mean(axis=1)
    return float((means.max() - means[picks] <= MARGIN).mean())


def _row(method: str, by_task: dict[int, list[float]]) -> Row:
    return Row(method=method, picks={n: (fmean(shares), min(shares)) for n, shares in by_task.items()})


# --- the product's own ----------------------------------------------------------------------------


def _played(bases: list[str], scores: Array, shuffled: Sequence[Array], repeats: int, history: bool) -> Row:
    results = []
    for t, orders in enumerate(shuffled):
        sd, expected = _noise(scores, t), _expected(scores, t) if history else None
        results.append([_play(bases, order.tolist(), repeats, sd, expected) for order in orders])
    means = [dict(zip(bases, task.mean(axis=1).tolist(), strict=True)) for task in scores]
    by_task = {
        n: [fmean(_good(_pick(one, n), truth) for one in task) for task, truth in zip(results, means, strict=True)]
        for n in SHARES
    }
    name = f"play, {'with' if history else 'without'} history, up to {repeats} seeds"
    return Row(method=name, picks=_row(name, by_task).picks, claims=_claims(results, means))


def _play(
    bases: list[str], tunings: list[list[float]], repeats: int, sd: noise.Prior, expected: Array | None
) -> Played:
    return play(
        bases,
        lambda base, seed: tunings[bases.index(base)][seed],
        margin=MARGIN,
        confidence=CONFIDENCE,
        budget=repeats * len(bases),
        repeats=repeats,
        sd=sd,
        prior=None if expected is None else dict(zip(bases, expected.tolist(), strict=True)),
    )


def _pick(played: Played, tunings: int) -> str:
    return played.pick if tunings >= len(played.tunings) else played.tunings[tunings - 1].pick


def _good(base: str, truth: dict[str, float]) -> bool:
    return max(truth.values()) - truth[base] <= MARGIN


def _claims(results: list[list[Played]], means: list[dict[str, float]]) -> Claims:
    every = [one for task in results for one in task]
    false = [fmean(_false(one, truth) for one in task) for task, truth in zip(results, means, strict=True)]
    decided = [one for one in every if one.outcome != "not separated"]
    return Claims(
        decided=len(decided) / len(every),
        winners=fmean(one.outcome == "winner" for one in every),
        false=fmean(false),
        worst=max(false),
        tunings=fmean(len(one.tunings) for one in every),
        decided_by=(_by(30, decided) / len(every), _by(60, decided) / len(every)),
    )


def _false(played: Played, truth: dict[str, float]) -> bool:
    """A winner that is not the best, or any of those tied more than the margin below the best."""
    if played.outcome == "winner":
        return truth[played.pick] < max(truth.values())
    return not all(_good(base, truth) for base in played.tied)


def _by(tunings: int, decided: list[Played]) -> int:
    return sum(len(one.tunings) <= tunings for one in decided)


if __name__ == "__main__":
    main()
