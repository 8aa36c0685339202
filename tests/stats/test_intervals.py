"""Intervals against published values and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.stats import intervals


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (score, no continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    found = intervals.proportion(successes, n)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_an_interval_holds_its_value_and_stays_in_range(case: tuple[int, int], confidence: float) -> None:
    found = intervals.proportion(*case, confidence)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 1e-12


def test_the_mean_interval_covers_at_its_level() -> None:
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(2000):
        found = intervals.mean(random.normal(3.0, 2.0, 12).tolist(), 0.9)
        hits += found.low <= 3.0 <= found.high
    assert 0.88 <= hits / 2000 <= 0.92


def test_one_value_says_nothing_about_the_mean() -> None:
    assert intervals.mean([0.4]).high > 1e300


def test_no_items_are_refused() -> None:
    with pytest.raises(ValueError, match="no proportion"):
        intervals.proportion(0, 0)
