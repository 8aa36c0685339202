"""Scoring for engines that are asked one pair at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from basewright import signals
from basewright.engine.lm import Likelihood, Pair, check_pairs
from basewright.records import Progress

Score = Callable[[Pair], Likelihood]


def one_by_one(
    score: Score, pairs: Sequence[Pair], context: int, progress: Progress
) -> Iterator[tuple[int, Likelihood]]:
    """`LM.score` by one call for each pair, in an order in which neighbours share beginnings."""
    check_pairs(pairs, context)
    order = sorted(range(len(pairs)), key=lambda place: pairs[place].context + pairs[place].continuation)
    for done, place in enumerate(order):
        signals.poll()
        yield place, score(pairs[place])
        progress("continuations scored", done + 1, len(pairs))
