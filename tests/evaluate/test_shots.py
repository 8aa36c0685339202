"""Shots: each sampler's rule, and that a question never sees itself or its like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import DataError
from basewright.evaluate import shots
from basewright.evaluate.question import Ask, Question
from basewright.evaluate.spec import PromptedSpec

Sampler = Literal["fixed", "random", "balanced", "nearest"]
SAMPLERS: tuple[Sampler, ...] = ("fixed", "random", "balanced", "nearest")
WORDS = ["red", "boat", "sail", "tree", "leaf", "green", "night", "train", "bread", "salt"]


def asked(name: str, text: str, label: str = "x") -> Question:
    return Question(id=name, asks=(Ask(text),), label=label, key=shots.key(text))


def settings(count: int, sampler: Sampler, seed: int = 0) -> PromptedSpec:
    return PromptedSpec(name="t", kind="k", data="d", prompt="{t}", shots=count, sampler=sampler, seed=seed)


def pool(size: int = 12) -> list[Question]:
    return [asked(f"p{n}", f"number {n} {WORDS[n % 10]} {WORDS[(3 * n) % 10]}", "abc"[n % 3]) for n in range(size)]


CHANGES: list[Callable[[str], str]] = [
    str.upper,
    str.title,
    lambda text: f"  {text.replace(' ', ',  ')}! ",
    lambda text: f"«{text}»",
]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)


@given(
    st.lists(texts, min_size=1, max_size=15),
    st.sampled_from(SAMPLERS),
    st.sampled_from(CHANGES),
    st.data(),
)
def test_h078_no_shot_is_the_question_or_its_like(
    members: list[str], sampler: Sampler, change: Callable[[str], str], data: st.DataObject
) -> None:
    of = [asked(f"p{n}", text, "ab"[n % 2]) for n, text in enumerate(members)]
    question = asked("q", change(data.draw(st.sampled_from(members))))
    others = sum(shot.key != question.key for shot in of)
    picked = shots.picker(settings(others, sampler), of)(question)
    assert len({shot.id for shot in picked}) == others
    assert all(shot.key != question.key for shot in picked)
    with pytest.raises(DataError, match=f"only {others} rows are not the item itself"):
        shots.picker(settings(others + 1, sampler), of)(question)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_picked_depends_on_the_question_alone(sampler: Sampler) -> None:
    pick, again = shots.picker(settings(4, sampler), pool()), shots.picker(settings(4, sampler), pool())
    questions = [asked(f"q{n}", WORDS[n]) for n in range(10)]
    assert [pick(one) for one in questions] == [again(one) for one in reversed(questions)][::-1]


def test_fixed_is_the_same_for_all_but_for_a_shot_itself() -> None:
    of = pool()
    pick = shots.picker(settings(3, "fixed"), of)
    assert pick(asked("q", "else")) == of[:3]
    assert pick(of[1]) == [of[0], of[2], of[3]]


def test_random_is_another_draw_for_each_question_and_seed() -> None:
    pick = shots.picker(settings(3, "random"), pool())
    seen = [tuple(shot.id for shot in pick(asked(f"q{n}", f"text {n}"))) for n in range(400)]
    assert len(set(seen)) > 300
    counts = Counter(shot for one in seen for shot in one)
    assert all(60 < counts[shot.id] < 140 for shot in pool())  # 100 expected, a standard deviation of 9
    other = shots.picker(settings(3, "random", seed=1), pool())
    assert tuple(shot.id for shot in other(asked("q0", "text 0"))) != seen[0]


def test_balanced_has_every_label_alike_and_ends_on_each() -> None:
    pick = shots.picker(settings(6, "balanced"), pool())
    ends: Counter[str] = Counter()
    for n in range(90):
        labels = [shot.label for shot in pick(asked(f"q{n}", f"text {n}"))]
        assert Counter(labels) == {"a": 2, "b": 2, "c": 2}
        assert labels[:3] == labels[3:]
        ends[labels[-1]] += 1
    assert min(ends.values()) > 15


def test_balanced_takes_what_there_is_of_a_rare_label() -> None:
    of = [asked("p0", "only", "rare"), *(asked(f"p{n}", f"text {n}", "common") for n in range(1, 9))]
    labels = Counter(shot.label for shot in shots.picker(settings(4, "balanced"), of)(asked("q", "else")))
    assert labels == {"rare": 1, "common": 3}


def test_nearest_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.feature_extraction.text")
    of = pool(40)
    vectors = sklearn.TfidfVectorizer(token_pattern=r"(?u)\b\w+\b")
    matrix = vectors.fit_transform([shot.key for shot in of])
    pick = shots.picker(settings(5, "nearest"), of)
    for query in ("red boat", "number 7 green leaf", "salt and bread", "nothing known"):
        cosines = (matrix @ vectors.transform([query]).T).toarray().ravel()
        expected = [of[place] for place in np.argsort(-cosines, kind="stable")[:5]]
        assert pick(asked("q", query)) == expected[::-1]  # the nearest stands last, next to the question


def test_orders_are_different_seeded_and_begin_as_picked() -> None:
    found = shots.orders(6, 3, 0)
    assert sorted(map(tuple, found)) == sorted({tuple(order) for order in found})
    assert len(found) == 6
    assert found[0] == [0, 1, 2]
    assert found[:3] == shots.orders(3, 3, 0)
    assert shots.orders(1, 0, 0) == [[]]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("What is it?", "what  is\nit", True),
        ("ｗｉｄｅ", "wide", True),
        ("Straße", "STRASSE", True),
        ("2 and 3", "2 and 4", False),
        ("!!!", "???", False),
        ("你好", "你们", False),
    ],
)
def test_keys(one: str, two: str, same: bool) -> None:
    assert (shots.key(one) == shots.key(two)) is same
