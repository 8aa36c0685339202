"""Labels by log-likelihood: the label whose words the model finds likeliest. Ties go to the first in order."""

from __future__ import annotations

from collections.abc import Sequence

from basewright.errors import DataError, nearest
from basewright.evaluate import metrics, shots, template
from basewright.evaluate.classify import surprise
from basewright.evaluate.items import Row, field_text
from basewright.evaluate.question import Answer, Ask, Judged, Kind, Question, Runs
from basewright.evaluate.spec import ClassifySpec
from basewright.records import Interval


def settle(spec: ClassifySpec, rows: Sequence[Row]) -> ClassifySpec:
    """Without a table of labels, those of the data, as they are written. Raises `DataError` for one only."""
    if spec.labels:
        return spec
    labels = sorted({field_text(row, "label") for row in rows})
    if len(labels) < 2:
        raise DataError(f"every row has the label {labels[0]!r}", fix="add rows of another label, or name them all")
    return spec.model_copy(update={"labels": {label: label for label in labels}})


def question(spec: ClassifySpec, row: Row) -> Question:
    label = field_text(row, "label")
    if label not in spec.labels:
        raise DataError(
            f"{row.where} has the label {label!r}; {nearest(label, spec.labels)}", fix="correct it, or add it to labels"
        )
    asked = template.prompt(spec.prompt, row.fields, row.where)
    continuations = tuple(
        template.fill(spec.answer, {**row.fields, "answer": words}, row.where) for words in spec.labels.values()
    )
    gold = list(spec.labels).index(label)
    return Question(
        id=row.id,
        asks=(Ask(asked, continuations),),
        solved=asked + continuations[gold],
        options=tuple(spec.labels),
        gold=gold,
        label=label,
        key=shots.key(asked),
        group=row.group,
        parts=row.parts,
    )


def judge(_spec: ClassifySpec, question: Question, answer: Answer) -> Judged:
    nats = [one.nats for one in answer.likelihoods[0]]
    choice = nats.index(max(nats))
    return Judged(
        question=question,
        answer=question.options[choice],
        values={"accuracy": float(choice == question.gold), "bits": surprise(nats, question.gold)},
        choice=choice,
    )


def summary(_spec: ClassifySpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    found = metrics.means(["accuracy", "bits"], runs, confidence)
    macro = metrics.resampled(metrics.macro_f1, runs, confidence)
    return {"accuracy": found["accuracy"], "macro_f1": macro, "bits": found["bits"]}


KIND = Kind(question, judge, summary, lambda _spec: "sum of token log-likelihoods", settle)
