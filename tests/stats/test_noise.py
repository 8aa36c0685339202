"""Seed noise: what is known of it, and bounds that hold at every look."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from basewright.stats import noise
from basewright.stats.noise import Prior, Scale

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_pooled_is_the_prior_without_repeats() -> None:
    scale = noise.pooled([[0.7], [0.9]], Prior(sd=0.02, freedom=4))
    assert scale.freedom == 4
    assert scale.sd == pytest.approx(0.02)


def test_pooled_reference() -> None:
    scale = noise.pooled([[0.80, 0.82], [0.5, 0.6, 0.7]], Prior(sd=0.01, freedom=4))
    assert scale.variance == pytest.approx((4 * 0.0001 + 0.0002 + 0.02) / 7)
    assert scale.freedom == 7


def test_own_lies_between_the_task_and_the_scores() -> None:
    task = Scale(variance=0.0001, freedom=10)
    scores = [0.6, 0.7, 0.8]
    scale = noise.own(scores, task, Prior(freedom=4))
    assert task.variance < scale.variance < float(np.var(scores, ddof=1))
    known = 1 / (1 / 4 + 1 / 10)
    assert scale.freedom == pytest.approx(known + 2)
    assert scale.variance == pytest.approx((known * 0.0001 + 0.02) / (known + 2))


def test_expected_noise_is_never_below_that_of_the_items() -> None:
    assert noise.expected(10_000, 0.8).sd == Prior().sd
    assert noise.expected(64, 0.5).sd == pytest.approx(1 / 16)


@given(SCORES)
def test_lifting_only_raises_and_never_the_upper_half(scores: list[float]) -> None:
    raised = noise.lifted(scores, Prior())
    assert all(after >= before for before, after in zip(scores, raised, strict=True))
    assert sorted(raised)[len(scores) // 2 :] == sorted(scores)[len(scores) // 2 :]


def test_a_failed_tuning_is_lifted() -> None:
    assert noise.lifted([0.86, 0.87, 0.04], Prior(sd=0.012)) == [0.86, 0.87, pytest.approx(0.86 - 0.024)]


@pytest.mark.parametrize(
    ("repeats", "expected"), [(1, (2,)), (3, (6,)), (5, (5, 10)), (20, (5, 10, 20, 40)), (8, (8, 16))]
)
def test_looks(repeats: int, expected: tuple[int, ...]) -> None:
    assert noise.looks(repeats) == expected


@given(st.integers(1, 40), st.data())
def test_all_looks_together_spend_alpha(repeats: int, data: st.DataObject) -> None:
    numbers = sorted(data.draw(st.sets(st.integers(1, 2 * repeats), min_size=1)))
    parts = [noise.spent(0.05, before, now, repeats) for before, now in pairwise([0, *numbers])]
    assert sum(parts) <= 0.05 + 1e-12
    assert noise.spent(0.05, 0, 2 * repeats, repeats) == pytest.approx(0.05)


def test_error_reference() -> None:
    """Student's t with the smaller degrees of freedom."""
    first, second = Scale(variance=0.0001, freedom=6), Scale(variance=0.0004, freedom=9)
    assert noise.error(first, 4, second, 8, 0.05) == pytest.approx(stats.t.ppf(0.95, 6) * math.sqrt(0.000075))


def test_scores_without_luck_have_no_error() -> None:
    scale = Scale(variance=0.0001, freedom=6)
    assert noise.error(scale, None, scale, None, 0.05) == 0
    assert noise.error(scale, 4, scale, None, 0.05) == pytest.approx(stats.t.ppf(0.95, 6) * 0.005)


@given(st.integers(2, 30), st.integers(2, 30), st.floats(0.0005, 0.2))
def test_more_tunings_narrow_the_error(first: int, second: int, alpha: float) -> None:
    scale, other = Scale(variance=0.0001, freedom=6), Scale(variance=0.0004, freedom=9)
    before = noise.error(scale, first, other, second, alpha)
    assert noise.error(scale, first + 1, other, second, alpha) < before
    assert noise.error(scale, first, other, second, alpha / 2) > before


@pytest.mark.parametrize("failing", [0.0, 0.15])
def test_h076_looking_again_and_again_does_not_make_a_bound_false(failing: float) -> None:
    """Noise as the prior has it; the second candidate fails now and then, and is bounded at its lifted scores."""
    random = np.random.default_rng(7)
    prior, alpha, sets, repeats = Prior(), 0.05, 600, 10
    false = 0
    for _ in range(sets):
        sds = np.sqrt(prior.freedom / random.chisquare(prior.freedom, 2)) * prior.sd
        x, y = random.normal(0.8, sds[0], repeats), random.normal(0.8, sds[1], repeats)
        y[random.random(repeats) < failing] -= 0.5
        false += _ever(x.tolist(), y.tolist(), -0.5 * failing, prior, alpha)
    assert false / sets <= alpha


def _ever(x: list[float], y: list[float], behind: float, prior: Prior, alpha: float) -> bool:
    """Whether at any look the first is said to be further ahead of the second than it is: 0.8 - (0.8 + behind)."""
    before = 0
    for now in (4, 8, 12, 20):
        first, second = x[: now // 2], noise.lifted(y[: now // 2], prior)
        task = noise.pooled([noise.lifted(first, prior), second], prior)
        a, b = noise.own(first, task, prior), noise.own(second, task, prior)
        error = noise.error(a, now // 2, b, now // 2, noise.spent(alpha, before, now, len(x)))
        if fmean(first) - fmean(second) - error > -behind:
            return True
        before = now
    return False
