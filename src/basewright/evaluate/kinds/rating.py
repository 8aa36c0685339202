"""A number on an ordered scale, by log-likelihood: the likeliest, or the one expected."""

from __future__ import annotations

import math

from basewright.errors import DataError
from basewright.evaluate import metrics, shots, template
from basewright.evaluate.items import Row, field_text
from basewright.evaluate.question import Answer, Ask, Judged, Kind, Question, Runs
from basewright.evaluate.spec import RatingSpec
from basewright.records import Interval


def question(spec: RatingSpec, row: Row) -> Question:
    stated = field_text(row, "rating").removesuffix(".0")
    numerals = [str(point) for point in spec.scale]
    if stated not in numerals:
        raise DataError(f"{row.where} has the rating {stated}, which is not on the scale", fix="correct it, or scale")
    gold = numerals.index(stated)
    asked = template.prompt(spec.prompt, row.fields, row.where)
    continuations = tuple(
        template.fill(spec.answer, {**row.fields, "answer": words}, row.where) for words in spec.words or numerals
    )
    return Question(
        id=row.id,
        asks=(Ask(asked, continuations),),
        solved=asked + continuations[gold],
        options=tuple(numerals),
        gold=gold,
        label=stated,
        key=shots.key(asked),
        group=row.group,
        parts=row.parts,
    )


def judge(spec: RatingSpec, question: Question, answer: Answer) -> Judged:
    """The value is a number of the scale, or the mean of all by their renormalised probabilities; for kappa, the
    number of the scale that is nearest to it."""
    nats = [one.nats for one in answer.likelihoods[0]]
    weights = [math.exp(value - max(nats)) for value in nats]
    value: float = spec.scale[nats.index(max(nats))]
    if spec.decision == "expected":
        value = math.fsum(w * point for w, point in zip(weights, spec.scale, strict=True)) / math.fsum(weights)
    choice = min(range(len(spec.scale)), key=lambda place: abs(spec.scale[place] - value))
    return Judged(
        question=question,
        answer=f"{value:g}",
        values={
            "mean_absolute_error": abs(value - spec.scale[question.gold]),
            "accuracy": float(choice == question.gold),
        },
        choice=choice,
    )


def summary(_spec: RatingSpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    found = metrics.means(["mean_absolute_error", "accuracy"], runs, confidence)
    kappa = metrics.resampled(metrics.quadratic_kappa, runs, confidence)
    return {
        "mean_absolute_error": found["mean_absolute_error"],
        "quadratic_kappa": kappa,
        "accuracy": found["accuracy"],
    }


def normalisation(spec: RatingSpec) -> str:
    return f"sum of token log-likelihoods, the {spec.decision} number"


KIND = Kind(question, judge, summary, normalisation)
