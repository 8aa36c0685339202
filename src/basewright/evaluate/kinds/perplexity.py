"""How well a model predicts whole documents: bits per byte, and perplexity per token.

Both are ratios of totals over all documents, as lm-evaluation-harness has them, so that a long one weighs more. A
document is predicted in windows as long as the context that follow one another (`LM.rolling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from basewright.evaluate import metrics
from basewright.evaluate.items import Row, field_text
from basewright.evaluate.question import Answer, Ask, Judged, Kind, Question, Runs
from basewright.evaluate.spec import PerplexitySpec
from basewright.records import Interval


def question(_spec: PerplexitySpec, row: Row) -> Question:
    field_text(row, "text")
    return Question(id=row.id, asks=(Ask(str(row.fields["text"])),), group=row.group, parts=row.parts)


def judge(_spec: PerplexitySpec, question: Question, answer: Answer) -> Judged:
    likelihood = answer.likelihoods[0][0]
    size, tokens = len(question.asks[0].prompt.encode()), len(likelihood.logprobs)
    values = {
        "bits_per_byte": -likelihood.nats / math.log(2) / size,
        "perplexity": _exp(-likelihood.nats / tokens),
        "bytes": float(size),
        "tokens": float(tokens),
    }
    return Judged(question=question, answer="", values=values)


def summary(_spec: PerplexitySpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    (documents,) = runs
    groups = [one.question.group for one in documents]
    bits = [one.values["bits_per_byte"] * one.values["bytes"] for one in documents]
    nats = metrics.ratio([one * math.log(2) for one in bits], _values(documents, "tokens"), groups, confidence)
    return {
        "bits_per_byte": metrics.ratio(bits, _values(documents, "bytes"), groups, confidence),
        "perplexity": replace(nats, value=_exp(nats.value), low=_exp(nats.low), high=_exp(nats.high)),
    }


def _values(documents: Sequence[Judged], name: str) -> list[float]:
    return [one.values[name] for one in documents]


def _exp(value: float) -> float:
    return math.exp(min(value, 709.0))  # beyond it there is no float


def normalisation(_spec: PerplexitySpec) -> str:
    return "total bits by total UTF-8 bytes; windows of the model's context, a stride of the same"


KIND = Kind(question, judge, summary, normalisation)
