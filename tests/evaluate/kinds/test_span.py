"""Words taken out of a text, scored as SQuAD v1.1 does."""

from __future__ import annotations

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

SPAN = {"kind": "span", "prompt": "C: {clause}\nA:"}


def score(golds: list[str], written: str) -> tuple[float, float]:
    (item,) = run(Told(write=lambda _prompt: written), make(SPAN, {"clause": "x", "answer": golds})).items
    return item.values["f1"], item.values["exact_match"]


@pytest.mark.parametrize(
    ("golds", "written", "f1", "exact"),
    [
        (["Denver Broncos", "The Denver Broncos"], " the Denver Broncos.", 1, 1),
        (["Santa Clara, California", "Levi's Stadium"], "Levi's Stadium in Santa Clara, California", 3 / 4.5, 0),
        (["10th and 11th centuries", "the 10th and 11th centuries"], "11th centuries", 2 / 3, 0),
        (["France"], "Germany", 0, 0),
    ],
)
def test_known_examples(golds: list[str], written: str, f1: float, exact: float) -> None:
    assert score(golds, written) == pytest.approx((f1, exact))


def squad_normal(s: str) -> str:
    """normalize_answer of SQuAD's evaluate-v1.1.py, step by step."""
    kept = "".join(ch for ch in s.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def squad_f1(prediction: str, truth: str) -> float:
    got, true = squad_normal(prediction).split(), squad_normal(truth).split()
    same = sum((Counter(got) & Counter(true)).values())
    if same == 0:
        return 0
    precision, recall = same / len(got), same / len(true)
    return 2 * precision * recall / (precision + recall)


words = st.lists(st.sampled_from(["a", "the", "An", "cat", "Cat.", "sat", "U.S.", "-", "on,", "é"]), min_size=1).map(
    " ".join
)


@given(st.lists(words, min_size=1, max_size=3), words)
def test_against_the_script(golds: list[str], written: str) -> None:
    f1, exact = score(golds, written)
    assert f1 == pytest.approx(max(squad_f1(written, gold) for gold in golds))
    assert exact == max(squad_normal(written) == squad_normal(gold) for gold in golds)
