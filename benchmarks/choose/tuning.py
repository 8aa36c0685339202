"""Which base model to fine-tune, from pilots on a fraction of the examples: ways to choose, side by side.

    python -m benchmarks.choose.tuning      about a minute on one core; the same figures every time

The losses are of 30 models, each fine-tuned on 200 ... 1,638,400 examples of 3 data sets (Lin et al. 2024, arXiv
2402.02314), read from `shared/data/results/rectified_ft` beside the checkout. A budget of 1/8 lets a model be tuned on
an eighth of the full size at most; a taller ladder costs the same, and goes further up with fewer models. PearCorr
(x 100): forecasts against true losses at full size; RelAcc (%): (worst - chosen) / (worst - best) of them; regret:
chosen - best, in nats. Cost counts every example of every pilot, as a share of tuning all models at full size. What is
called ours is what choosing uses. History is the mean rank of a model on the two other data sets, never on the one
that is scored.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.choose import ladder
from basewright.errors import DataError
from basewright.records import record
from basewright.stats import curves

Array = NDArray[np.float64]
SOURCE = Path(__file__).parents[2] / "../shared/data/results/rectified_ft"
DATASETS = ("flan", "wmt19", "gigaword")
SIZES = tuple(200 << doubling for doubling in range(14))
FULL = SIZES[-1]
MODELS = 30
BUDGETS = (8, 16, 32, 64, 128, 256, 512)
CONFIDENCE = 0.95
Z = 1.96
"""Standard errors that an interval at `CONFIDENCE` reaches."""


@record
class Table:
    """The losses of one data set, in nats a token."""

    models: tuple[str, ...]
    zero_shot: Array
    losses: Array
    """[models, sizes]."""

    @property
    def true(self) -> Array:
        return self.losses[:, -1]


@record
class Answer:
    """What a way to choose says, and the training examples it took."""

    forecasts: Array
    chosen: int
    examples: int


@record
class Row:
    """One way, on one data set, within one budget."""

    way: str
    dataset: str
    budget: int
    pearson: float
    relative: float
    regret: float
    cost: float


@record
class Coverage:
    """Forecasts from some rungs, so many doublings ahead: the share whose interval holds the truth, and the errors."""

    dataset: str
    doublings: str
    forecasts: int
    covered: float
    error: float
    """Root mean square, in logarithms."""
    drift: float
    """The drift that would cover `CONFIDENCE` of them by itself."""
    elsewhere: float
    """The share covered by the drift that the two other data sets call for."""


def main() -> None:
    rows = measure()
    ways = list(dict.fromkeys(row.way for row in rows))
    _table(
        "Mean over data sets and budgets, and the worst data set",
        ("way", "cost", "PearCorr", "RelAcc", "regret", "worst PearCorr", "worst RelAcc", "worst regret"),
        ([way, *_summary([row for row in rows if row.way == way])] for way in ways),
    )
    _table(
        "Regret by budget, mean over data sets",
        ("way", *(f"1/{budget}" for budget in BUDGETS)),
        ([way, *(_regret(rows, way, budget) for budget in BUDGETS)] for way in ways),
    )
    _table(
        f"Intervals of forecasts at {CONFIDENCE:.0%}, from 2 to 13 rungs",
        ("data set", "doublings", "forecasts", "covered", "error (log)", "drift needed", "covered by others' drift"),
        (_covered(each) for each in coverage()),
    )


def _covered(c: Coverage) -> list[str]:
    shares = (f"{c.covered:.1%}", f"{c.error:.3f}", f"{c.drift:.3f}", f"{c.elsewhere:.1%}")
    return [c.dataset, c.doublings, str(c.forecasts), *shares]


def measure() -> list[Row]:
    """Every way on every data set and budget. Raises `DataError` where the tables are not beside the checkout."""
    return [
        _row(way, dataset, budget, answer(dataset, budget))
        for way, answer in WAYS.items()
        for dataset in DATASETS
        for budget in BUDGETS
    ]


def coverage() -> list[Coverage]:
    """Do forecasts hold the truth as often as they say? For each data set, near and far."""
    spans = (("1 or 2", range(1, 3)), ("3 to 5", range(3, 6)), ("6 or more", range(6, 13)))
    return [_coverage(dataset, name, span) for dataset in DATASETS for name, span in spans]


# --- ways to choose -------------------------------------------------------------------------------


@cache
def _read(dataset: str) -> Table:
    path = SOURCE / f"{dataset}.csv"
    if not path.is_file():
        raise DataError(
            "the table of tuned models is not here: shared/data/results/rectified_ft is missing",
            fix="put it into ../shared/data/results/rectified_ft, seen from the root of the checkout",
        )
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return Table(
        models=tuple(row["model"] for row in rows),
        zero_shot=np.array([float(row["0"]) for row in rows]),
        losses=np.array([[float(row[str(size)]) for size in SIZES] for row in rows]),
    )


WAYS: Mapping[str, Callable[[str, int], Answer]] = {
    "zero-shot loss": lambda dataset, _: _best(_read(dataset).zero_shot, 0),
    "sub-tuning": lambda dataset, budget: _best(_read(dataset).losses[:, _rungs(budget) - 1], MODELS * FULL // budget),
    "AtS": lambda dataset, budget: _all(dataset, _rungs(budget), curves.accept_then_stop),
    "AtS, half the examples": lambda dataset, budget: _all(dataset, _rungs(budget) - 1, curves.accept_then_stop),
    "lines, half the examples": lambda dataset, budget: _all(dataset, _rungs(budget) - 1, curves.line),
    "ours": lambda dataset, budget: _climb(dataset, budget, SIZES[: _rungs(budget)], None),
    "ours, taller ladder": lambda dataset, budget: _climb(dataset, budget, _tall(budget), None),
    "history alone": lambda dataset, _: _best(-np.array(list(_history(dataset).values())), 0),
    "ours, with history": lambda data, budget: _climb(data, budget, SIZES[: _rungs(budget)], _history(data)),
    "ours, taller ladder, with history": lambda data, budget: _climb(data, budget, _tall(budget), _history(data)),
}


def _all(dataset: str, rungs: int, law: Callable[[Sequence[int], Sequence[float]], curves.Curve]) -> Answer:
    """Every model on the whole ladder, each curve drawn out to the full size."""
    table = _read(dataset)
    forecasts = [law(SIZES[:rungs], losses[:rungs].tolist()).at(FULL) for losses in table.losses]
    return _best(np.array(forecasts), len(table.models) * sum(SIZES[:rungs]))


def _climb(dataset: str, budget: int, rungs: Sequence[int], prior: Mapping[str, float] | None) -> Answer:
    """The product's ladder; the table has no items, so a loss is one item's."""
    table = _read(dataset)

    def pilot(model: str, examples: int) -> ladder.Measured:
        loss = table.losses[table.models.index(model), SIZES.index(examples)]
        return ladder.Measured(right=np.array([False]), bits=np.array([loss / math.log(2)]))

    climbed = ladder.climb(
        table.models,
        rungs,
        pilot,
        target=FULL,
        margin=0.01,
        confidence=CONFIDENCE,
        budget=_half(budget),
        prior=prior,
    )
    forecasts = {name: each.forecast.bits.value for name, each in climbed.ascents.items() if each.forecast}
    first = ladder.standing({name: forecasts[name] for name in climbed.survivors}, prior or {})[0]
    values = np.array([forecasts[name] for name in table.models])
    return Answer(forecasts=values, chosen=table.models.index(first), examples=climbed.examples)


def _best(forecasts: Array, examples: int) -> Answer:
    return Answer(forecasts=forecasts, chosen=int(forecasts.argmin()), examples=examples)


def _history(dataset: str) -> dict[str, float]:
    """What the other data sets lead to expect, higher is better."""
    tables = [_read(other) for other in DATASETS if other != dataset]
    ranks = np.mean([(-table.true).argsort().argsort() for table in tables], axis=0)
    return dict(zip(_read(dataset).models, ranks.tolist(), strict=True))


# --- figures --------------------------------------------------------------------------------------


def _row(way: str, dataset: str, budget: int, answer: Answer) -> Row:
    true = _read(dataset).true
    regret = float(true[answer.chosen] - true.min())
    return Row(
        way=way,
        dataset=dataset,
        budget=budget,
        pearson=100 * float(np.corrcoef(answer.forecasts, true)[0, 1]),
        relative=100 * (1 - regret / float(true.max() - true.min())),
        regret=regret,
        cost=answer.examples / (len(true) * FULL),
    )


def _coverage(dataset: str, name: str, span: Iterable[int]) -> Coverage:
    held, errors, drifts = _forecasts(dataset, tuple(span))
    elsewhere = max(_drift(_forecasts(other, tuple(span))[2]) for other in DATASETS if other != dataset)
    return Coverage(
        dataset=dataset,
        doublings=name,
        forecasts=len(errors),
        covered=float(held.mean()),
        error=float(np.sqrt((errors**2).mean())),
        drift=_drift(drifts),
        elsewhere=float((drifts <= elsewhere * Z).mean()),
    )


def _drift(drifts: Array) -> float:
    return float(np.quantile(drifts, CONFIDENCE)) / Z


@cache
def _forecasts(dataset: str, span: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """(whether the interval held the truth, error in logarithms, its size for each doubling), of each forecast."""
    found = []
    for losses in _read(dataset).losses:
        for rungs in range(2, len(SIZES)):
            for ahead in (ahead for ahead in span if rungs + ahead <= len(SIZES)):
                place = rungs + ahead - 1
                seen = curves.forecast(SIZES[:rungs], losses[:rungs, None], SIZES[place], CONFIDENCE, 0)
                error = math.log(seen[0] / losses[place])
                found.append((float(seen[1] <= losses[place] <= seen[2]), error, abs(error) / ahead))
    held, errors, drifts = np.array(found).T
    return held, errors, drifts


def _summary(rows: Sequence[Row]) -> list[str]:
    def by_dataset(name: str) -> list[float]:
        return [float(np.mean([getattr(row, name) for row in rows if row.dataset == each])) for each in DATASETS]

    pearson, relative, regret = by_dataset("pearson"), by_dataset("relative"), by_dataset("regret")
    cost = f"{100 * np.mean([row.cost for row in rows]):.2f} %"
    means = [f"{np.mean(pearson):.1f}", f"{np.mean(relative):.1f}", f"{np.mean(regret):.3f}"]
    return [cost, *means, f"{min(pearson):.1f}", f"{min(relative):.1f}", f"{max(regret):.3f}"]


def _half(budget: int) -> int:
    """Half the examples that AtS takes."""
    return MODELS * sum(SIZES[: _rungs(budget)]) // 2


def _tall(budget: int) -> tuple[int, ...]:
    """As many rungs as `_half` carries two models up: the same cost, on more of the data than AtS may see."""
    return tuple(size for place, size in enumerate(SIZES) if 2 * sum(SIZES[: place + 1]) <= _half(budget))


def _regret(rows: Sequence[Row], way: str, budget: int) -> str:
    return f"{np.mean([row.regret for row in rows if (row.way, row.budget) == (way, budget)]):.3f}"


def _rungs(budget: int) -> int:
    """How many rungs there are up to the budget's share of the full size."""
    return SIZES.index(FULL // budget) + 1


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
