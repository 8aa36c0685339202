"""The sign-flip test against McNemar's, by hand, and its symmetries; Holm against published examples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from basewright.stats import multiple, paired, permutation

few = st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=1, max_size=9)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 9))
def test_of_right_and_wrong_it_is_mcnemars_test(only_first: int, only_second: int, same: int) -> None:
    deltas = [1.0] * only_first + [-1.0] * only_second + [0.0] * same
    assert permutation.sign_flip(deltas) == pytest.approx(paired.exact_p(only_first, only_second))


@given(few)
def test_it_counts_every_flip(deltas: list[float]) -> None:
    sums = [
        abs(sum(s * d for s, d in zip(signs, deltas, strict=True))) for signs in product((1, -1), repeat=len(deltas))
    ]
    expected = np.mean([one >= abs(sum(deltas)) - 1e-9 for one in sums])
    assert permutation.sign_flip(deltas) == pytest.approx(float(expected))


def test_many_draws_come_near_the_exact_value() -> None:
    deltas = [1.0] * 30 + [-1.0] * 15
    assert permutation.sign_flip(deltas) == pytest.approx(paired.exact_p(30, 15), abs=0.004)
    normal = np.random.default_rng(0).normal(0.15, 1, 200)
    assert permutation.sign_flip(normal.tolist()) == pytest.approx(stats.ttest_1samp(normal, 0).pvalue, abs=0.01)


def test_it_is_never_0() -> None:
    assert permutation.sign_flip([1.0] * 40) == 1 / 20_000


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([5, 16, 17, 40]))
def test_swapped_models_and_shuffled_items_have_the_same_p(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    deltas, groups = random.normal(0.2, 1, n), random.integers(0, n, n).astype(str)
    order = random.permutation(n)
    p = permutation.sign_flip(deltas.tolist(), groups.tolist())
    assert permutation.sign_flip((-deltas).tolist(), groups.tolist()) == pytest.approx(p, abs=1e-12)
    assert permutation.sign_flip(deltas[order].tolist(), groups[order].tolist()) == pytest.approx(p, abs=1e-12)


def test_h076_copies_of_items_in_their_groups_are_no_evidence() -> None:
    deltas, groups = [1.0, 1.0, 1.0, 1.0, 0.0, -1.0], list("abcdef")
    assert permutation.sign_flip(deltas * 5, groups * 5) == permutation.sign_flip(deltas)
    assert permutation.sign_flip(deltas * 5) < permutation.sign_flip(deltas)


def test_nothing_that_differs_is_no_evidence() -> None:
    assert permutation.sign_flip([0.0, 0.0]) == 1


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        # Wikipedia, "Holm-Bonferroni method": at 0.05 the first and the fourth are rejected
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # R package HDLSSkST, example of Holm: at 0.05 the third and the last are rejected
        ([0.50, 0.01, 0.001, 0.69, 0.02, 0.05, 0.0025], [1, 0.05, 0.007, 1, 0.08, 0.15, 0.015]),
        ([], []),
        ([0.2], [0.2]),
    ],
)
def test_holm_on_published_examples(p_values: list[float], adjusted: list[float]) -> None:
    assert multiple.holm(p_values) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    adjusted = multiple.holm(p_values)
    assert all(p <= a <= min(1, len(p_values) * p) for p, a in zip(p_values, adjusted, strict=True))
    assert multiple.holm(p_values[::-1]) == adjusted[::-1]
    assert min(adjusted) == min(1, len(p_values) * min(p_values))
