"""How often intervals hold the truth and tests name a difference where there is none; in full: benchmarks/intervals."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from basewright.records import Interval
from basewright.stats import intervals, multiple, paired, permutation

Array = NDArray[Any]


@cache
def mcnemar(only_first: int, only_second: int) -> float:
    return paired.exact_p(only_first, only_second)


def p_values(random: np.random.Generator, sets: int, n: int, gap: float, correlation: float) -> list[float]:
    """p-values of pairs of accuracy 0.7 + gap and 0.7."""
    p, q = 0.7 + gap, 0.7
    both = p * q + correlation * np.sqrt(p * (1 - p) * q * (1 - q))
    counts = random.multinomial(n, [p - both, q - both, 1 - p - q + 2 * both], sets)
    return [mcnemar(int(a), int(b)) for a, b, _ in counts]


@cache
def by_count(n: int) -> list[Interval]:
    return [intervals.interval([1.0] * k + [0.0] * (n - k), None, 0.95, binary=True) for k in range(n + 1)]


def covered(found: list[Interval], truth: float) -> float:
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_h076_the_interval_of_an_accuracy_covers(n: int, p: float) -> None:
    """Exactly: over every number of right answers, by its probability."""
    holds = np.array([one.low <= p <= one.high for one in by_count(n)])
    assert 0.935 <= float(stats.binom.pmf(np.arange(n + 1), n, p) @ holds) <= 0.975


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_h076_equal_models_are_rarely_named_different(correlation: float) -> None:
    found = p_values(np.random.default_rng(1), 1000, 500, 0.0, correlation)
    assert np.mean([p < 0.05 for p in found]) <= 0.065


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_h076_ten_tasks_name_no_difference_more_often_than_one(correlation: float) -> None:
    random = np.random.default_rng(2)
    families = [p_values(random, 10, 500, 0.0, correlation) for _ in range(1000)]
    assert np.mean([min(multiple.holm(ps)) < 0.05 for ps in families]) <= 0.065
    assert np.mean([min(ps) < 0.05 for ps in families]) > 0.25  # what Holm is there for


def test_what_is_said_to_be_detectable_is_found_four_times_in_five() -> None:
    deltas = [1.0] * 100 + [-1.0] * 100 + [0.0] * 800
    gap = paired.detectable(deltas, None, 0.05)
    assert gap is not None
    counts = np.random.default_rng(3).multinomial(1000, [0.1 + gap / 2, 0.1 - gap / 2, 0.8], 2000)
    assert np.mean([mcnemar(int(a), int(b)) < 0.05 for a, b, _ in counts]) == pytest.approx(0.8, abs=0.04)


def test_too_few_items_that_differ_detect_nothing() -> None:
    assert paired.detectable([1.0] * 5 + [0.0] * 995, None, 0.05) is None
    assert paired.exact_p(5, 0) > 0.05
    assert paired.detectable([1.0] * 6 + [0.0] * 994, None, 0.05) is not None
    assert paired.exact_p(6, 0) < 0.05


def passages(random: np.random.Generator, groups: int) -> Array:
    """Answers about passages of 5 items, true accuracy 0.7, correlated 0.3 within a passage."""
    strength = 1 / 0.3 - 1
    own = random.beta(0.7 * strength, 0.3 * strength, (groups, 1))
    return (random.random((groups, 5)) < own).astype(float).ravel()


def test_h076_passages_are_the_evidence_not_their_items() -> None:
    random = np.random.default_rng(4)
    groups = [str(place // 5) for place in range(200)]
    sets = [passages(random, 40).tolist() for _ in range(1500)]
    ours, naive = ([intervals.interval(one, by, 0.95, binary=True) for one in sets] for by in (groups, None))
    assert covered(ours, 0.7) >= 0.935
    assert covered(naive, 0.7) <= 0.86


def test_h076_equal_models_on_passages_are_rarely_named_different() -> None:
    random = np.random.default_rng(5)
    groups = [str(place // 5) for place in range(80)]
    sets = [passages(random, 16) - passages(random, 16) for _ in range(1000)]
    assert np.mean([permutation.sign_flip(one.tolist(), groups) < 0.05 for one in sets]) <= 0.065
    assert np.mean([mcnemar(int((one == 1).sum()), int((one == -1).sum())) < 0.05 for one in sets]) > 0.1


def test_a_clustered_difference_covers() -> None:
    random = np.random.default_rng(6)
    groups = [str(place // 5) for place in range(200)]
    found = [
        paired.interval(passages(random, 40).tolist(), passages(random, 40).tolist(), groups, 0.95) for _ in range(1000)
    ]
    assert covered(found, 0.0) >= 0.935


def test_a_skewed_metric_is_covered_where_students_t_is_not() -> None:
    """As F1 of a good model: mostly 1, some partial, few 0."""
    random = np.random.default_rng(7)
    kind = random.random((2000, 50))
    sets = np.where(kind < 0.03, 0.0, np.where(kind < 0.12, random.beta(3, 2, kind.shape), 1.0)).tolist()
    truth = 0.09 * 0.6 + 0.88
    assert covered([intervals.interval(one, None, 0.95, binary=False) for one in sets], truth) >= 0.95
    assert covered([intervals.mean(one, 0.95) for one in sets], truth) <= 0.92


def test_a_long_tail_is_missed_evenly() -> None:
    sets = np.random.default_rng(8).exponential(1, (3000, 50))
    found = [intervals.interval(one, None, 0.95, binary=False) for one in sets.tolist()]
    assert covered(found, 1.0) >= 0.935
    below, above = np.mean([one.high < 1 for one in found]), np.mean([one.low > 1 for one in found])
    assert max(below, above) <= 0.04
