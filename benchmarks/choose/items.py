"""The race on items: what it costs to name a model within a point of the best at a stated 95 %, and how often wrongly.

    python -m benchmarks.choose.items      about fourteen minutes on one core; the same figures every time

Tables of real answers in `shared/data/results`, beside the checkout. MMLU-Pro: its 26 complete models, and its 14 base
models (as their names say), each of its 14 subjects a pool, and all 12,032 items as one. Metabench: five benchmarks of
102 to 486 items; an order draws 20 of its thousands of models. Costs are shares of asking every model every item. An
order is wrong where the model it names is more than the margin below the best of the pool.

The race's constants (what its estimates start from, its split of the start, when ties are bet on) are the same for
all tasks. They were chosen after trying some twenty settings on a few orders of both tables: not frozen on others. The
setting that Metabench alone prefers costs 0.2 and 0.6 points more on the 26 and the 14 models. The prior of a subject
is the mean over the 13 others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from basewright.choose import race
from basewright.choose.board import Until
from basewright.records import record
from basewright.stats import betting

Array = NDArray[np.float64]
Method = Callable[[Array, int], tuple[float, int]]
"""Values [models, items] and a seed to the share of answers asked and the model named."""
SOURCE = Path(__file__).parents[2] / "../shared/data/results"
MARGIN = 0.01
ALPHA = 0.05
LOOK = 8
DRAWN = 20
BASES = (
    *("Meta-Llama-3_1-70B", "Meta-Llama-3-70B", "Meta-Llama-3_1-8B", "Meta-Llama-3-8B"),
    *("Llama-2-70b-hf", "Llama-2-13b-hf", "Llama-2-7b-hf", "Qwen1.5-110B", "Yi-34B", "Yi-6B"),
    *("Mixtral-8x7B-v0.1", "Mistral-7B-v0.1", "Mistral-7B-v0.2-hf", "gemma-7b"),
)
BENCHMARKS = "arc", "gsm8k", "mmlu", "truthfulqa", "winogrande"


@record
class Row:
    tasks: str
    method: str
    orders: int
    """Of each task."""
    cost: float
    """Share of all answers; mean over tasks."""
    worst_cost: float
    wrong: float
    worst_wrong: float
    """Of the task with most wrong orders."""


def main() -> None:
    print(
        "\n| tasks | method | orders a task | cost | worst task | wrong | worst task |\n|---|---|---|---|---|---|---|"
    )
    for row in measure():
        shares = " | ".join(
            "" if math.isnan(one) else f"{100 * one:.1f} %"
            for one in (row.cost, row.worst_cost, row.wrong, row.worst_wrong)
        )
        print(f"| {row.tasks} | {row.method} | {row.orders} | {shares} |", flush=True)


def measure(orders: int = 1000) -> list[Row]:
    """Baselines, the race, and a yardstick."""
    few, some = math.ceil(orders / 10), math.ceil(orders / 4)
    rows = []
    for name in ("26 models, by subject", "14 base models, by subject"):
        tasks = _subjects(name)
        rows += [
            _row(name, "Hoeffding and Serfling, racing", tasks, hoeffding, some),
            _row(name, "betting, Bonferroni over pairs", tasks, pairwise, few),
            _row(name, "McNemar at every look, uncorrected", tasks, mcnemar, some),
            _row(name, "race", tasks, _race("named"), orders),
            _row(name, "race, until all are settled", tasks, _race("settled"), some),
            _with_prior(name, tasks, some),
            _yardstick(name, tasks),
        ]
    for name in ("26 models, all items", "14 base models, all items"):
        whole = [np.concatenate(_subjects(name), axis=1)]
        rows += [_row(name, "race", whole, _race("named"), orders), _yardstick(name, whole)]
    name = "Metabench, 20 models drawn"
    rows.append(_row(name, "McNemar at every look, uncorrected", BENCHMARKS, mcnemar, some))
    rows.append(_row(name, "race", BENCHMARKS, _race("named"), orders))
    rows.append(_row(name, "race, until all are settled", BENCHMARKS, _race("settled"), some))
    return rows


# --- what is raced --------------------------------------------------------------------------------


@cache
def _table(name: Literal["mmlu_pro", "metabench_items"]) -> dict[str, NDArray[Any]]:
    with np.load(SOURCE / name / "items.npz", allow_pickle=False) as found:
        return {key: found[key] for key in found}


def _subjects(name: str) -> list[Array]:
    """Values [models, items] of each subject."""
    table = _table("mmlu_pro")
    rows = (table["y"] != 255).all(axis=1)
    if "base" in name:
        rows &= np.isin(table["models"], BASES)
    values = table["y"][rows].astype(np.float64)
    return [values[:, table["category"] == one] for one in np.unique(table["category"])]


def _drawn(task: str | Array, seed: int) -> Array:
    """The values of an order: of a benchmark, those of other models in each."""
    if not isinstance(task, str):
        return task
    table = _table("metabench_items")[f"{task}__y"]
    rows = np.random.default_rng(seed).choice(len(table), DRAWN, replace=False)
    return table[rows].astype(np.float64)


def _row(name: str, method: str, tasks: Sequence[str | Array], play: Method, orders: int) -> Row:
    return _summary(
        name, method, orders, [[(one := _drawn(t, s), *play(one, s)) for s in range(orders)] for t in tasks]
    )


def _summary(name: str, method: str, orders: int, played: Sequence[Sequence[tuple[Array, float, int]]]) -> Row:
    costs = [np.mean([cost for _, cost, _ in task]) for task in played]
    wrong = [np.mean([_wrong(values, named) for values, _, named in task]) for task in played]
    return Row(
        tasks=name,
        method=method,
        orders=orders,
        cost=float(np.mean(costs)),
        worst_cost=float(max(costs)),
        wrong=float(np.mean(wrong)),
        worst_wrong=float(max(wrong)),
    )


def _wrong(values: Array, named: int) -> bool:
    right = values.sum(axis=1)
    return bool(right.max() - right[named] > MARGIN * values.shape[1] + 1e-6)


# --- ours -----------------------------------------------------------------------------------------


def _race(until: Until) -> Method:
    return lambda values, seed: _run(values, seed, until, None)


def _run(values: Array, seed: int, until: Until, prior: Array | None) -> tuple[float, int]:
    found = race.run(
        [str(row) for row in range(len(values))],
        values.shape[1],
        lambda model, places: list(values[int(model), places]),
        seed=seed,
        margin=MARGIN,
        confidence=1 - ALPHA,
        until=until,
        order_prior=None if prior is None else {str(row): float(one) for row, one in enumerate(prior)},
    )
    return sum(found.asked.values()) / values.size, int(found.leader)


def _with_prior(name: str, tasks: Sequence[Array], orders: int) -> Row:
    means = np.array([task.mean(axis=1) for task in tasks])
    priors = (means.sum(axis=0) - means) / (len(tasks) - 1)
    played = [
        [(task, *_run(task, seed, "named", prior)) for seed in range(orders)]
        for task, prior in zip(tasks, priors, strict=True)
    ]
    return _summary(name, "race, prior from the other subjects", orders, played)


# --- baselines ------------------------------------------------------------------------------------


def hoeffding(values: Array, seed: int) -> tuple[float, int]:
    """Hoeffding races (Maron and Moore 1994) with Serfling's bound for a pool, corrected for models and looks."""
    models, items = values.shape
    alive, asked = np.ones(models, np.bool_), 0
    for look, n, sums in _looks(values, seed):
        asked += int(alive.sum()) * min(LOOK, n - LOOK * (look - 1))
        correction = 2 * models * look * (look + 1) / ALPHA
        radius = math.sqrt(math.log(correction) / (2 * n) * (1 - (n - 1) / items)) if n < items else 0.0
        means = np.where(alive, sums / n, -np.inf)
        alive &= means + radius >= means.max() - radius
        leader = int(means.argmax())
        others = np.delete(np.where(alive, means, -np.inf), leader)
        if others.max() + radius <= means[leader] - radius + MARGIN:
            break
    return asked / values.size, leader


def pairwise(values: Array, seed: int) -> tuple[float, int]:
    """A bet for each ordered pair, all of them corrected for; who loses one without the margin is asked no more."""
    models, items = values.shape
    shuffled = values[:, race.order(items, seed)]
    needed = models * (models - 1) / ALPHA
    never = items + 1
    worse, no_better = (np.full((models, models), never) for _ in range(2))
    for row in range(models):
        for times, null in ((worse, 0.0), (no_better, -MARGIN)):
            reached = betting.growth(shuffled - shuffled[row], null, pool=items)[0] >= needed
            times[row] = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, never)
    np.fill_diagonal(no_better, 0)
    out = worse.min(axis=1)
    named_at = np.minimum(no_better, out[:, None]).max(axis=0)
    named_at = np.where(named_at < out, named_at, never)
    end = min(LOOK * math.ceil(int(named_at.min()) / LOOK), items)
    last = shuffled.sum(axis=1) if named_at.min() == never else -named_at
    asked = np.minimum(LOOK * np.ceil(out / LOOK), end)
    return float(asked.sum()) / values.size, int(np.where(out > named_at.min(), last, -np.inf).argmax())


def mcnemar(values: Array, seed: int) -> tuple[float, int]:
    """The exact test of everyone against the leader, at every look, as if it were the only one."""
    alive, asked = np.ones(len(values), np.bool_), 0
    shuffled = values[:, race.order(values.shape[1], seed)]
    for look, n, sums in _looks(values, seed):
        asked += int(alive.sum()) * min(LOOK, n - LOOK * (look - 1))
        leader = int(np.where(alive, sums, -1).argmax())
        more = ((shuffled[leader, :n] == 1) & (shuffled[:, :n] == 0)).sum(axis=1)
        less = ((shuffled[leader, :n] == 0) & (shuffled[:, :n] == 1)).sum(axis=1)
        p = np.minimum(1, 2 * stats.binom.cdf(np.minimum(more, less), more + less, 0.5))
        alive &= (p >= ALPHA) | (np.arange(len(values)) == leader)
        if alive.sum() == 1:
            break
    return asked / values.size, leader


def _looks(values: Array, seed: int) -> Iterator[tuple[int, int, Array]]:
    """Look, items seen, and what each model got of them."""
    items = values.shape[1]
    shuffled = values[:, race.order(items, seed)]
    running = np.cumsum(shuffled, axis=1)
    for look, start in enumerate(range(0, items, LOOK), start=1):
        n = min(start + LOOK, items)
        yield look, n, running[:, n - 1]


def _yardstick(name: str, tasks: Sequence[Array]) -> Row:
    """Expected items of a sequential test at this level that knows the leader and every gap and must prove it: Wald's
    2 log(1 / alpha) variance / (gap + margin)^2, fewer by what a pool tells without replacement; the leader answers as
    many as its nearest rival. A yardstick, not a strict bound: a real test
    may end with the pool."""
    costs = []
    for values in tasks:
        leader = int(values.mean(axis=1).argmax())
        apart = np.delete(values[leader] - values, leader, axis=0)
        independent = 2 * math.log(1 / ALPHA) * apart.var(axis=1) / (apart.mean(axis=1) + MARGIN) ** 2
        needed = 1 / (1 / independent + 1 / values.shape[1])
        costs.append(float(needed.sum() + needed.max()) / values.size)
    return Row(
        tasks=name,
        method="a test that knows the leader and all gaps",
        orders=0,
        cost=float(np.mean(costs)),
        worst_cost=max(costs),
        wrong=math.nan,
        worst_wrong=math.nan,
    )


if __name__ == "__main__":
    main()
