"""Which column holds the text and which the label, whatever they are called, and why."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from basewright.errors import DataError, UsageError, nearest
from basewright.looking.table import Table

TEXTS = (
    "text", "message", "body", "content", "utterance", "sentence", "question", "query", "comment", "review",
    "description", "clause", "note", "notes", "document", "feedback", "ticket", "transcript", "post", "input", "prompt",
)  # fmt: skip
LABELS = (
    "label", "labels", "category", "intent", "class", "type", "target", "topic", "tag", "sentiment", "queue", "kind",
    "department", "team", "decision", "outcome", "code", "group", "output", "answer",
)  # fmt: skip
MOST_LABELS = 300
RECURRING = 10
"""Rows a value, on average, under which a column is seldom a label."""
SHOWN = 6
"""Columns that an error names."""
LONGEST_LABEL = 80
"""Characters."""
OTHER = re.compile(r"[\d\s.,:;/+\-%€$£TZ]+|https?://\S+|[^\s@]+@[^\s@]+|[0-9a-fA-F-]{8,}")
"""Numbers, dates, times, addresses and ids: what a cell holds that is neither prose nor a name."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    filled: int
    distinct: int
    length: float
    """Mean characters of the cells that are filled."""
    words: float
    other: float
    """Share of the filled cells that are numbers, dates, addresses or ids."""

    @property
    def recurring(self) -> float:
        return self.filled / max(1, self.distinct)


@dataclass(frozen=True, slots=True)
class Found:
    text: str
    label: str
    why_text: str
    why_label: str
    also_text: tuple[str, ...]
    also_label: tuple[str, ...]
    """Other columns that could be it, the likeliest first; none where it was stated."""


def find(table: Table, text: str | None = None, label: str | None = None) -> Found:
    """The two columns, those that are stated or the likeliest. Raises `DataError` where none will do, `UsageError` for
    a column that is not there."""
    known = {name: describe(name, cells) for name, cells in zip(table.columns, _cells(table), strict=True)}
    for stated in (text, label):
        if stated is not None and stated not in known:
            raise UsageError(f"there is no column {stated!r}; {nearest(stated, known)}", fix="name one of them")
    prose = _prose([c for c in known.values() if c.name != label]) if text is None else []
    body = known[text] if text is not None else prose[0]
    others = [column for column in known.values() if column.name != body.name]
    ranked = sorted((c for c in others if _can_label(c)), key=lambda c: _label_merit(c, body), reverse=True)
    if label is None and not ranked:
        raise DataError(f"no column could be the label: {_described(others)}", fix=_fix(others))
    answer = known[label] if label is not None else ranked[0]
    return Found(
        text=body.name,
        label=answer.name,
        why_text="as stated" if text is not None else f"prose: {body.words:.0f} words a row on average",
        why_label="as stated"
        if label is not None
        else f"{answer.distinct} values, each in {answer.recurring:.0f} rows on average",
        also_text=tuple(column.name for column in prose[1:] if column.name != answer.name),
        also_label=tuple(column.name for column in ranked[1:]) if label is None else (),
    )


def describe(name: str, cells: Sequence[str]) -> Column:
    filled = [cell.strip() for cell in cells if cell.strip()]
    count = max(1, len(filled))
    return Column(
        name=name,
        filled=len(filled),
        distinct=len(set(filled)),
        length=sum(map(len, filled)) / count,
        words=sum(len(cell.split()) for cell in filled) / count,
        other=sum(bool(OTHER.fullmatch(cell)) for cell in filled) / count,
    )


def _cells(table: Table) -> list[list[str]]:
    return [[row[i] for row in table.rows] for i in range(len(table.columns))]


def _prose(columns: Sequence[Column]) -> list[Column]:
    """The columns that could be the text, the likeliest first: long, seldom the same twice, named so."""
    able = [c for c in columns if c.filled and c.other < 0.5 and c.words >= 1.5 and c.distinct > max(1, c.filled / 4)]
    if not able:
        raise DataError(f"no column holds prose: {_described(columns)}", fix="give rows with a text in words")
    merit = {c.name: math.log(c.length) * c.distinct / c.filled + 1.5 * _named(c.name, TEXTS) for c in able}
    return sorted(able, key=lambda c: -merit[c.name])


def _can_label(column: Column) -> bool:
    most = min(MOST_LABELS, column.filled / 2)
    return 2 <= column.distinct <= most and column.length <= LONGEST_LABEL


def _label_merit(column: Column, body: Column) -> float:
    """A name that says so weighs most, then that values recur, are words and are there in nearly every row; of equals,
    more than two values."""
    against = 2 * (column.other > 0.5) + 1.5 * (column.recurring < RECURRING) + 0.1 * (column.distinct == 2)
    return 3 * _named(column.name, LABELS) + column.filled / max(1, body.filled) - against


def _named(name: str, hints: Sequence[str]) -> float:
    """1 for a hint itself, 0.7 for a hint among its words; the first hints weigh a little more."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    for place, hint in enumerate(hints):
        if hint in words:
            return (1.0 if len(words) == 1 else 0.7) - 0.01 * place
    return 0.0


def _described(columns: Sequence[Column]) -> str:
    def one(column: Column) -> str:
        values = "1 value" if column.distinct == 1 else f"{column.distinct:,} values"
        return (
            f"{column.name[:40]!r} has {values} in {column.filled:,} rows"
            if column.filled
            else f"{column.name!r} is empty"
        )

    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return "; ".join(one(column) for column in columns[:SHOWN]) + more or "there is one column only"


def _fix(columns: Sequence[Column]) -> str:
    able = [column.name for column in columns if column.distinct > 1 and column.filled > column.distinct]
    if able:
        return f"name it: --label {able[0]!r}; or add a column with the answer that is to be learned"
    return "add a column with the answer that is to be learned, one of a few words in every row"


def counts(values: Sequence[str]) -> Counter[str]:
    """How many rows each label has, the most frequent first."""
    found = Counter(values)
    return Counter(dict(sorted(found.items(), key=lambda one: (-one[1], one[0]))))
