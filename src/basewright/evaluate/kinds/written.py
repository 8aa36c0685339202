"""What tasks have in common whose answers the model writes itself."""

from __future__ import annotations

from basewright.evaluate import shots, template
from basewright.evaluate.items import Row, field_text, field_texts
from basewright.evaluate.question import Ask, Question
from basewright.evaluate.spec import GenerationSpec


def golds(row: Row) -> tuple[str, ...]:
    """The right answers: the field `answer` is one, or a list of them. Raises `DataError`."""
    if isinstance(row.fields.get("answer"), list):
        return field_texts(row, "answer")
    return (field_text(row, "answer"),)


def question(spec: GenerationSpec, row: Row, shown: str, right: tuple[str, ...]) -> Question:
    """`shown` is the answer as a shot has it, `right` what answers are compared with."""
    asked = template.prompt(spec.prompt, row.fields, row.where)
    return Question(
        id=row.id,
        asks=(Ask(asked),),
        solved=asked + template.fill(spec.answer, {**row.fields, "answer": shown}, row.where),
        golds=right,
        key=shots.key(asked),
        group=row.group,
        parts=row.parts,
    )
