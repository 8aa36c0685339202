"""The ladder of pilots: who is dropped and why, what it costs at most, and that equals are not called separated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.choose import ladder
from basewright.errors import UsageError

RUNGS = (200, 400, 800)


class Pilots:
    """Pilots of simulated models, counted: each has an accuracy and a scale of bits; both grow better up the ladder."""

    def __init__(self, skills: dict[str, tuple[float, float]], items: int = 500, seed: int = 0) -> None:
        self.skills = skills
        self.asked: list[tuple[str, int]] = []
        random = np.random.default_rng(seed)
        self.luck = {name: random.random(items) for name in skills}
        self.hard = random.gamma(2, 0.5, items)

    def __call__(self, name: str, examples: int) -> ladder.Measured:
        self.asked.append((name, examples))
        accuracy, bits = self.skills[name]
        return ladder.Measured(right=self.luck[name] < accuracy, bits=bits * self.hard * (examples / 200) ** -0.1)

    @property
    def spent(self) -> int:
        return sum(examples for _, examples in self.asked)


def climb(
    pilots: Pilots,
    rungs: Sequence[int] = RUNGS,
    *,
    margin: float = 0.01,
    budget: int | None = None,
    prior: dict[str, float] | None = None,
) -> ladder.Climb:
    return ladder.climb(
        list(pilots.skills), rungs, pilots, target=3200, margin=margin, confidence=0.95, budget=budget, prior=prior
    )


EQUAL = dict.fromkeys("abcd", (0.7, 1.0))
SPREAD = {"good": (0.9, 0.4), "near": (0.89, 0.42), "bad": (0.5, 1.6), "worse": (0.4, 2.0)}


def test_without_a_reason_all_go_to_the_top() -> None:
    pilots = Pilots(EQUAL)
    found = climb(pilots)
    assert found.survivors == tuple(EQUAL)
    assert pilots.asked == [(name, rung) for rung in RUNGS for name in EQUAL]
    assert found.examples == pilots.spent == 4 * sum(RUNGS)
    forecast = found.ascents["a"].forecast
    assert forecast is not None
    assert forecast.examples == 3200
    assert forecast.bits.low < forecast.bits.value < forecast.bits.high


def test_those_left_behind_are_dropped_by_their_curve() -> None:
    found = climb(Pilots(SPREAD))
    assert found.survivors == ("good", "near")
    for name in ("bad", "worse"):
        dropped = found.ascents[name].dropped
        assert dropped is not None
        assert (dropped.at, dropped.by in found.survivors) == ("curve", True)
        assert dropped.when == "after pilots of 200, 400 examples"  # one rung has no slope, so nothing is sure before
        assert "points behind after 400 examples" in dropped.reason


def test_no_drop_while_the_curve_may_still_cross() -> None:
    pilots = Pilots({"first": (0.9, 1.0), "late": (0.5, 1.0), "third": (0.5, 1.0)})
    assert climb(pilots).survivors == ("first", "late", "third")


def test_no_drop_within_the_margin() -> None:
    assert climb(Pilots(SPREAD), margin=0.6).survivors == tuple(SPREAD)


def test_two_reach_the_top_however_far_behind() -> None:
    found = climb(Pilots({"good": (0.95, 0.2), "bad": (0.3, 3.0)}))
    assert found.survivors == ("good", "bad")


def test_equals_are_seldom_separated() -> None:
    """Bits are made to part, so that the test on items alone decides: 4 candidates, 2 looks, 150 sets of items."""
    skills = {name: (0.7, scale) for name, scale in zip("abcd", (0.1, 1.0, 5.0, 25.0), strict=True)}
    wrong = sum(len(climb(Pilots(skills, 100, seed), (200, 400, 500), margin=0.0).survivors) < 4 for seed in range(150))
    assert wrong <= 15  # 5 % of 150, and three standard errors


# --- budgets --------------------------------------------------------------------------------------


def test_a_budget_halves_by_forecast() -> None:
    skills = {name: (0.5, 2 - place / 10) for place, name in enumerate("abcdefgh")}
    pilots = Pilots(skills)
    found = climb(pilots, budget=2 * 1400 + 6 * 200)
    assert found.survivors == ("g", "h")
    assert pilots.spent == found.examples <= 2 * 1400 + 6 * 200
    dropped = found.ascents["a"].dropped
    assert dropped is not None
    assert (dropped.at, dropped.by, dropped.when) == ("budget", "h", "after pilots of 200 examples")


def test_a_budget_for_one_takes_one_to_the_top() -> None:
    pilots = Pilots(EQUAL)
    found = climb(pilots, budget=1400)
    assert (found.survivors, pilots.spent) == (("a",), 1400)
    left = found.ascents["d"]
    assert left.dropped is not None
    assert (left.forecast, left.dropped.when, left.dropped.by) == (None, "before any pilot", "")


def test_history_orders_where_nothing_is_measured_and_is_outvoted_later() -> None:
    assert climb(Pilots(EQUAL), budget=1400, prior={"c": 0.8, "a": 0.7}).survivors == ("c",)
    pilots = Pilots({name: (0.5, 1 + place) for place, name in enumerate("abcd")})
    assert climb(pilots, budget=2 * 1400 + 400, prior={"a": 3, "b": 4, "c": 2, "d": 1}).survivors == ("a", "b")


def test_history_does_not_touch_what_is_dropped_by_curve() -> None:
    prior = {"bad": 0.9, "worse": 0.9, "good": 0.1, "near": 0.1}
    assert climb(Pilots(SPREAD), prior=prior).survivors == climb(Pilots(SPREAD)).survivors


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.2, 0.95), st.floats(0.1, 5)), min_size=1, max_size=7),
    st.lists(st.integers(1, 900), min_size=1, max_size=5, unique=True).map(sorted),
    st.floats(1, 8),
    st.booleans(),
)
def test_laws_of_the_ladder(skills: list[tuple[float, float]], rungs: list[int], ladders: float, limited: bool) -> None:
    pilots = Pilots({f"m{place}": skill for place, skill in enumerate(skills)}, items=60)
    budget = int(ladders * sum(rungs)) if limited else None
    found = climb(pilots, rungs, budget=budget)
    assert len(set(pilots.asked)) == len(pilots.asked)
    assert found.examples == pilots.spent <= len(skills) * sum(rungs)
    assert budget is None or pilots.spent <= budget
    two = budget is None or budget >= 2 * sum(rungs)
    assert len(found.survivors) >= min(len(skills), 2 if two else 1)
    for name, ascent in found.ascents.items():
        assert tuple(ascent.measured) == tuple(rungs[: len(ascent.measured)])
        assert (ascent.dropped is None) == (len(ascent.measured) == len(rungs)) == (name in found.survivors)
        assert (ascent.forecast is None) == (not ascent.measured)


def test_what_cannot_be_climbed_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot pay one candidate's pilots, which see 1400") as caught:
        climb(Pilots(EQUAL), budget=1399)
    assert "1400" in caught.value.fix
    for rungs in ([], [0, 200], [400, 200], [200, 200]):
        with pytest.raises(UsageError, match="rungs must ascend"):
            climb(Pilots(EQUAL), rungs)
    for names in ([], ["a", "a"]):
        with pytest.raises(UsageError, match="each named once"):
            ladder.climb(names, RUNGS, Pilots(EQUAL), target=800, margin=0.01, confidence=0.95, budget=None, prior=None)


# --- standing -------------------------------------------------------------------------------------


def test_standing_is_by_forecast_and_by_both_with_history() -> None:
    forecasts = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert ladder.standing(forecasts, {}) == ["a", "b", "c"]
    assert ladder.standing(forecasts, {"a": 1, "b": 9, "c": 5}) == ["b", "a", "c"]
    assert ladder.standing(forecasts, {"a": 5, "c": 9}) == ["a", "b", "c"]  # b, unknown, stands between the two known


def test_standing_does_not_depend_on_the_order_of_candidates() -> None:
    forecasts = {"a": 1.0, "b": 2.0, "c": 3.0}
    turned = dict(reversed(forecasts.items()))
    prior = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert ladder.standing(forecasts, prior) == ladder.standing(turned, prior)
