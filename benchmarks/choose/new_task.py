"""A new task with few tunings allowed: which models to tune? 960 start models x 36 tasks; prints Markdown tables.

    python -m benchmarks.choose.new_task      about four minutes on one core; the same figures every time

Each task in turn is new: its scores are hidden until a model is tuned, the 35 others are history. Regret is the best
score in the table less the best of the models tuned, in points. The table holds one tuning a model, so its best of 960
is partly luck with the seed; the second table says how much of the regret that is, and what is left when each
model's expected score counts. Nothing is fitted to the new task: the length of alikeness is the one that served
the other tasks best. But the form of the model was settled with all tasks in view, among forms that came to 1.7 to 2.2
after three tunings; the interval of its gain does not count that, and the gain at 960 models may well be luck.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.choose import history
from basewright.errors import DataError
from basewright.records import record

Array = NDArray[np.float64]
Picks = NDArray[np.int64]
SOURCE = Path(__file__).parents[2] / "../shared/data/results/model_recycling"
FIRST_TASK = 12
"""Column of the first task in the table of fine-tuned models."""
MOST = 40
SHOWN = (1, 3, 5, 10)
GOAL = 1.0
FEW = 30
LENGTHS = (0.35, history.LENGTH, 1.4)
RIDGE = 10.0


@record
class Row:
    """Regret of one way to pick, in points; the keys are numbers of tunings."""

    method: str
    mean: dict[int, float]
    worst: dict[int, float]
    """Of the tasks, that with the largest regret."""
    worst_task: str
    """At three tunings."""
    goal_at: int | None
    """Tunings after which the mean is at most the goal; None: not within `MOST`."""


@record
class Results:
    """The tables of IBM's model recycling, in points."""

    tasks: tuple[str, ...]
    scores: Array
    """Models x tasks."""
    probe: Array
    """A linear probe on MNLI, by model."""
    seed_sd: Array
    """By task: standard deviation over 20 tunings with other seeds, median of six base models."""
    seed_mad: Array
    """The same from the median absolute deviation, which failed tunings do not enter."""


def main() -> None:
    data = results()
    rows = measure()
    show(f"Regret over all {len(data.scores)} models, mean and (worst) of {len(data.tasks)} tasks", rows)
    gain = _observed(data, _updated()) - _observed(data, _standing(data))
    low, high = _bootstrap(gain[:, 2])
    print(f"History with updates less mean standing, 3 tunings: {low:+.2f} to {high:+.2f} (95 %, tasks drawn again)\n")
    show("How much is luck: expected scores, and tables drawn again with the noise of the seed", floor())
    show(f"Regret over {FEW} candidates drawn at random, whose past scores are all the history there is", few())


def show(title: str, rows: Iterable[Row]) -> None:
    rows = list(rows)
    shown = list(rows[0].mean)
    print(f"\n{title}\n")
    print(f"| way to pick | {' | '.join(f'@{k}' for k in shown)} | worst task @3 | mean <= {GOAL:g} after |")
    print(f"|{'---|' * (len(shown) + 3)}")
    for row in rows:
        cells = [f"{row.mean[k]:.2f} ({row.worst[k]:.1f})" for k in shown]
        after = "-" if row.goal_at is None else f"{row.goal_at} tunings"
        print(f"| {row.method} | {' | '.join(cells)} | {row.worst_task} | {after} |", flush=True)
    print()


# --- all models -----------------------------------------------------------------------------------


def measure(orders: int = 1000) -> list[Row]:
    """Regret on the table as it is; `orders` are those of picking at random."""
    data = results()
    ways = {
        "random": _random(data, orders),
        "probe on MNLI": _probe(data),
        "mean standing on other tasks": _standing(data),
        "history with updates": _updated(),
        "limit: regression fitted to the task's own scores": _told(data),
    }
    return [_row(name, data, _observed(data, picks)) for name, picks in ways.items()]


def floor(draws: int = 1000) -> list[Row]:
    """Regret in expected scores, which are drawn `draws` times from what the table and its noise leave open."""
    data = results()
    rows = []
    for noise, sd in (("sd", data.seed_sd), ("robust sd", data.seed_mad)):
        expected = [_expected(data, task, sd[task], draws) for task in range(len(data.tasks))]
        for name, picks in (("mean standing", _standing(data)), ("history with updates", _updated())):
            curves = [_regret(truth, truth, picks[task]) for task, truth in enumerate(expected)]
            rows.append(_row(f"{name}, expected scores ({noise})", data, np.array(curves)))
        random = np.random.default_rng(2)
        curves = []
        for task, truth in enumerate(expected):
            best = np.argsort(-truth, axis=1)[:, :MOST]
            curves.append(_regret(truth + random.normal(0, sd[task], truth.shape), truth, best))
        rows.append(_row(f"knows every expected score, tables drawn again ({noise})", data, np.array(curves)))
    return rows


def _observed(data: Results, picks: Sequence[Picks]) -> Array:
    return np.array([_regret(data.scores[None, :, t], data.scores[None, :, t], p) for t, p in enumerate(picks)])


def _regret(scores: Array, like: Array, picks: Picks) -> Array:
    """Mean regret after 1 to `MOST` tunings: rows of scores by model against rows of picks, one of either for all."""
    rows = max(len(like), len(np.atleast_2d(picks)))
    scores = np.broadcast_to(scores, (rows, scores.shape[1]))
    seen = np.take_along_axis(scores, np.broadcast_to(picks, (rows, np.shape(picks)[-1])), axis=1)
    regret: Array = (scores.max(axis=1, keepdims=True) - np.maximum.accumulate(seen, axis=1)).mean(axis=0)
    return regret


def _random(data: Results, orders: int) -> list[Picks]:
    random, models = np.random.default_rng(1), len(data.scores)
    return [np.array([random.permutation(models)[:MOST] for _ in range(orders)]) for _ in data.tasks]


def _probe(data: Results) -> list[Picks]:
    return [np.argsort(-data.probe, kind="stable")[:MOST]] * len(data.tasks)


def _standing(data: Results) -> list[Picks]:
    """The mean of standardised scores on the other tasks."""
    scaled = (data.scores - data.scores.mean(axis=0)) / data.scores.std(axis=0)
    others = [scaled.sum(axis=1) - scaled[:, task] for task in range(len(data.tasks))]
    return [np.argsort(-standing, kind="stable")[:MOST] for standing in others]


@cache
def _updated() -> tuple[Picks, ...]:
    """The product's, in the length that served the other tasks best."""
    data, everyone = results(), range(len(results().scores))
    return tuple(_pick(data, task, everyone, MOST, length) for task, length in enumerate(_lengths()))


@cache
def _lengths() -> tuple[float, ...]:
    data, everyone = results(), range(len(results().scores))
    regret = [
        [
            _regret(data.scores[None, :, t], data.scores[None, :, t], _pick(data, t, everyone, 3, length))[2]
            for length in LENGTHS
        ]
        for t in range(len(data.tasks))
    ]
    others = np.sum(regret, axis=0) - np.array(regret)
    return tuple(LENGTHS[best] for best in others.argmin(axis=1))


def _pick(data: Results, task: int, models: Iterable[int], tunings: int, length: float) -> Picks:
    """Models in the order the product would tune them, each one's score told before the next is picked."""
    names = {str(model): model for model in models}
    table = {
        other: {name: data.scores[model, column] / 100 for name, model in names.items()}
        for column, other in enumerate(data.tasks)
        if column != task
    }
    known: dict[str, float] = {}
    for _ in range(tunings):
        name = history.next_candidate(table, list(names), known, length)
        known[name] = data.scores[names[name], task] / 100
    return np.array([names[name] for name in known])


def _expected(data: Results, task: int, noise: float, draws: int) -> Array:
    """Draws x models: what each model would score on average over seeds, given its one score and all others.

    Of what the other tasks do not tell, the part beyond the variance of the seed is the model's own.
    """
    rest = _untold(data, task)
    share = max(0.0, 1 - noise**2 / float(rest.var()))
    jitter = np.random.default_rng(task).normal(0, share**0.5 * noise, (draws, len(rest)))
    expected: Array = data.scores[:, task] - (1 - share) * rest + jitter
    return expected


def _untold(data: Results, task: int) -> Array:
    """Each score less what a ridge regression on the other tasks says of it, fitted to all other models' scores."""
    scaled = (data.scores - data.scores.mean(axis=0)) / data.scores.std(axis=0)
    known = np.delete(scaled, task, axis=1)
    hat = known @ np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T) + 1 / len(known)
    untold: Array = (data.scores[:, task] - hat @ data.scores[:, task]) / (1 - np.diag(hat))
    return untold


def _told(data: Results) -> list[Picks]:
    """No way to pick, but a limit: the best by that regression, which has seen 959 scores on the new task."""
    told = [data.scores[:, task] - _untold(data, task) for task in range(len(data.tasks))]
    return [np.argsort(-scores, kind="stable")[:MOST] for scores in told]


# --- few candidates -------------------------------------------------------------------------------


def few(orders: int = 1000) -> list[Row]:
    """The same with candidates as few as a person has, drawn `orders` times for each task."""
    data = results()
    ways = ("random", "probe on MNLI", "mean standing on other tasks", "history with updates")
    curves = np.zeros((len(ways), len(data.tasks), 3))
    for order in range(orders):
        drawn = np.random.default_rng(order).choice(len(data.scores), FEW, replace=False)
        part = data.scores[drawn]
        scaled = (part - part.mean(axis=0)) / (part.std(axis=0) + 1e-9)
        for task, length in enumerate(_lengths()):
            standing = scaled.sum(axis=1) - scaled[:, task]
            picks = (
                drawn[:3],
                drawn[np.argsort(-data.probe[drawn], kind="stable")[:3]],
                drawn[np.argsort(-standing, kind="stable")[:3]],
                _pick(data, task, sorted(drawn.tolist()), 3, length),
            )
            for way, pick in enumerate(picks):
                curves[way, task] += part[:, task].max() - np.maximum.accumulate(data.scores[pick, task])
    return [_row(name, data, curve / orders) for name, curve in zip(ways, curves, strict=True)]


# --- reading and summing up -----------------------------------------------------------------------


def _row(method: str, data: Results, curves: Array) -> Row:
    """`curves`: regret by task and tunings."""
    shown = [k for k in SHOWN if k <= curves.shape[1]]
    mean = curves.mean(axis=0)
    return Row(
        method=method,
        mean={k: float(mean[k - 1]) for k in shown},
        worst={k: float(curves[:, k - 1].max()) for k in shown},
        worst_task=data.tasks[int(curves[:, 2].argmax())],
        goal_at=int((mean <= GOAL).argmax()) + 1 if (mean <= GOAL).any() else None,
    )


def _bootstrap(differences: Array, draws: int = 1000) -> tuple[float, float]:
    random = np.random.default_rng(3)
    means = random.choice(differences, (draws, len(differences))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


@cache
def results() -> Results:
    """Raises `DataError` where the shared data are absent."""
    try:
        packed = (SOURCE / "finetuned_36tasks_clean.csv.gz").read_bytes()
        runs = list(csv.DictReader(io.StringIO((SOURCE / "pretrained_20seed_runs.csv").read_text())))
    except OSError as error:
        raise DataError(f"no results to measure on: {error}", fix="put shared/data beside the checkout") from error
    head, *rows = csv.reader(io.StringIO(gzip.decompress(packed).decode()))
    tasks = tuple(head[FIRST_TASK:])
    cells: dict[str, dict[str, list[float]]] = {task: {} for task in tasks}
    for run in runs:
        if score := run["accuracy"] or run["spearmanr"]:
            cells[run["task"]].setdefault(run["base_model"], []).append(100 * float(score))
    return Results(
        tasks=tasks,
        scores=100 * np.array([row[FIRST_TASK:] for row in rows], dtype=np.float64),
        probe=np.array([row[head.index("mnli_lp")] for row in rows], dtype=np.float64),
        seed_sd=np.array([np.median([np.std(c, ddof=1) for c in cells[t].values()]) for t in tasks]),
        seed_mad=np.array([np.median([_robust(c) for c in cells[t].values()]) for t in tasks]),
    )


def _robust(values: Sequence[float]) -> Any:
    return 1.4826 * np.median(np.abs(np.array(values) - np.median(values)))


if __name__ == "__main__":
    main()
