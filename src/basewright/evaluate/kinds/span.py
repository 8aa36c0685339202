"""Words taken out of a text: exact match and token F1 as SQuAD v1.1 has them, the best of several right answers."""

from __future__ import annotations

from basewright.evaluate import metrics
from basewright.evaluate.items import Row
from basewright.evaluate.kinds import written
from basewright.evaluate.question import Answer, Judged, Kind, Question, Runs
from basewright.evaluate.spec import SpanSpec
from basewright.records import Interval


def question(spec: SpanSpec, row: Row) -> Question:
    golds = written.golds(row)
    return written.question(spec, row, golds[0], golds)


def judge(_spec: SpanSpec, question: Question, answer: Answer) -> Judged:
    text = answer.text.strip()
    plain = metrics.normal(text, metrics.SQUAD)
    values = {
        "f1": max(metrics.token_f1(text, gold) for gold in question.golds),
        "exact_match": float(any(plain == metrics.normal(gold, metrics.SQUAD) for gold in question.golds)),
    }
    return Judged(question=question, answer=text, values=values)


def summary(_spec: SpanSpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    return metrics.means(["f1", "exact_match"], runs, confidence)


def normalisation(spec: SpanSpec) -> str:
    return f"greedy, {spec.max_tokens} tokens at most; alike but for {', '.join(metrics.SQUAD)}, as SQuAD v1.1"


KIND = Kind(question, judge, summary, normalisation)
