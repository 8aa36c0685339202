"""The race promises a winner or a tie at a confidence, asks each item once, and always ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from basewright.choose import race
from basewright.choose.board import Until
from basewright.choose.race import About, Race

MARGIN = 0.01


class Table:
    """Entrants whose answers are known, and a note of every item they were asked."""

    def __init__(self, values: NDArray[np.float64], names: str = "abcdefghijklmnopqrstuvwxyz") -> None:
        self.names = list(names[: len(values)])
        self.values = dict(zip(self.names, values, strict=True))
        self.items = values.shape[1]
        self.asked: dict[str, list[int]] = {name: [] for name in self.names}

    def answer(self, name: str, places: Sequence[int]) -> list[float]:
        self.asked[name] += places
        return [float(self.values[name][place]) for place in places]

    def run(
        self,
        seed: int = 1,
        until: Until = "settled",
        about: About = "pool",
        prior: dict[str, float] | None = None,
        margin: float = MARGIN,
    ) -> Race:
        return race.run(
            self.names,
            self.items,
            self.answer,
            seed=seed,
            margin=margin,
            confidence=0.95,
            until=until,
            about=about,
            order_prior=prior,
        )


def drawn(shares: Sequence[float], items: int, seed: int) -> NDArray[np.float64]:
    """Right or wrong answers, each entrant right on exactly its share of the items."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(np.arange(items) < round(share * items)) for share in shares]
    return np.array(rows, np.float64)


def broken(found: Race, values: NDArray[np.float64], names: Sequence[str]) -> bool:
    """Whether the best is lost, or somebody named is worse by more than the margin."""
    means = dict(zip(names, values.mean(axis=1), strict=True))
    best = max(means.values())
    named = {*found.tied, *([] if found.verdict == "not separated" else [found.leader])}
    lost = {one.model for one in found.lost}
    return lost >= {name for name in names if means[name] == best} or any(
        best - means[name] > found.margin + 1e-9 for name in named
    )


def test_a_clear_winner_is_found_early() -> None:
    found = (table := Table(drawn([0.6, 0.9, 0.55, 0.3], 2000, 1))).run()
    assert (found.leader, found.verdict, found.tied, found.left) == ("b", "winner", (), ())
    assert {one.model for one in found.lost} == {"a", "c", "d"}
    assert all(one.e_value >= 20 and 0 < one.items == found.asked[one.model] for one in found.lost)
    assert sum(found.asked.values()) < 0.1 * 4 * table.items


def test_equal_answers_are_a_tie_before_the_pool_is_through() -> None:
    found = Table(np.tile(drawn([0.7], 4000, 2), (3, 1))).run()
    assert found.verdict == "tie"
    assert set(found.tied) == {"a", "b", "c"}
    assert found.lost == ()
    assert max(found.asked.values()) < 4000


def test_the_whole_pool_is_known_exactly() -> None:
    found = Table(drawn([0.70, 0.695, 0.65], 200, 3)).run()
    assert found.asked == {"a": 200, "b": 200, "c": found.asked["c"]}
    assert (found.leader, found.verdict, found.tied) == ("a", "tie", ("a", "b"))
    found = Table(drawn([0.70, 0.685], 200, 3)).run()
    assert (found.leader, found.verdict) == ("a", "winner")
    assert found.lost[0].e_value == pytest.approx(1e300)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.integers(1, 80),
    st.integers(0, 10**6),
    st.sampled_from(["named", "settled"]),
    st.sampled_from(["pool", "future"]),
    st.booleans(),
)
def test_it_ends_and_asks_the_beginning_of_one_order(
    shares: list[float], items: int, seed: int, until: Until, about: About, prior: bool
) -> None:
    table = Table(drawn(shares, items, seed))
    found = table.run(seed, until, about, {"a": 0.5, "b": 0.9} if prior else None)
    places = race.order(items, seed)
    assert sorted(places) == list(range(items))
    for name in table.names:
        assert table.asked[name] == places[: found.asked[name]]
    lost = [one.model for one in found.lost]
    others = {*found.tied, found.leader, *found.left, *lost}
    assert others == set(table.names)
    assert len(set(lost)) == len(lost) < len(table.names)
    assert found.leader not in {*found.left, *lost}
    if about == "pool":
        assert found.verdict != "not separated"
        if until == "settled":
            assert found.left == ()


def test_an_entrant_that_joins_later_changes_no_ones_order() -> None:
    values = drawn([0.62, 0.6, 0.58, 0.64], 600, 5)
    few, all_of_them = Table(values[:3]), Table(values)
    few.run(7)
    all_of_them.run(7)
    for name in few.names:
        shorter, longer = sorted((few.asked[name], all_of_them.asked[name]), key=len)
        assert longer[: len(shorter)] == shorter


def test_who_pauses_catches_up_when_another_leads() -> None:
    """`c` is shown to be no better than `a`, who led by luck of the order; then `b` does, and `c` is asked what it
    missed, in order."""
    paused = resumed = 0
    for seed in range(15):
        table = Table(drawn([0.60, 0.61, 0.585], 3000, seed))
        pieces: list[tuple[str, int]] = []

        def answer(
            name: str, places: Sequence[int], table: Table = table, to: list[tuple[str, int]] = pieces
        ) -> list[float]:
            to.append((name, len(places)))
            return table.answer(name, places)

        found = race.run(table.names, 3000, answer, seed=seed, margin=MARGIN, confidence=0.95, until="named")
        paused += len({*found.asked.values()}) > 1
        resumed += any(size > 3000 // 16 for _, size in pieces)
        for name in table.names:
            assert table.asked[name] == race.order(3000, seed)[: found.asked[name]]
    assert paused > 5
    assert resumed > 0


# --- the promise ----------------------------------------------------------------------------------

LADDERS = {
    "a chain of near ties": [0.600, 0.593, 0.586, 0.579, 0.572, 0.565],
    "two just beyond the margin": [0.60, 0.589, 0.589],
    "one better than many equals": [0.6125, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6],
}


def at_most(wrong: int, orders: int) -> bool:
    """Whether so many wrong ones are no more than 5 % and the luck of two standard errors."""
    return wrong <= 0.05 * orders + 2 * math.sqrt(0.05 * 0.95 * orders)


def wrong_claims(shares: Sequence[float], items: int, until: Until, orders: int) -> int:
    table = Table(drawn(shares, items, 11))
    values = np.array(list(table.values.values()))
    return sum(broken(table.run(seed, until), values, table.names) for seed in range(orders))


@pytest.mark.parametrize("shares", LADDERS.values(), ids=list(LADDERS))
def test_false_claims_are_rarer_than_stated(shares: list[float]) -> None:
    """Chains are where a rule that hands evidence from leader to leader ends two margins down."""
    assert at_most(wrong_claims(shares, 800, "named", 40), 40)


@pytest.mark.slow
@pytest.mark.parametrize("until", ["named", "settled"])
@pytest.mark.parametrize("shares", LADDERS.values(), ids=list(LADDERS))
def test_false_claims_are_rarer_than_stated_over_many_orders(shares: list[float], until: Until) -> None:
    assert at_most(wrong_claims(shares, 1200, until, 600), 600)


def test_a_wrong_prior_costs_items_and_not_the_promise() -> None:
    values = drawn([0.66, 0.62, 0.58, 0.5], 800, 12)
    table = Table(values)
    right = {"a": 0.66, "b": 0.62, "c": 0.58, "d": 0.5}
    upside_down = {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.99}
    wrong, cost = 0, {"right": 0, "wrong": 0}
    for seed in range(30):
        found = table.run(seed, prior=upside_down)
        wrong += broken(found, values, table.names)
        cost["wrong"] += sum(found.asked.values())
        cost["right"] += sum(table.run(seed, prior=right).asked.values())
    assert at_most(wrong, 30)
    assert cost["right"] < cost["wrong"]


def test_equals_on_future_items_have_no_winner() -> None:
    random = np.random.default_rng(13)
    verdicts = [
        Table((random.random((3, 300)) < 0.6).astype(np.float64)).run(seed, about="future").verdict
        for seed in range(60)
    ]
    assert at_most(verdicts.count("winner"), 60)
    assert verdicts.count("not separated") > 40


def test_values_between_right_and_wrong_are_raced_too() -> None:
    random = np.random.default_rng(14)
    found = Table(np.clip(random.normal([[0.55], [0.5], [0.45]], 0.1, (3, 3000)), 0, 1)).run()
    assert (found.leader, found.verdict) == ("a", "winner")
    assert sum(found.asked.values()) < 3000


def test_one_entrant_is_asked_nothing() -> None:
    found = Table(drawn([0.5], 50, 15)).run()
    assert (found.leader, found.verdict, found.asked) == ("a", "winner", {"a": 0})


def test_what_cannot_be_raced_is_refused() -> None:
    for names in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="entrants"):
            race.run(names, 10, lambda _name, places: [0.0] * len(places), seed=1, margin=0.01, confidence=0.95)
    for bad in ([2.0] * 8, [0.5], [float("nan")] * 8):
        with pytest.raises(ValueError, match="value in"):
            race.run(["a", "b"], 80, lambda _n, _p, bad=bad: bad, seed=1, margin=0.01, confidence=0.95)  # type: ignore[misc]
