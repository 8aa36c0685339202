"""Which solved examples a question is shown: ranked by a sampler, never the question itself or its like (H078)."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, zip_longest

import numpy as np

from basewright.errors import DataError
from basewright.evaluate.question import Question
from basewright.evaluate.spec import PromptedSpec

Rank = Callable[[Question], Iterable[Question]]
"""The pool for a question, what to show first of all in front."""
Pick = Callable[[Question], list[Question]]


def key(text: str) -> str:
    """Texts with the same key are near-duplicates: case, width, punctuation and white space make no difference."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain) or plain.split())


def number(*parts: object) -> int:
    """64 bits that depend on `parts` alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


def picker(spec: PromptedSpec, pool: Sequence[Question]) -> Pick:
    """How `spec.shots` examples are picked from `pool` for a question, in the order they are shown.

    What is picked depends on the question and the pool, not on other questions. Raises `DataError` when called for a
    question that the pool has too few for.
    """
    ranks: dict[str, Callable[[], Rank]] = {
        "fixed": lambda: lambda _question: pool,
        "random": lambda: _random(pool, spec.seed),
        "balanced": lambda: _balanced(pool, spec.seed),
        "nearest": lambda: _nearest(pool),
    }
    rank = ranks[spec.sampler]() if spec.shots else lambda _question: pool

    def pick(question: Question) -> list[Question]:
        others = (shot for shot in rank(question) if shot.key != question.key)
        found = list(islice(others, spec.shots))
        if len(found) < spec.shots:
            raise DataError(
                f"{spec.shots} shots are asked for, and only {len(found)} rows are not the item itself or its like",
                fix="lower shots, or name more solved rows in shots_data",
            )
        return found[::-1] if spec.sampler == "nearest" else found  # the nearest stands next to the question

    return pick


def orders(count: int, shots: int, seed: int) -> list[list[int]]:
    """`count` different orders of `shots` shots, the first as they were picked."""
    found = [list(range(shots))]
    generator = np.random.default_rng(number("orders", seed))
    while len(found) < count:
        order = generator.permutation(shots).tolist()
        if order not in found:
            found.append(order)
    return found


def _random(pool: Sequence[Question], seed: int) -> Rank:
    def rank(question: Question) -> Iterable[Question]:
        order = np.random.default_rng(number("random", seed, question.id)).permutation(len(pool))
        return (pool[place] for place in order)

    return rank


def _balanced(pool: Sequence[Question], seed: int) -> Rank:
    """The labels in turn, starting from another one for each question; within a label as the pool stands."""
    queues: dict[str, list[Question]] = {}
    for shot in pool:
        queues.setdefault(shot.label, []).append(shot)
    labels = sorted(queues)

    def rank(question: Question) -> Iterable[Question]:
        first = number("balanced", seed, question.id) % max(1, len(labels))
        turned = [queues[label] for label in labels[first:] + labels[:first]]
        allowed = [[shot for shot in queue if shot.key != question.key] for queue in turned]
        return (shot for turn in zip_longest(*allowed) for shot in turn if shot is not None)

    return rank


def _nearest(pool: Sequence[Question]) -> Rank:
    """By the cosine of TF-IDF vectors of the words of prompts, the idf smoothed as in scikit-learn."""
    from scipy import sparse

    counts = [Counter(shot.key.split()) for shot in pool]
    seen = Counter(word for one in counts for word in one)
    places = {word: place for place, word in enumerate(sorted(seen))}
    idf = {word: math.log((1 + len(pool)) / (1 + times)) + 1 for word, times in seen.items()}
    weights = [{word: times * idf[word] for word, times in one.items()} for one in counts]
    norms = [math.sqrt(sum(value * value for value in one.values())) or 1.0 for one in weights]
    cells = [
        (places[word], column, value / norms[column])
        for column, one in enumerate(weights)
        for word, value in one.items()
    ]
    rows, columns, values = zip(*cells, strict=True) if cells else ((), (), ())
    matrix_WN = sparse.csr_array((values, (rows, columns)), shape=(max(1, len(places)), len(pool)))

    def rank(question: Question) -> Iterable[Question]:
        words = [
            (places[word], times * idf[word]) for word, times in Counter(question.key.split()).items() if word in idf
        ]
        query_W = np.zeros(matrix_WN.shape[0])
        for place, value in words:
            query_W[place] = value
        cosines_N = query_W @ matrix_WN
        return (pool[place] for place in np.argsort(-cosines_N, kind="stable"))

    return rank
