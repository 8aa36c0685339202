"""Are the intervals and comparisons honest? Simulated scores whose truth is known; prints Markdown tables.

    python benchmarks/intervals.py      about three minutes on one core; the same figures every time

Coverage: how often a 95 % interval holds the true value. What is called ours is what evaluation uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.records import Interval
from basewright.stats import intervals, multiple, paired, permutation

Array = NDArray[Any]
Random = np.random.Generator
LEVEL = 0.95
SETS = 10_000
PAIRS = 1_000


def main() -> None:
    accuracy(np.random.default_rng(1))
    equals(np.random.default_rng(2))
    power(np.random.default_rng(3))
    passages(np.random.default_rng(4))
    skewed(np.random.default_rng(5))


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


def percent(share: np.floating[Any] | float) -> str:
    return f"{100 * share:.1f} %"


# --- accuracy -------------------------------------------------------------------------------------


def accuracy(random: Random) -> None:
    """`interval` for right or wrong answers depends on their sum only, so each sum is asked about once."""
    from scipy import stats

    def rows() -> Iterable[Sequence[str]]:
        for n in (50, 200, 1000):
            bounds = np.array([_bounds(_whole(right, n)) for right in range(n + 1)])
            for p in (0.05, 0.5, 0.95):
                holds = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
                sums = (random.random((SETS, n)) < p).sum(axis=1)
                exact = float(stats.binom.pmf(np.arange(n + 1), n, p) @ holds)
                width = float((bounds[sums, 1] - bounds[sums, 0]).mean())
                yield str(n), str(p), f"{holds[sums].mean():.2%}", f"{exact:.2%}", f"{width:.3f}"

    title = f"Accuracy, independent items: coverage over {SETS:,} sets, and summed exactly (goal 93.5 %)"
    table(title, ("items", "true accuracy", "coverage", "exact coverage", "mean width"), rows())


def _whole(right: int, n: int) -> Interval:
    return intervals.interval([1.0] * right + [0.0] * (n - right), None, LEVEL, binary=True)


def _bounds(one: Interval) -> tuple[float, float]:
    return one.low, one.high


# --- pairs ----------------------------------------------------------------------------------------


def answers(random: Random, size: tuple[int, ...], p: float, q: float, correlation: float) -> Array:
    """(only first right, only second right, neither nor) of pairs of answers: first - second is 1, -1 or 0."""
    both = p * q + correlation * np.sqrt(p * (1 - p) * q * (1 - q))
    return random.choice([1.0, -1.0, 0.0], size=size, p=[p - both, q - both, 1 - p - q + 2 * both])


@cache
def mcnemar(only_first: int, only_second: int) -> float:
    return paired.exact_p(only_first, only_second)


def _p(deltas: Array) -> float:
    return mcnemar(int((deltas == 1).sum()), int((deltas == -1).sum()))


def equals(random: Random) -> None:
    groups = [str(place // 5) for place in range(200)]

    def passage_deltas() -> list[float]:
        first, second = (clustered(random, 40, 5, 0.7, 0.3) for _ in range(2))
        return list((first - second).ravel())

    def rows() -> Iterable[Sequence[str]]:
        for correlation in (0.0, 0.5, 0.9):
            tests = [_p(answers(random, (500,), 0.7, 0.7, correlation)) < 0.05 for _ in range(PAIRS)]
            yield f"500 items, correlation {correlation}", "McNemar, exact (ours)", percent(np.mean(tests))
        for correlation in (0.0, 0.5):
            tens = [[_p(one) for one in answers(random, (10, 500), 0.7, 0.7, correlation)] for _ in range(PAIRS)]
            name = f"10 tasks of 500 items, correlation {correlation}: any named"
            yield name, "McNemar, without Holm", percent(np.mean([min(ps) < 0.05 for ps in tens]))
            yield name, "McNemar, Holm (ours)", percent(np.mean([min(multiple.holm(ps)) < 0.05 for ps in tens]))
        sets = [passage_deltas() for _ in range(PAIRS)]
        name = "40 passages of 5 items, correlated 0.3 within"
        yield name, "McNemar, passages ignored", percent(np.mean([_p(np.array(one)) < 0.05 for one in sets]))
        tests = [permutation.sign_flip(one, groups) < 0.05 for one in sets]
        yield name, "sign flips of passages (ours)", percent(np.mean(tests))
        for metric, make in (("F1-like", f1_wrong), ("log-normal", log_normal)):
            deltas = [list(make(random, (200,)) - make(random, (200,))) for _ in range(PAIRS)]
            tests = [permutation.sign_flip(one) < 0.05 for one in deltas]
            yield f"200 items, {metric}", "sign flips (ours)", percent(np.mean(tests))

    table(f"Equal models named different, of {PAIRS:,} pairs (goal at most 6.5 %)", ("pairs", "test", "named"), rows())


def power(random: Random) -> None:
    def rows() -> Iterable[Sequence[str]]:
        for correlation in (0.0, 0.5):
            for gap in (0.02, 0.05, 0.1):
                cells = []
                for n in (200, 1000, 2000):
                    sets = answers(random, (2000, n), 0.7 + gap, 0.7, correlation)
                    found = float(np.mean([_p(one) < 0.05 for one in sets]))
                    seen = [paired.detectable(list(one), None, 0.05) or 0.0 for one in sets[:20]]
                    cells.append(f"{percent(found)} ({100 * float(np.mean(seen)):.1f})")
                yield str(correlation), f"{100 * gap:.0f} points", *cells

    head = ("correlation", "true gap", "200 items", "1,000 items", "2,000 items")
    table("Power of McNemar at 0.7 accuracy, 2,000 pairs (points said to be detectable at 80 %)", head, rows())


# --- passages -------------------------------------------------------------------------------------


def clustered(random: Random, groups: int, size: int, p: float, correlation: float) -> Array:
    """Right or wrong answers, groups × size, of true accuracy `p`, correlated within a group (beta-binomial)."""
    strength = 1 / correlation - 1
    own = random.beta(p * strength, (1 - p) * strength, (groups, 1))
    return (random.random((groups, size)) < own).astype(float)


def passages(random: Random) -> None:
    def rows() -> Iterable[Sequence[str]]:
        for count in (10, 40, 200):
            names = [str(place // 5) for place in range(5 * count)]
            for p in (0.5, 0.8, 0.95):
                sets = [list(clustered(random, count, 5, p, 0.3).ravel()) for _ in range(SETS)]
                cells = [
                    _covered((intervals.interval(one, groups, LEVEL, binary=True) for one in sets), p)
                    for groups in (None, names)
                ]
                yield str(5 * count), str(p), *(f"{percent(share)} ({width:.3f})" for share, width in cells)

    head = ("items", "true accuracy", "passages ignored", "by passage (ours)")
    table(f"Accuracy, passages of 5 items, correlation 0.3 within: coverage of {SETS:,} (mean width)", head, rows())


def _covered(found: Iterable[Interval], truth: float) -> tuple[float, float]:
    bounds = np.array([_bounds(one) for one in found])
    return float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()), float(np.ptp(bounds, axis=1).mean())


# --- skewed metrics -------------------------------------------------------------------------------


def f1_wrong(random: Random, size: tuple[int, ...]) -> Array:
    """Mostly 0, some partial, few 1; mean 0.11."""
    kind = random.random(size)
    return np.where(kind < 0.8, 0.0, np.where(kind < 0.95, random.beta(2, 3, size), 1.0))


def f1_right(random: Random, size: tuple[int, ...]) -> Array:
    """Mostly 1, some partial, few 0; mean 0.934."""
    kind = random.random(size)
    return np.where(kind < 0.03, 0.0, np.where(kind < 0.12, random.beta(3, 2, size), 1.0))


def log_normal(random: Random, size: tuple[int, ...]) -> Array:
    """As perplexities of texts; mean exp(0.5)."""
    return random.lognormal(0, 1, size)


def f1_gap(random: Random, size: tuple[int, ...]) -> Array:
    """Paired differences: mostly 0, more for the first; mean 0.025."""
    kind, by = random.random(size), random.beta(2, 2, size)
    return np.where(kind < 0.85, 0.0, np.where(kind < 0.95, by, -by))


METRICS: dict[str, tuple[Callable[[Random, tuple[int, ...]], Array], float]] = {
    "F1, weak model": (f1_wrong, 0.15 * 0.4 + 0.05),
    "F1, strong model": (f1_right, 0.09 * 0.6 + 0.88),
    "log-normal": (log_normal, float(np.exp(0.5))),
    "F1, paired difference": (f1_gap, 0.05 * 0.5),
}


def skewed(random: Random) -> None:
    """`interval` (skewness removed) is ours for a score and Student's t for a difference; bootstraps for comparison."""

    def rows() -> Iterable[Sequence[str]]:
        for name, (make, truth) in METRICS.items():
            for n in (20, 50, 200):
                sets = make(random, (4 * PAIRS, n))
                methods = {
                    "t": [_bounds(intervals.mean(list(one), LEVEL)) for one in sets],
                    "removed": [_bounds(intervals.interval(list(one), None, LEVEL, binary=False)) for one in sets],
                    "BCa": _bootstrap(sets[:PAIRS], "BCa", random),
                    "percentile": _bootstrap(sets[:PAIRS], "percentile", random),
                    "studentised": [_studentised(one, random) for one in sets[:PAIRS]],
                }
                yield name, str(n), *(_sides(np.array(bounds), truth) for bounds in methods.values())

    head = ("metric", "items", "Student's t", "t, skewness removed", "BCa", "percentile", "studentised bootstrap")
    title = f"Skewed metrics: coverage of {4 * PAIRS:,} (bootstraps {PAIRS:,} × 999 draws), missed below / above"
    table(title, head, rows())


def _sides(bounds: Array, truth: float) -> str:
    below, above = float((bounds[:, 1] < truth).mean()), float((bounds[:, 0] > truth).mean())
    return f"{percent(1 - below - above)} ({100 * below:.1f} / {100 * above:.1f})"


def _bootstrap(sets: Array, method: Any, random: Random) -> Array:
    """Bounds from scipy; a set without any variance has none, and gets its mean."""
    from scipy import stats

    varied = sets[sets.std(axis=1) > 0]
    parts = []
    for start in range(0, len(varied), 50):
        found = stats.bootstrap(
            (varied[start : start + 50],), np.mean, axis=1, n_resamples=999, method=method, rng=random
        ).confidence_interval
        parts.append(np.stack([found.low, found.high], axis=1))
    flat = sets[sets.std(axis=1) == 0].mean(axis=1)
    return np.concatenate([*parts, np.stack([flat, flat], axis=1)])


def _studentised(values: Array, random: Random) -> tuple[float, float]:
    n, mean, error = len(values), values.mean(), values.std(ddof=1)
    draws = values[random.integers(0, n, (999, n))]
    spread = draws.std(axis=1, ddof=1)
    t = (draws.mean(axis=1) - mean)[spread > 0] / spread[spread > 0]
    low, high = np.quantile(t, [0.025, 0.975]) if len(t) else (0.0, 0.0)
    return float(mean - high * error), float(mean - low * error)


if __name__ == "__main__":
    main()
