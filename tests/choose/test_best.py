"""A winner only where the evidence names one."""

from __future__ import annotations

import numpy as np
import pytest

from basewright.choose import best
from basewright.errors import CannotSeparate, UsageError
from basewright.records import How, ItemScore, Scores
from basewright.stats import intervals

HOW = How(
    engine="fake", precision="float32", weights="", shots=0, sampler="none", normalisation="sum", stops=(),
    prompt_hash="0", prompt="", prompt_ids=(), bos=1,
)  # fmt: skip


def scores(model: str, right: list[bool], first_item: int = 0) -> Scores:
    items = tuple(
        ItemScore(item=str(first_item + i), answer="a", values={"accuracy": float(ok), "bits": 0.5 if ok else 2.0})
        for i, ok in enumerate(right)
    )
    return Scores(
        model=model, task="t", version="1", split="choose", majority=0.5, items=items, expected=len(items), how=HOW,
        metrics={
            "accuracy": intervals.proportion(sum(right), len(right)),
            "bits": intervals.mean([score.bits for score in items]),
        },
    )  # fmt: skip


def evidence(model: str, right: list[bool], parameters: int = 100, first_item: int = 0) -> best.Evidence:
    one = scores(f"{model} tuned", right, first_item)
    return best.Evidence(model=model, parameters=parameters, few_shot=one, pilot=one, pilot_examples=10)


def test_a_clear_winner() -> None:
    choice = best.best(
        "t", [evidence("b", [False] * 60 + [True] * 40), evidence("a", [True] * 90 + [False] * 10)], 0.95
    )
    assert (choice.verdict, choice.winner, choice.tied) == ("winner", "a", ())
    assert [standing.model for standing in choice.ranked] == ["a", "b"]
    assert best.require_winner(choice, "stop") == "a"
    assert (choice.evaluations, choice.examples) == (400, 20)


def test_a_tie_stops_or_takes_the_cheapest() -> None:
    close = [evidence("big", [True] * 51 + [False] * 49, 900), evidence("small", [True] * 50 + [False] * 50, 100)]
    choice = best.best("t", close, 0.95)
    assert (choice.verdict, choice.winner, choice.tied) == ("tie", "small", ("big", "small"))
    with pytest.raises(CannotSeparate, match="cannot separate big, small on 100 items"):
        best.require_winner(choice, "stop")
    assert best.require_winner(choice, "cheapest") == "small"


def test_one_candidate_is_its_own_winner() -> None:
    choice = best.best("t", [evidence("a", [True, False])], 0.95)
    assert (choice.verdict, choice.winner, choice.comparisons) == ("winner", "a", ())


def test_other_items_do_not_compare() -> None:
    with pytest.raises(UsageError, match="other items"):
        best.best("t", [evidence("a", [True]), evidence("b", [True], first_item=5)], 0.95)


@pytest.mark.parametrize("candidates", [2, 5])
def test_h076_h077_among_equals_a_winner_is_named_at_most_5_percent_of_the_time(candidates: int) -> None:
    random = np.random.default_rng(candidates)
    named = 0
    for _ in range(300):
        difficulty = random.random(60)
        tied = [evidence(f"m{i}", (random.random(60) < difficulty).tolist()) for i in range(candidates)]
        named += best.best("t", tied, 0.95).verdict == "winner"
    assert named <= 15
