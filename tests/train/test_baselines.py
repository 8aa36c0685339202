"""The 5-gram is a probability distribution, knows what it counted, and is what its definition says."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from basewright.train import baselines

VOCABULARY = 7
LEARNED = np.random.default_rng(0).integers(0, VOCABULARY, 400).astype(np.uint16)


@pytest.mark.parametrize("before", [(), (3,), (1, 2), (0, 1, 2, 3), (6, 5, 4, 3, 2, 1)])
def test_what_may_follow_sums_to_one(before: tuple[int, ...]) -> None:
    start = (0, *before)
    base = baselines.five_gram(LEARNED, [start], VOCABULARY)
    each = [math.exp(base - baselines.five_gram(LEARNED, [(*start, i)], VOCABULARY)) for i in range(VOCABULARY)]
    assert sum(each) == pytest.approx(1)
    assert min(each) > 0


def slowly(before: tuple[int, ...], token: int) -> float:
    """The same model, from its definition (Chen and Goodman 1999), with dictionaries."""
    grams = Counter(tuple(LEARNED[i : i + 5].tolist()) for i in range(len(LEARNED) - 4))
    levels = [grams]
    while len(levels) < 5:
        levels.append(Counter(gram[1:] for gram in levels[-1]))
    found = 1 / VOCABULARY
    for order, level in enumerate(reversed(levels)):
        context = before[len(before) - order :]
        if len(context) < order or not (after := {g[-1]: n for g, n in level.items() if g[:-1] == context}):
            break
        once, twice = (sum(n == times for n in level.values()) for times in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        kept = max(after.get(token, 0) - discount, 0)
        found = (kept + discount * len(after) * found) / sum(after.values())
    return found


def test_it_is_what_the_definition_says() -> None:
    text = LEARNED[20:40].tolist()
    expected = -sum(math.log(slowly(tuple(text[max(0, at - 4) : at]), text[at])) for at in range(1, 20))
    assert baselines.five_gram(LEARNED, [text], VOCABULARY) == pytest.approx(expected)


def test_learned_text_is_cheap_and_other_text_is_not() -> None:
    same = baselines.five_gram(LEARNED, [LEARNED[100:200].tolist()], VOCABULARY)
    other = baselines.five_gram(LEARNED, [np.random.default_rng(1).integers(0, VOCABULARY, 100).tolist()], VOCABULARY)
    assert same < 0.7 * 99 * math.log(VOCABULARY) < other


def test_xz_of_each_document_is_not_helped_by_the_others() -> None:
    text = "".join(chr(97 + i) for i in np.random.default_rng(2).integers(0, 26, 2000))
    found = baselines.all_of([text, text], [[0], [0]], LEARNED, VOCABULARY)
    assert found["uniform"] == 8
    assert found["xz -6 of all"] < 0.7 * found["xz -6 of each"]
