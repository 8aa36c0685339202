"""A winner only where the evidence names one, and never more work than measuring everything."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.choose import best
from basewright.errors import CannotSeparate, DoesNotFit
from basewright.records import Choice, Dropped
from tests.choose.told import Told, candidate, question, rival


def chosen(panel: Told, items: int = 400, **changes: object) -> Choice:
    return best.decide(question(**changes), items, [candidate(model) for model in panel.accuracy], (), panel)


def test_a_clear_winner_is_named_with_its_evidence() -> None:
    choice = chosen(Told({"weak": 0.4, "strong": 0.8}, seed_sd=0.012))
    assert (choice.verdict, choice.winner, choice.tied) == ("winner", "strong", ())
    assert [one.model for one in choice.ranked] == ["strong", "weak"]
    (duel,) = choice.duels
    assert (duel.first, duel.second, duel.outcome) == ("strong", "weak", "better")
    assert 0 < duel.low <= duel.on_items.low < duel.difference < duel.on_items.high <= duel.high
    assert best.require_winner(choice, "stop") == "strong"


def test_a_tie_stops_or_goes_on_with_the_cheapest_within_the_margin() -> None:
    panel = Told({"big": 0.6, "small": 0.6})
    candidates = [candidate("big", 900), candidate("small", 100)]
    choice = best.decide(question(margin=0.08), 300, candidates, (), panel)
    assert choice.verdict == "tie"
    assert set(choice.tied) == {"big", "small"}
    assert choice.winner == "small"
    with pytest.raises(CannotSeparate, match=r"cannot separate .* on \d+ items"):
        best.require_winner(choice, "stop")
    assert best.require_winner(choice, "cheapest") == "small"


def test_a_lead_that_is_not_proven_is_followed_all_the_same() -> None:
    """The cheapest of those tied, but only among those that score within the margin: 12 points are not thrown away."""
    panel = Told({"big": 0.66, "small": 0.5})
    choice = best.decide(question(repeats=1), 40, [candidate("big", 900), candidate("small", 100)], (), panel)
    assert choice.verdict == "tie"
    assert choice.duels[0].difference > 0.01
    assert choice.winner == choice.duels[0].first


def test_where_pilots_say_nothing_the_hint_decides_whom_to_go_on_with() -> None:
    panel = Told({"ab": 0.5, "ba": 0.5})  # names with the same letters draw the same luck
    candidates = [candidate("ab", 100), candidate("ba", 900)]
    picks = [
        best.decide(question(), 60, candidates, (), panel, hints=hints).winner
        for hints in ({"ab": -0.3, "ba": -0.2}, {"ab": -0.2, "ba": -0.3})
    ]
    assert picks == ["ba", "ab"]
    clear = Told({"ab": 0.9, "c": 0.2})
    candidates = [candidate("ab"), candidate("c")]
    assert best.decide(question(), 200, candidates, (), clear, hints={"ab": -0.3, "c": -0.2}).winner == "ab"


def test_a_proven_tie_is_an_answer_and_stops_nothing() -> None:
    """The same answers from both: no number of items could show a difference."""
    panel = Told({"ab": 0.6, "ba": 0.6}, gain=0.0)  # names with the same letters draw the same luck
    candidates = [candidate("ab", 900), candidate("ba", 100)]
    choice = best.decide(question(decides="few-shot", rungs=(), repeats=1), 3000, candidates, (), panel)
    assert choice.verdict == "tie"
    assert choice.duels[0].outcome == "tie within the margin"
    assert best.require_winner(choice, "stop") == "ba"


def test_one_candidate_is_its_own_winner() -> None:
    choice = chosen(Told({"only": 0.5}))
    assert (choice.verdict, choice.winner, choice.duels) == ("winner", "only", ())
    assert choice.ranked[0].score is not None


def test_few_shot_tunes_nothing() -> None:
    choice = chosen(Told({"a": 0.4, "b": 0.9}, gain=0.0), decides="few-shot", rungs=(), repeats=1)
    assert (choice.winner, choice.spent.tunings, choice.spent.examples) == ("b", 0, 0)
    assert choice.duels[0].seed_error == 0.0
    assert choice.ranked[0].few_shot is not None


def test_both_is_the_mean_of_the_two() -> None:
    choice = chosen(Told({"a": 0.5, "b": 0.9}, gain=0.0), decides="both")
    assert choice.winner == "b"
    one = choice.ranked[0]
    assert one.few_shot is not None
    assert one.score is not None
    assert one.few_shot.value - 0.1 < one.score.value < one.rungs[-1].accuracy.value + 0.1


def test_h076_a_small_thing_that_wins_is_said_to() -> None:
    panel = Told({"a": 0.5, "b": 0.52})
    rivals = [rival("TF-IDF", [True] * 270 + [False] * 30), rival("majority", [False] * 300)]
    choice = best.decide(question(), 300, [candidate("a"), candidate("b")], rivals, panel)
    assert choice.beaten_by == ("TF-IDF",)
    assert choice.winner in ("a", "b")
    against = {duel.second: duel for duel in choice.duels}
    assert against["TF-IDF"].outcome == "worse"
    assert against["majority"].outcome == "better"
    frontier = {one.model for one in choice.ranked if one.frontier}
    assert "TF-IDF" in frontier
    assert not frontier & {"a", "b"}


def test_who_cannot_take_part_is_listed_with_the_reason() -> None:
    out = Dropped(at="plan", when="before it was fetched", by="", reason="needs more than there is")
    choice = best.decide(question(), 100, [candidate("a"), candidate("huge", dropped=out)], (), Told({"a": 0.5}))
    assert choice.winner == "a"
    assert choice.ranked[-1].dropped == out
    with pytest.raises(DoesNotFit, match="no candidate can take part") as caught:
        best.decide(question(), 100, [candidate("huge", dropped=out)], (), Told({}))
    assert "needs more than there is" in caught.value.fix


def test_a_far_loser_leaves_early_and_costs_less() -> None:
    panel = Told({"good": 0.9, "fair": 0.88, "hopeless": 0.2}, last=1600)
    choice = chosen(panel, rungs=(200, 400, 800, 1600))
    last = choice.ranked[-1]
    assert last.model == "hopeless"
    assert last.dropped is not None
    assert choice.spent.examples < choice.exhaustive.examples
    assert last.spent.examples < max(one.spent.examples for one in choice.ranked)


@settings(max_examples=40, deadline=None)
@given(
    accuracies=st.lists(st.floats(0.1, 0.9), min_size=1, max_size=6),
    items=st.integers(20, 500),
    decides=st.sampled_from(["tuned", "few-shot", "both"]),
    repeats=st.integers(1, 4),
    draw=st.integers(0, 10_000),
)
def test_never_more_than_exhaustive_and_always_an_end(
    accuracies: list[float], items: int, decides: str, repeats: int, draw: int
) -> None:
    panel = Told({f"m{i}": value for i, value in enumerate(accuracies)}, seed_sd=0.01, draw=draw)
    tuned = decides != "few-shot"
    choice = chosen(panel, items, decides=decides, repeats=repeats if tuned else 1, rungs=(200, 400) if tuned else ())
    spent, most = choice.spent, choice.exhaustive
    assert (spent.examples <= most.examples, spent.evaluations <= most.evaluations) == (True, True)
    assert spent.tunings <= most.tunings
    assert max(Counter(panel.asked).values()) == 1  # nothing is asked twice
    assert spent.evaluations == len(panel.asked)
    assert choice.winner in panel.accuracy


def test_a_budget_is_kept() -> None:
    panel = Told({f"m{i}": 0.5 + 0.01 * i for i in range(8)}, last=1600)
    choice = chosen(panel, rungs=(200, 400, 800, 1600), budget=9000)
    assert choice.spent.examples <= 9000
    assert any(one.dropped and one.dropped.at == "budget" for one in choice.ranked)


def test_a_newcomer_costs_its_own_evaluations() -> None:
    """What the others answered is not asked again; small pools are known whole, so nothing else is asked either."""
    first = Told({"a": 0.5, "b": 0.7})
    chosen(first, 250, repeats=1)
    more = Told({"a": 0.5, "b": 0.7, "c": 0.6})
    chosen(more, 250, repeats=1)
    assert {key for key in more.asked if key[0] != "c"} <= set(first.asked)


@pytest.mark.parametrize("models", [2, 5])
@pytest.mark.parametrize("decides", ["few-shot", "tuned"])
def test_h076_h077_among_equals_a_winner_is_named_at_most_5_percent_of_the_time(models: int, decides: str) -> None:
    named = 0
    tuned = decides == "tuned"
    for draw in range(200):
        panel = Told({f"m{i}": 0.6 for i in range(models)}, seed_sd=0.012, draw=draw)
        choice = chosen(panel, 120, decides=decides, rungs=(400,) if tuned else (), repeats=2 if tuned else 1)
        named += choice.verdict == "winner"
    assert named <= 10


def test_the_same_question_has_the_same_answer() -> None:
    panels = [Told({"a": 0.55, "b": 0.6, "c": 0.3}, seed_sd=0.012) for _ in range(2)]
    assert chosen(panels[0]) == chosen(panels[1])
