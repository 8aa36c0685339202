"""Labels in words: accuracy, macro F1 and bits, against their definitions."""

from __future__ import annotations

import math

import pytest

from basewright.errors import DataError
from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

CLASSIFY = {"kind": "classify", "prompt": "T: {text}\nL:"}
ROWS = [{"text": f"{word} {n}", "label": word} for n in range(4) for word in ("good", "bad", "plain")]


def test_known_answers() -> None:
    """Right on good and bad, and plain taken for good."""
    likes = {"good": " good", "bad": " bad", "plain": " good"}
    lm = Told(lambda context, text: -1.0 if text == likes[context.split()[1]] else -3.0)
    scores = run(lm, make(CLASSIFY, *ROWS))
    assert list(scores.metrics) == ["accuracy", "macro_f1", "bits"]
    assert scores.accuracy.value == pytest.approx(2 / 3)
    assert scores.metrics["macro_f1"].value == pytest.approx((2 / 3 + 1 + 0) / 3)  # good: precision 1/2, recall 1
    total = math.exp(-1) + 2 * math.exp(-3)
    right, wrong = -math.log2(math.exp(-1) / total), -math.log2(math.exp(-3) / total)
    assert scores.bits.value == pytest.approx((2 * right + wrong) / 3)
    assert scores.majority == pytest.approx(1 / 3)


def test_labels_in_words() -> None:
    lm = Told(lambda _context, text: -1.0 if text == " very nice" else -2.0)
    labels = {"good": "very nice", "bad": "awful", "plain": "so so", "odd": "odd"}
    scores = run(lm, make({**CLASSIFY, "labels": labels, "shots": 1}, *ROWS))
    assert {item.answer for item in scores.items} == {"good"}
    assert lm.asked[0].continuations == (" very nice", " awful", " so so", " odd")
    assert lm.asked[0].context.split("\n\n")[0].split("L: ")[1] in labels.values()
    assert "odd" not in {item.answer for item in scores.items}


def test_labels_of_other_types_and_unknown_ones() -> None:
    task = make(CLASSIFY, {"text": "x", "label": 1}, {"text": "y", "label": 0}, {"text": "z", "label": 1})
    assert task.questions[0].options == ("0", "1")
    with pytest.raises(DataError, match=r"line 1 has the label 'godo'; did you mean 'good'"):
        make({**CLASSIFY, "labels": {"good": "g", "bad": "b"}}, {"text": "x", "label": "godo"})
    with pytest.raises(DataError, match="every row has the label 'good'"):
        make(CLASSIFY, {"text": "x", "label": "good"}, {"text": "y", "label": "good"})
    with pytest.raises(DataError, match="line 2 has no label"):
        make(CLASSIFY, {"text": "x", "label": "good"}, {"text": "y"})
