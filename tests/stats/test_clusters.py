"""Groups of items: the clustered error against hand computations and its laws, for scores and for differences."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from basewright.records import Interval
from basewright.stats import clusters, intervals, paired

rows = st.lists(st.tuples(st.floats(-5, 5).map(lambda x: round(x, 3)), st.sampled_from("abcdef")), min_size=2)
answers = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from("abcdef")), min_size=2)
pairs = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]), st.sampled_from("abcdef")), min_size=2
)


def close(one: Interval, two: Interval) -> bool:
    return [one.low, one.high] == pytest.approx([two.low, two.high], rel=1e-6, abs=1e-6)


def test_the_clustered_error_by_hand() -> None:
    """Values 1 and 0 in one group, 1 in another: mean 2/3, residual sums -1/3 and 1/3, shares 2/3 and 1/3."""
    sums, sizes = clusters.totals([1, 0, 1], ["a", "a", "b"])
    assert (sums.tolist(), sizes.tolist()) == ([1, 1], [2, 1])
    parts = clusters.errors(sums, sizes)
    assert parts.tolist() == pytest.approx([-1 / 9 / math.sqrt(1 / 3), 1 / 9 / math.sqrt(2 / 3)])
    assert (parts**2).sum() == pytest.approx(1 / 18)
    assert clusters.freedom(sizes) == pytest.approx(1)


def test_of_groups_of_one_size_it_is_the_formula_of_miller_with_groups_less_one() -> None:
    random = np.random.default_rng(0)
    values = random.random((7, 4))
    off = values - values.mean()
    squares = (off**2).sum() / 28**2  # the variance of the mean of independent items, biased
    crossed = sum(off[g, i] * off[g, j] for g in range(7) for i in range(4) for j in range(4) if i != j) / 28**2
    parts = clusters.errors(values.sum(axis=1), np.full(7, 4.0))
    assert (parts**2).sum() == pytest.approx((squares + crossed) * 7 / 6)
    assert clusters.freedom(np.full(7, 4.0)) == pytest.approx(6)


def test_groups_of_one_are_students_t() -> None:
    values = np.random.default_rng(1).exponential(1, 30)
    found = intervals.mean(values.tolist(), 0.9, [str(place) for place in range(30)])
    expected = stats.t.interval(0.9, 29, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.method == "t"


def test_unequal_groups_have_fewer_degrees_of_freedom() -> None:
    sizes = [1.0, 2.0, 3.0, 4.0, 15.0]
    assert 1 < clusters.freedom(np.array(sizes)) < 4 - 1e-9
    assert clusters.freedom(np.array([*sizes, *sizes])) < 9


@given(rows, st.randoms())
def test_the_order_of_items_means_nothing(items: list[tuple[float, str]], random: Random) -> None:
    other = sorted(items, key=lambda _: random.random())
    one, two = (intervals.interval([v for v, _ in x], [g for _, g in x], 0.95, binary=False) for x in (items, other))
    assert close(one, two)


@given(answers)
def test_h076_copies_of_items_in_their_groups_narrow_nothing(items: list[tuple[float, str]]) -> None:
    values, groups = [v for v, _ in items], [g for _, g in items]
    if len({*groups}) < len(groups):
        one = intervals.interval(values, groups, 0.95, binary=True)
        assert close(one, intervals.interval(values * 3, groups * 3, 0.95, binary=True))
        assert close(intervals.mean(values, 0.95, groups), intervals.mean(values * 3, 0.95, groups * 3))


@given(rows)
def test_h076_copies_narrow_no_mean(items: list[tuple[float, str]]) -> None:
    values, groups = [v for v, _ in items], [g for _, g in items]
    one, two = (intervals.interval(values * k, groups * k, 0.95, binary=False) for k in (2, 4))
    assert close(one, two)


@given(answers)
def test_a_clustered_proportion_is_in_range_and_mirrors(items: list[tuple[float, str]]) -> None:
    values, groups = [v for v, _ in items], [g for _, g in items]
    found = intervals.interval(values, groups, 0.95, binary=True)
    other = intervals.interval([1 - v for v in values], groups, 0.95, binary=True)
    assert -1e-9 <= found.low <= found.value + 1e-9 <= found.high + 2e-9 <= 1 + 3e-9
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


def test_full_agreement_within_groups_counts_groups() -> None:
    values = [1.0] * 50 + [0.0] * 50
    groups = [str(place // 5) for place in range(100)]
    found = intervals.interval(values, groups, 0.95, binary=True)
    one_each = intervals.interval(values[::5], None, 0.95, binary=True)
    assert found.high - found.low == pytest.approx(one_each.high - one_each.low, rel=0.1)


def test_all_right_in_groups_bounds_as_few_items_do() -> None:
    groups = [str(place // 5) for place in range(50)]
    found = intervals.interval([1.0] * 50, groups, 0.95, binary=True)
    assert found.high == 1
    assert found.low < intervals.proportion(10, 10).low + 1e-9


def test_one_group_bounds_nothing() -> None:
    assert intervals.interval([1.0, 0.0], ["a", "a"], 0.95, binary=True).low == 0
    assert intervals.interval([0.5, 0.2], ["a", "a"], 0.95, binary=False).high > 1e300
    assert paired.interval([1.0, 0.0], [0.0, 0.0], ["a", "a"], 0.95).low == -1


def test_an_empty_group_is_none() -> None:
    values = [1.0, 0.0, 1.0, 1.0]
    assert intervals.interval(values, [""] * 4, 0.95, True) == intervals.interval(values, None, 0.95, True)
    sums, sizes = clusters.totals(values, ["", "a", "", "a"])
    assert (sums.tolist(), sizes.tolist()) == ([1, 1, 1], [1, 2, 1])


@given(pairs)
def test_swapping_the_models_mirrors_a_clustered_difference(items: list[tuple[float, float, str]]) -> None:
    a, b, groups = [a for a, _, _ in items], [b for _, b, _ in items], [group for _, _, group in items]
    one, two = paired.interval(a, b, groups, 0.95), paired.interval(b, a, groups, 0.95)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low), abs=1e-9)
    assert one.low - 1e-9 <= one.value <= one.high + 1e-9


def test_a_difference_is_wider_by_group_where_groups_agree() -> None:
    first = [float(place // 5 % 3 == 0) for place in range(100)]
    second = [float(place // 5 % 3 == 1) for place in range(100)]
    groups = [str(place // 5) for place in range(100)]
    alone, grouped = (paired.interval(first, second, by, 0.95) for by in (None, groups))
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)
    assert (alone.method, grouped.method) == ("Newcombe, paired", "Newcombe, paired, clustered")


def test_the_clustered_bootstrap_of_scipy_agrees_on_many_groups() -> None:
    random = np.random.default_rng(5)
    sizes = random.integers(1, 9, 400)
    groups = [str(g) for g, size in enumerate(sizes) for _ in range(size)]
    values = np.repeat(random.normal(0, 1, 400), sizes) + random.normal(0, 1, sizes.sum())
    sums, counts = clusters.totals(values.tolist(), groups)
    scipy = stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=4999,
        rng=random,
    ).confidence_interval
    for found in (intervals.mean(values.tolist(), 0.95, groups), intervals.ratio(sums, counts, len(values), 0.95)):
        assert (found.low, found.high) == pytest.approx(tuple(scipy), abs=0.012)


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_is_no_value_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        intervals.interval(values, None, 0.95, binary=False)


def test_groups_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        intervals.interval([1.0, 0.0], ["a"], 0.95, binary=True)
