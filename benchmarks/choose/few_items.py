"""A full score from few items of a known benchmark: mean absolute error in points, and what the interval covers.

    python -m benchmarks.choose.few_items      about four minutes on one core; the same figures every time

5 benchmarks x 3,847 to 5,476 models (`shared/data/results/metabench_items`, beside the checkout). A fifth of the models
is held out, and 500 of it asked. Known are the others: all of them (a random split, which flatters: merges and copies
of most models are among the known), all but those of the same author and near-copies, or all but those and whatever
names the same base family. The smoothing of the known answers is frozen on the four other benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from basewright.records import record
from basewright.stats import few_items
from basewright.stats.few_items import Mask, Places, Smoothing

Array = NDArray[np.float64]
Split = Literal["random", "no relatives", "no family"]
Baseline = Callable[["Held", int], Array]
SOURCE = Path(__file__).parents[2] / "../shared/data/results/metabench_items/items.npz"
BENCHMARKS = "arc", "gsm8k", "mmlu", "truthfulqa", "winogrande"
COUNTS = 10, 25, 50, 100
SEED = 2026
"""Of the split: the method was made on splits of other seeds."""
DRAWS = 5
"""Random lists of items that a baseline on random items is averaged over."""
GRID = tuple(
    Smoothing(rank=rank, own=own, floor=floor, temper=temper)
    for rank, own, floor, temper in product((10, 20, 30), (0.3, 0.5, 0.7), (0.05, 0.1), (0.7, 1.0))
)
BASES = (
    *("tinyllama", "codellama", "llama-3", "llama3", "llama", "vicuna", "alpaca", "mixtral", "mistral", "zephyr"),
    *("hermes", "solar", "yi-", "qwen", "gemma", "phi", "falcon", "pythia", "opt-", "gpt", "bloom", "deepseek", "mpt"),
    *("stablelm", "rwkv", "internlm", "baichuan", "orca", "openchat", "starling", "wizard", "neural"),
)
"""What names say of the base; a name that says nothing stands with its author."""


@record
class Row:
    """By number of items: mean absolute error in points, in the mean and on the worst benchmark."""

    method: str
    split: Split
    errors: dict[int, tuple[float, float]]
    covered: dict[int, tuple[float, float]]
    """Share of intervals that hold the score, mean and worst benchmark; empty where a method gives none."""
    width: dict[int, float]
    """Half the width of an interval, in points, in the median over models."""
    by_benchmark: dict[str, float]
    """Error at 25 items."""


@record
class Held:
    """One benchmark under one split; `hidden` (asked models x known models) may not be looked at."""

    answers: NDArray[np.uint8]
    scores: Array
    families: tuple[str, ...]
    asked: NDArray[np.uint8]
    truth: Array
    hidden: Mask


@record
class Result:
    """One method on one benchmark: by number of items, errors of all models; covered or not; half widths."""

    errors: dict[int, Array]
    covered: dict[int, Mask]
    half: dict[int, Array]


def main() -> None:
    rows = measure()
    print("\nError in points, mean of the five benchmarks (worst)\n")
    print(f"| known models | method | {' | '.join(f'{n} items' for n in COUNTS)} |\n|{'---|' * (len(COUNTS) + 2)}")
    for row in rows:
        print(f"| {row.split} | {row.method} | {_cells(row.errors, '{:.2f} ({:.2f})')} |")
    print("\n95 % interval: coverage in the mean (worst benchmark), and half the median width in points\n")
    print(f"| known models | method | {' | '.join(f'{n} items' for n in COUNTS)} |\n|{'---|' * (len(COUNTS) + 2)}")
    for row in (row for row in rows if row.covered):
        both = {n: (*row.covered[n], row.width[n]) for n in COUNTS}
        print(f"| {row.split} | {row.method} | {_cells(both, '{:.1%} ({:.1%}) ± {:.1f}')} |")
    print("\nError at 25 items by benchmark\n")
    print(f"| known models | method | {' | '.join(BENCHMARKS)} |\n|{'---|' * (len(BENCHMARKS) + 2)}")
    for row in rows:
        print(f"| {row.split} | {row.method} | {' | '.join(f'{row.by_benchmark[b]:.2f}' for b in BENCHMARKS)} |")


def _cells(values: Mapping[int, tuple[float, ...]], form: str) -> str:
    return " | ".join(form.format(*values[n]) for n in COUNTS)


def measure(models: int = 500) -> list[Row]:
    """Every method under every split, on so many held-out models of each benchmark."""
    frozen = freeze()
    rows = []
    for split in get_args(Split):
        helds = {name: hold_out(name, split, models) for name in BENCHMARKS}
        baselines: dict[str, Baseline] = {"ridge, greedy items": ridge}
        if split == "random":
            baselines = {"mean of random items": mean_of_random, "IRT, random items": irt} | baselines
        for method, baseline in baselines.items():
            rows.append(_row(method, split, {name: _plain(baseline, held) for name, held in helds.items()}))
        fixed = {name: _ours(held, frozen[name], fixed=True) for name, held in helds.items()}
        rows.append(_row("ours, fixed list", split, fixed))
        ours = {name: _ours(held, frozen[name], fixed=False) for name, held in helds.items()}
        rows.append(_row("ours", split, ours))
    return rows


def _row(method: str, split: Split, results: dict[str, Result]) -> Row:
    def by_count(pick: Callable[[Result, int], float], worst: Callable[[list[float]], float]) -> dict[int, Array]:
        table = {n: [pick(result, n) for result in results.values()] for n in COUNTS}
        return {n: np.array([np.mean(values), worst(values)]) for n, values in table.items()}

    errors = by_count(lambda result, n: 100 * float(result.errors[n].mean()), max)
    with_interval = all(result.covered for result in results.values())
    covered = by_count(lambda result, n: float(result.covered[n].mean()), min) if with_interval else {}
    width = by_count(lambda result, n: 100 * float(np.median(result.half[n])), max) if with_interval else {}
    return Row(
        method=method,
        split=split,
        errors={n: (float(a), float(b)) for n, (a, b) in errors.items()},
        covered={n: (float(a), float(b)) for n, (a, b) in covered.items()},
        width={n: float(a) for n, (a, _) in width.items()},
        by_benchmark={name: 100 * float(result.errors[25].mean()) for name, result in results.items()},
    )


# --- data -----------------------------------------------------------------------------------------


@cache
def load(name: str) -> tuple[NDArray[np.uint8], Array, tuple[str, ...]]:
    with np.load(SOURCE) as data:
        scores = np.clip(data[f"{name}__fullscore"].astype(np.float64) / 100, 0, 1)
        return data[f"{name}__y"], scores, tuple(data[f"{name}__models"].tolist())


def hold_out(name: str, split: Split, models: int) -> Held:
    answers, scores, names = load(name)
    order = np.random.default_rng(SEED).permutation(len(scores))
    asked, known = order[: len(order) // 5][:models], order[len(order) // 5 :]
    authors = tuple(model.split("/")[0].lower() for model in names)
    bases = tuple(_base(model) for model in names)
    hidden = np.zeros((len(asked), len(known)), dtype=np.bool_)
    if split != "random":
        hidden |= few_items.relatives(answers, authors)[np.ix_(asked, known)]
    if split == "no family":
        hidden |= few_items.relatives(answers, bases)[np.ix_(asked, known)]
    families = {"random": (), "no relatives": authors, "no family": bases}[split]
    return Held(
        answers=answers[known],
        scores=scores[known],
        families=tuple(families[i] for i in known) if families else (),
        asked=answers[asked],
        truth=scores[asked],
        hidden=hidden,
    )


def _base(model: str) -> str:
    author, _, title = model.lower().partition("/")
    return next((base for base in BASES if base in title), author)


# --- ours -----------------------------------------------------------------------------------------


def freeze() -> dict[str, Smoothing]:
    """For each benchmark, what does best on models without relatives at 25 items of the four others."""
    table = {name: [_inner(name, smoothing) for smoothing in GRID] for name in BENCHMARKS}
    totals = {name: np.sum([table[other] for other in BENCHMARKS if other != name], axis=0) for name in BENCHMARKS}
    return {name: GRID[int(np.argmin(total))] for name, total in totals.items()}


def _inner(name: str, smoothing: Smoothing) -> float:
    """Mean error over 400 of the known models, none of those that are asked in the end."""
    known = hold_out(name, "no relatives", 0)
    bank = few_items.make_bank(known.answers, known.scores, smoothing)
    chosen = np.random.default_rng(2).permutation(len(known.scores))[:400]
    hidden = few_items.relatives(known.answers, known.families)[chosen]
    walk = few_items.start(bank, hidden)
    for _ in range(25):
        walk = few_items.asked(bank, walk, known.answers[chosen])
    return float(np.abs(few_items.posterior(bank, walk)[0] - known.scores[chosen]).mean())


def _ours(held: Held, smoothing: Smoothing, fixed: bool) -> Result:
    most = max(COUNTS)
    items = few_items.choose_items(held.answers, held.scores, most) if fixed else ()
    estimator = few_items.fit(held.answers, held.scores, most, families=held.families, items=items, smoothing=smoothing)
    walk = few_items.start(estimator.bank, held.hidden)
    result = Result(errors={}, covered={}, half={})
    for count in range(1, most + 1):
        walk = few_items.asked(estimator.bank, walk, held.asked, items)
        if count in COUNTS:
            value, low, high = estimator.bounds(walk)
            result.errors[count] = np.abs(value - held.truth)
            result.covered[count] = (low <= held.truth) & (held.truth <= high)
            result.half[count] = (high - low) / 2
    return result


# --- baselines ------------------------------------------------------------------------------------


def _plain(baseline: Baseline, held: Held) -> Result:
    return Result(errors={n: np.abs(baseline(held, n) - held.truth) for n in COUNTS}, covered={}, half={})


def ridge(held: Held, count: int) -> Array:
    """Ridge regression of the score on greedily chosen items; hidden models are left out of the fit, not the choice."""
    items = list(few_items.choose_items(held.answers, held.scores, count))
    known = np.c_[np.ones(len(held.scores)), held.answers[:, items]]
    asked = np.c_[np.ones(len(held.truth)), held.asked[:, items]]
    square, product_ = known.T @ known + 3 * np.eye(count + 1), known.T @ held.scores
    values = np.empty(len(asked))
    for i, one in enumerate(asked):
        out = known[held.hidden[i]]
        values[i] = one @ np.linalg.solve(square - out.T @ out, product_ - out.T @ held.scores[held.hidden[i]])
    return values


def _drawn(held: Held, count: int) -> Sequence[Places]:
    random = np.random.default_rng(3)
    return [random.permutation(held.answers.shape[1])[:count] for _ in range(DRAWS)]


def _average_error(held: Held, values: Sequence[Array]) -> Array:
    """An estimate as far from the truth as several are in the mean."""
    return np.asarray(held.truth + np.mean([np.abs(value - held.truth) for value in values], axis=0))


def mean_of_random(held: Held, count: int) -> Array:
    """The share right of random items, mapped to scores by a cubic learned on the known models."""
    values = []
    for items in _drawn(held, count):
        curve = np.polynomial.Polynomial.fit(held.answers[:, items].mean(axis=1), held.scores, 3)
        values.append(np.asarray(curve(held.asked[:, items].mean(axis=1))))
    return _average_error(held, values)


def irt(held: Held, count: int) -> Array:
    """Two-parameter logistic items on random items: expected ability on a grid, mapped to scores by a cubic.

    Abilities of the known models are the normal scores of their ranks; items are fitted to them.
    """
    ranks = np.argsort(np.argsort(held.answers.mean(axis=1), kind="stable"), kind="stable")
    ability = _normal((ranks + 0.5) / len(ranks))
    item = _logistic(ability, held.answers.astype(np.float64))
    grid = np.linspace(-3.5, 3.5, 141)
    likely = np.clip(1 / (1 + np.exp(-(item[:, :1] + item[:, 1:] * grid))), 0.001, 0.999)
    values = []
    for items in _drawn(held, count):
        curve = np.polynomial.Polynomial.fit(_expected(held.answers[:, items], likely[items], grid), held.scores, 3)
        values.append(np.asarray(curve(_expected(held.asked[:, items], likely[items], grid))))
    return _average_error(held, values)


def _normal(share: Array) -> Array:
    from scipy import stats

    return np.asarray(stats.norm.ppf(share), dtype=np.float64)


def _logistic(ability: Array, right: Array) -> Array:
    """Intercept and slope of every item (items x 2), by steps of the bound on the curvature, which never overshoot."""
    design = np.c_[np.ones(len(ability)), ability]
    item = np.zeros((right.shape[1], 2))
    step = np.linalg.inv(design.T @ design / 4 + 0.1 * np.eye(2))
    for _ in range(100):
        likely = 1 / (1 + np.exp(-(design @ item.T)))
        item += ((right - likely).T @ design - 0.1 * item) @ step
    return item


def _expected(answers: NDArray[np.uint8], likely: Array, grid: Array) -> Array:
    logs = answers @ np.log(likely) + (1 - answers.astype(np.float64)) @ np.log(1 - likely) - grid**2 / 2
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights @ grid / weights.sum(axis=1))


if __name__ == "__main__":
    main()
