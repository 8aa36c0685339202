"""Answers the model writes: equal to a right one, or holding it; where a pattern finds none, that is its own rate."""

from __future__ import annotations

import re

from basewright.errors import DataError
from basewright.evaluate import metrics
from basewright.evaluate.items import Row
from basewright.evaluate.kinds import written
from basewright.evaluate.question import Answer, Judged, Kind, Question, Runs
from basewright.evaluate.spec import GenerateSpec
from basewright.records import Interval


def question(spec: GenerateSpec, row: Row) -> Question:
    stated = written.golds(row)
    found = tuple(extracted(spec.gold, text, "last") for text in stated) if spec.gold else stated
    if None in found:
        raise DataError(f"{row.where}: the pattern gold finds nothing in the answer", fix="correct gold, or that row")
    return written.question(spec, row, stated[0], tuple(text for text in found if text is not None))


def judge(spec: GenerateSpec, question: Question, answer: Answer) -> Judged:
    """A text in which the pattern finds no answer is wrong, and counted as a failure to extract (H079)."""
    text = answer.text.strip()
    found = extracted(spec.extract, text, spec.take) if spec.extract else text
    golds = [metrics.normal(gold, spec.normalise) for gold in question.golds]
    whole = metrics.normal(text, spec.normalise)
    equal = found is not None and metrics.normal(found, spec.normalise) in golds
    values = {"exact_match": float(equal), "contains": float(any(held(gold, whole) for gold in golds))}
    if spec.extract:
        values["extraction_failed"] = float(found is None)
    return Judged(question=question, answer=text if found is None else found, values=values)


def extracted(pattern: str, text: str, take: str) -> str | None:
    """The first group of the first or last match, or all of it where the pattern has no group; None without a match."""
    matches = list(re.finditer(pattern, text))
    if not matches:
        return None
    match = matches[0 if take == "first" else -1]
    return (match[1] if match.re.groups else match[0]) or ""


def held(gold: str, text: str) -> bool:
    """Whether a text holds an answer, not as a part of a longer word or number."""
    return bool(gold and re.search(rf"(?<![0-9A-Za-z]){re.escape(gold)}(?![0-9A-Za-z])", text))


def summary(spec: GenerateSpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    names = ["exact_match", "contains", *(["extraction_failed"] if spec.extract else [])]
    return metrics.means(names, runs, confidence)


def normalisation(spec: GenerateSpec) -> str:
    steps = [step for step in metrics.STEPS if step in spec.normalise]
    return f"greedy, {spec.max_tokens} tokens at most; alike but for {', '.join(steps) or 'nothing'}"


KIND = Kind(question, judge, summary, normalisation)
