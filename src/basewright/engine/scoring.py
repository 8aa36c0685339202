"""The log-likelihood questions, answered by an engine's `score(context ids, target ids)`, one call for each target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from basewright import signals
from basewright.engine.lm import Request, pairs, whole_text, windows
from basewright.records import Progress
from basewright.text.tokenizer import Tokenizer

Score = Callable[[list[int], list[int]], float]
"""(context ids, target ids; neither is empty) → log-likelihood of the targets in nats."""


def loglikelihood(
    tokenizer: Tokenizer, context: int, score: Score, requests: Sequence[Request], progress: Progress
) -> list[tuple[float, ...]]:
    answers = []
    for done, request in enumerate(pairs(tokenizer, context, requests)):
        signals.poll()
        answers.append(tuple(score(before, after) if after else 0.0 for before, after in request))
        progress("items scored", done + 1, len(requests))
    return answers


def rolling(tokenizer: Tokenizer, context: int, score: Score, texts: Sequence[str], progress: Progress) -> list[float]:
    answers = []
    for done, text in enumerate(texts):
        total = 0.0
        first, ids = whole_text(tokenizer, text)
        for inputs, targets in windows(ids, first, context):
            signals.poll()
            total += score(inputs[: len(inputs) + 1 - len(targets)], targets)
        answers.append(total)
        progress("texts scored", done + 1, len(texts))
    return answers
