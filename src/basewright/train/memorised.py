"""Does a model give back what it learned? Windows of learned text against windows that it never saw (Carlini et al.
2023, arXiv:2202.07646: a prompt of training text, greedy decoding, and whether the true continuation comes)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basewright.engine.lm import LM, Pair, Sampling
from basewright.records import Memorisation

PROMPT = 32
CONTINUED = 32
WINDOWS = 200
"""At most, of either kind."""
Window = tuple[int, ...]


def measure(lm: LM, learned: Sequence[Sequence[int]], held_out: Sequence[Sequence[int]]) -> Memorisation | None:
    """Of texts in tokens; None where they hold no window. As many windows of either kind."""
    inside, outside = windows(learned), windows(held_out)
    count = min(len(inside), len(outside), WINDOWS)
    if not count:
        return None
    inside, outside = _evenly(inside, count), _evenly(outside, count)
    return Memorisation(
        windows=count,
        prompt=PROMPT,
        continued=CONTINUED,
        learned=_given_back(lm, inside),
        held_out=_given_back(lm, outside),
        learned_nats=_nats(lm, inside),
        held_out_nats=_nats(lm, outside),
    )


def windows(texts: Sequence[Sequence[int]]) -> list[Window]:
    """Pieces of a prompt and its continuation, side by side, from within each text."""
    size = PROMPT + CONTINUED
    return [
        tuple(int(i) for i in text[begin : begin + size])
        for text in texts
        for begin in range(1, len(text) - size, size)
    ]


def _evenly(found: list[Window], count: int) -> list[Window]:
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]


def _given_back(lm: LM, chosen: Sequence[Window]) -> float:
    greedy = [Sampling(max_tokens=CONTINUED)] * len(chosen)
    answers = lm.complete([one[:PROMPT] for one in chosen], greedy)
    exact = [tuple(token.id for token in piece.tokens) == chosen[place][PROMPT:] for place, piece in answers]
    return sum(exact) / len(exact)


def _nats(lm: LM, chosen: Sequence[Window]) -> float:
    answers = lm.score([Pair(one[:1], one[1:]) for one in chosen])
    return -float(np.mean([one.logprobs for _, one in answers]))
