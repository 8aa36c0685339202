"""One sentence at several depths: where it stands, and that the shots do not give it away."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import DataError
from basewright.evaluate import depth
from basewright.evaluate import task as tasks
from basewright.evaluate.run import run
from tests.evaluate.own import Told, write

FILLER = "One two three. Four five six! Seven eight nine? Ten eleven."
TOML = """kind = "generate"
prompt = "{haystack}\\nQ: {question}\\nA:"
shots = 1
stops = ["\\n"]
[columns]
evidence = "fact"
[depth]
depths = [0, 0.5, 1]
filler = "filler.txt"
words = 11
"""
DATA = [{"fact": f"Thing {n} is {n}.", "question": f"What is thing {n}?", "answer": str(n)} for n in range(4)]


@given(st.floats(0, 1), st.integers(1, 40))
def test_the_evidence_stands_between_two_sentences(at: float, count: int) -> None:
    words = depth.words(FILLER, count)
    assert len(words) == count
    text = depth.buried("HERE.", words, at)
    before, after = text.split("HERE.")
    assert not before or before[-2] in ".!?" or not after
    assert " ".join((before + after).split()) == " ".join(words)


def test_ends_and_middle() -> None:
    words = depth.words(FILLER, 11)
    assert depth.buried("E.", words, 0) == f"E. {FILLER}"
    assert depth.buried("E.", words, 1) == f"{FILLER} E."
    assert depth.buried("E.", words, 0.5) == FILLER.replace("six!", "six! E.")
    with pytest.raises(DataError, match="no words"):
        depth.words(" \n", 3)


def test_results_are_split_by_depth_and_a_shot_shows_the_evidence_alone(tmp_path: Path) -> None:
    (tmp_path / "filler.txt").write_text(FILLER, "utf-8")
    task = tasks.load(write(tmp_path, TOML, DATA))

    def early(prompt: str) -> str:
        """Finds what stands in the first half of the text."""
        text, question = prompt.split("\n\n")[1].split("\nQ: ")
        number = question.split("?")[0].split()[-1]
        return number if text.index(f"Thing {number}") < 40 else "?"

    lm = Told(write=early)
    scores = run(lm, task)
    assert {name: one["exact_match"].value for name, one in scores.parts.items()} == {
        "depth 0": 1,
        "depth 0.5": 1,
        "depth 1": 0,
    }
    assert (len(scores.items), scores.expected) == (12, 12)
    assert scores.metrics["exact_match"].method == "Wilson, clustered"
    assert {item.item.split("@")[1] for item in scores.items} == {"0", "0.5", "1"}
    for one in lm.asked:
        shot, asked = one.context.split("\n\n")
        assert shot.startswith("Thing ")
        assert shot.split("\n")[1] != asked.split("\n")[1]  # h078: not the same question without its filler
