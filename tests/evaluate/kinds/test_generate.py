"""Free answers: what counts as equal, what a pattern finds, and that finding nothing is a rate of its own."""

from __future__ import annotations

from typing import Any

import pytest

from basewright.errors import DataError
from basewright.evaluate.kinds import generate
from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

GENERATE: dict[str, Any] = {"kind": "generate", "prompt": "Q: {q}\nA:"}
NUMBER: dict[str, Any] = {
    **GENERATE,
    "extract": r"answer is (-?[0-9.,]+)",
    "normalise": ["spaces", "ending", "thousands"],
}


def score(raw: dict[str, Any], gold: Any, written: str) -> dict[str, float]:
    (item,) = run(Told(write=lambda _prompt: written), make(raw, {"q": "x", "answer": gold})).items
    return item.values


@pytest.mark.parametrize(
    ("written", "exact", "contains", "failed"),
    [
        (" 7 + 5 = 12. The answer is 12.", 1, 1, 0),
        ("The answer is 1,2", 0, 0, 0),
        ("The answer is 112.", 0, 0, 0),
        ("So 12.", 0, 1, 1),
        ("The answer is twelve", 0, 0, 1),
        ("The answer is 3. No, the answer is 12.", 0, 1, 0),
        ("", 0, 0, 1),
    ],
)
def test_h079_golden_transcripts(written: str, exact: float, contains: float, failed: float) -> None:
    assert score(NUMBER, "12", written) == {"exact_match": exact, "contains": contains, "extraction_failed": failed}


def test_h079_failures_are_a_rate_beside_the_score() -> None:
    lm = Told(write=lambda prompt: "the answer is 1" if "even" in prompt else "one")
    rows = [{"q": f"{'even' if n % 4 else 'odd'} {n}", "answer": "1"} for n in range(8)]
    scores = run(lm, make(NUMBER, *rows))
    assert (scores.metrics["extraction_failed"].value, scores.metrics["exact_match"].value) == (0.25, 0.75)


def test_which_match_and_which_part_of_it() -> None:
    assert generate.extracted("[0-9]+", "3 of 12", "first") == "3"
    assert generate.extracted("[0-9]+", "3 of 12", "last") == "12"
    assert generate.extracted("is ([a-z]*)", "it is 9", "first") == ""
    assert generate.extracted("(a)|(b)", "b", "first") == ""
    assert generate.extracted("x", "it is 9", "first") is None
    last = {**NUMBER, "take": "last"}
    assert score(last, "12", "The answer is 3. No, the answer is 12.")["exact_match"] == 1


def test_the_right_answer_by_a_pattern_and_the_whole_of_it_in_shots() -> None:
    raw = {**NUMBER, "gold": "#### (.+)", "shots": 1}
    rows = [{"q": "x", "answer": "1 + 1 = 2\n#### 2"}, {"q": "y", "answer": "2 + 2 = 4\n#### 4"}]
    lm = Told(write=lambda prompt: "the answer is 2" if prompt.endswith("x\nA:") else "the answer is 4")
    scores = run(lm, make(raw, *rows))
    assert scores.metrics["exact_match"].value == 1
    assert {one.context for one in lm.asked} == {
        "Q: y\nA: 2 + 2 = 4\n#### 4\n\nQ: x\nA:",
        "Q: x\nA: 1 + 1 = 2\n#### 2\n\nQ: y\nA:",
    }
    with pytest.raises(DataError, match="line 1: the pattern gold finds nothing"):
        make(raw, {"q": "x", "answer": "2"})


def test_several_right_answers_and_what_makes_no_difference() -> None:
    raw = {**GENERATE, "normalise": ["case", "articles", "punctuation", "spaces"]}
    assert score(raw, ["USA", "the United States"], " United   states. ")["exact_match"] == 1
    assert score(GENERATE, ["USA", "the United States"], "United States")["exact_match"] == 0
    assert score(GENERATE, 12, "12")["exact_match"] == 1
    assert score(raw, "the", "anything")["contains"] == 0


@pytest.mark.parametrize(("gold", "text", "held"), [("2", "12", False), ("2", "= 2.", True), ("cat", "cats", False)])
def test_a_part_of_a_word_or_number_is_not_the_answer(gold: str, text: str, held: bool) -> None:
    assert generate.held(gold, text) is held


def test_how_it_was_made() -> None:
    how = run(Told(), make({**NUMBER, "stops": ["\n", "Q:"], "max_tokens": 9}, {"q": "x", "answer": "1"})).how
    assert how.stops == ("\n", "Q:")
    assert how.normalisation == "greedy, 9 tokens at most; alike but for thousands, ending, spaces"
