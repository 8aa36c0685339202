"""The paired test against published values, and how often it names a winner where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.stats import paired


def test_newcombe_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17:2635-2650, method 10, 36 both right, 12 and 2 only one, none neither
    found = paired.difference(36, 12, 2, 50, 0.95)
    assert [found.low, found.high] == pytest.approx([0.0569, 0.3404], abs=1e-3)


def test_newcombe_interval_covers_at_its_level() -> None:
    random = np.random.default_rng(10)
    hits = 0
    for _ in range(2000):
        both, first, second, _ = random.multinomial(60, [0.4, 0.25, 0.1, 0.25])
        found = paired.difference(int(both), int(first), int(second), 60, 0.9)
        hits += found.low <= 0.15 <= found.high
    assert 0.87 <= hits / 2000 <= 0.94


def test_exact_p_by_hand() -> None:
    assert paired.exact_p(0, 0) == 1
    assert paired.exact_p(5, 0) == pytest.approx(2 / 32)
    assert paired.exact_p(8, 1) == pytest.approx(2 * (1 + 9) / 512)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_swapping_the_models_mirrors_the_comparison(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    one, two = paired.compare("a", a, "b", b), paired.compare("b", b, "a", a)
    assert one.difference.value == pytest.approx(-two.difference.value)
    assert one.difference.low == pytest.approx(-two.difference.high)
    assert one.p_value == pytest.approx(two.p_value)


def test_h076_the_same_skill_is_called_different_at_most_5_percent_of_the_time() -> None:
    random = np.random.default_rng(76)
    false = 0
    for _ in range(1000):
        difficulty = random.random(120)
        a, b = random.random(120) < difficulty, random.random(120) < difficulty
        false += paired.compare("a", a.tolist(), "b", b.tolist()).separated
    assert false <= 50


def test_a_real_difference_is_found() -> None:
    random = np.random.default_rng(77)
    found = 0
    for _ in range(200):
        a, b = random.random(150) < 0.8, random.random(150) < 0.5
        found += paired.compare("a", a.tolist(), "b", b.tolist()).separated
    assert found >= 190


def test_other_items_on_each_side_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        paired.compare("a", [True], "b", [True, False])
