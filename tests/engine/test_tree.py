"""The trie: every pair is answered once, from ids that are its own, and nothing is computed more often than needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.engine import tree
from basewright.engine.lm import Pair

IDS = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)
PAIRS = st.lists(st.builds(Pair, IDS, IDS), max_size=12)
LIMITS = st.builds(
    tree.Limits,
    branches=st.booleans(),
    prefixes=st.booleans(),
    shortest=st.integers(1, 4),
    saved=st.integers(1, 9),
    spread=st.integers(0, 9),
)


def groups(group: tree.Group, above: tuple[int, ...] = ()) -> Iterator[tuple[tree.Group, tuple[int, ...]]]:
    """Every group with all ids of its prefix."""
    prefix = above + group.prefix
    yield group, prefix
    for inner in group.groups:
        yield from groups(inner, prefix)


def seen(row: tree.Row, at: int) -> list[int]:
    """What the id at `at` sees of its own row, itself included."""
    ids: list[int] = []
    while at >= 0:
        begin, _, parent = next(segment for segment in row.segments if segment[0] <= at < segment[1])
        ids = row.ids[begin : at + 1] + ids
        at = parent
    return ids


@given(PAIRS, LIMITS)
def test_each_target_is_predicted_once_from_all_before_it(pairs: list[Pair], limits: tree.Limits) -> None:
    answered = []
    for group, prefix in groups(tree.plan(pairs, limits)):
        assert group.length == len(prefix)
        for row in [*group.rows, tree.Row(queries=group.queries)]:
            for query in row.queries:
                pair = pairs[query.place]
                assert len(query.at) == len(pair.continuation)
                for done, at in enumerate(query.at):
                    before = [*prefix, *seen(row, at)] if at >= 0 else list(prefix[: ~at + 1])
                    assert before == [*pair.context, *pair.continuation[:done]]
                answered.append(query.place)
    assert sorted(answered) == list(range(len(pairs)))


@given(PAIRS, LIMITS)
def test_no_plan_computes_less_than_the_trie_or_more_than_all_pairs(pairs: list[Pair], limits: tree.Limits) -> None:
    whole = sum(len(pair.context) + len(pair.continuation) - 1 for pair in pairs)
    assert tree.fewest(pairs) <= tree.positions(tree.plan(pairs, limits)) <= whole


@given(PAIRS.filter(bool))
def test_with_every_prefix_worth_keeping_the_bound_is_reached(pairs: list[Pair]) -> None:
    assert tree.positions(tree.plan(pairs, tree.Limits(shortest=1, saved=1, spread=0))) == tree.fewest(pairs)


@given(PAIRS, LIMITS)
def test_limits_are_kept(pairs: list[Pair], limits: tree.Limits) -> None:
    plan = tree.plan(pairs, limits)
    for group, _ in groups(plan):
        assert all(row.chain or limits.branches for row in group.rows)
        assert not group.groups or limits.prefixes
        assert all(len(inner.prefix) >= limits.shortest for inner in group.groups)


def test_few_shot_items_share_the_shots_and_choices_share_their_item() -> None:
    shots = tuple(range(100, 600))
    items = [(*shots, *range(1000 * n, 1000 * n + 60)) for n in range(1, 6)]
    choices = [(n, n + 1, n + 2) for n in range(10, 50, 10)]
    pairs = [Pair(item, choice) for item in items for choice in choices]
    plan = tree.plan(pairs, tree.Limits())
    assert [(len(g.prefix), len(g.rows)) for g in plan.groups] == [(500, 5)]
    assert [len(row.ids) for row in plan.groups[0].rows] == [60 + 4 * 2] * 5
    assert tree.positions(plan) == tree.fewest(pairs) == 500 + 5 * 68


def test_one_token_choices_need_their_context_only() -> None:
    pairs = [Pair(tuple(range(50)), (choice,)) for choice in range(4)]
    plan = tree.plan(pairs, tree.Limits())
    assert (len(plan.rows), len(plan.rows[0].ids)) == (1, 50)
    assert [query.at for query in plan.rows[0].queries] == [[49]] * 4


def test_a_long_chain_of_prefixes_is_no_recursion() -> None:
    ids = tuple(range(5000))
    pairs = [Pair(ids[:at], (at,)) for at in range(1, 5000)]
    assert tree.positions(tree.plan(pairs, tree.Limits())) == 4999


@pytest.mark.parametrize("limits", [tree.Limits(), tree.Limits(branches=False, prefixes=False)])
def test_nothing_is_one_empty_group(limits: tree.Limits) -> None:
    assert tree.positions(tree.plan([], limits)) == 0
