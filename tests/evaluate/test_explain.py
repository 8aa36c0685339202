"""How far a score moves when only the way of asking does: known models, known moves."""

from __future__ import annotations

from typing import Any

import pytest

from basewright.engine.fake import FakeLM
from basewright.evaluate.explain import Change, explain
from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

CHOICE: dict[str, Any] = {"kind": "choice", "prompt": "Q: {q}\nA:", "normalisation": "sum"}
ROWS = [{"q": f"q{n}", "choices": ["short", "the longest of all"], "answer": n % 2} for n in range(20)]


def by_name(changes: list[Change]) -> dict[str, Change]:
    return {change.what: change for change in changes}


def test_what_depends_on_the_layout_moves_and_what_does_not_stays() -> None:
    """A model that is right after a space, and always says `short` else."""

    def tell(context: str, text: str) -> float:
        if text[0] != " ":
            return -float(len(text))
        right = int(context.removesuffix("\nA:").split("q")[-1]) % 2 if "q" in context else 0
        return -1.0 if (text == " short") == (right == 0) else -2.0

    found = by_name(explain(Told(tell), make(CHOICE, *ROWS)))
    base = found["as it stands"].score
    assert base is not None
    assert (base.value, found["as it stands"].difference) == (1, None)
    line = found["a new line before the answer"].difference
    assert line is not None
    assert (line.value, line.n) == pytest.approx((-0.5, 20))
    assert line.high < 0
    for same in ("without the start token", "5 shots", "normalisation: acc_mutual_info"):
        difference = found[same].difference
        assert difference is not None
        assert difference.low <= difference.value == 0 <= difference.high
    bytes_ = found["normalisation: acc_bytes"]
    assert bytes_.score is not None
    assert bytes_.score.value == 0.5  # -1 of 5 letters is always more than either of 18


def test_shots_separators_and_ratings() -> None:
    rows = [{"text": f"text {n}", "rating": n % 3} for n in range(9)]
    raw = {"kind": "rating", "prompt": "{text}:", "scale": [0, 1, 2], "shots": 2, "separator": "\n###\n"}
    names = list(by_name(explain(FakeLM("f"), make(raw, *rows))))
    assert names == [
        "as it stands",
        "without the start token",
        "the expected number",
        "nothing before the answer",
        "a new line before the answer",
        "no shots",
        "a new line between shots",
        "an empty line between shots",
    ]


def test_what_cannot_be_asked_says_so() -> None:
    found = by_name(explain(FakeLM("f"), make(CHOICE, *ROWS[:3])))
    assert (found["5 shots"].score, found["5 shots"].difference) == (None, None)
    assert "only 2 rows" in found["5 shots"].note


def test_the_start_token_of_documents_and_free_answers() -> None:
    task = make({"kind": "perplexity"}, {"text": "abc"}, {"text": "a longer text than that"})
    found = explain(FakeLM("f"), task)
    assert [change.what for change in found] == ["as it stands", "without the start token"]
    change = found[1].difference
    assert change is not None
    assert change.value == 0  # END starts and separates: without BOS a text is conditioned on EOS, the same token
    names = by_name(explain(FakeLM("f"), make({"kind": "span", "prompt": "{q}:"}, {"q": "x", "answer": "y"})))
    assert set(names) == {"as it stands", "without the start token", "5 shots"}


def test_a_flipped_start_token_leaves_the_model_as_it_was() -> None:
    lm = FakeLM("f")
    before = run(lm, make(CHOICE, *ROWS))
    explain(lm, make(CHOICE, *ROWS))
    assert lm.tokenizer.bos
    assert run(lm, make(CHOICE, *ROWS)) == before
