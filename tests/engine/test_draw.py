"""Drawing: the distribution that was asked for, exact at its borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from basewright.engine import draw
from basewright.engine.lm import Sampling

LOGPROBS = np.log(np.array([0.1, 0.4, 0.2, 0.3]))


def counts(sampling: Sampling, n: int = 4000) -> list[int]:
    generator = np.random.default_rng(0)
    drawn = [draw.choose(LOGPROBS, sampling, generator) for _ in range(n)]
    return [drawn.count(i) for i in range(4)]


def test_temperature_one_draws_the_model() -> None:
    expected = np.exp(LOGPROBS) * 4000
    assert stats.chisquare(counts(Sampling(temperature=1.0)), expected).pvalue > 0.001


def test_a_temperature_sharpens_by_its_inverse_power() -> None:
    weights = np.exp(LOGPROBS) ** 2
    assert stats.chisquare(counts(Sampling(temperature=0.5)), weights / weights.sum() * 4000).pvalue > 0.001


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.0, {1}), (0.39, {1}), (0.41, {1, 3}), (0.69, {1, 3}), (0.71, {1, 2, 3})]
)
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: set[int]) -> None:
    found = counts(Sampling(temperature=1.0, top_p=top_p), 500)
    assert {i for i, count in enumerate(found) if count} == kept


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-9])
def test_no_temperature_is_the_likeliest(temperature: float) -> None:
    assert counts(Sampling(temperature=temperature), 50) == [0, 50, 0, 0]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40))
def test_log_softmax_is_a_distribution(logits: list[float]) -> None:
    assert np.exp(draw.log_softmax(np.array(logits))).sum() == pytest.approx(1)


def test_impossible_ids_are_never_drawn() -> None:
    logprobs = np.array([-np.inf, 0.0, -np.inf])
    generator = np.random.default_rng(1)
    assert {draw.choose(logprobs, Sampling(temperature=2.0), generator) for _ in range(100)} == {1}
