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
    "department", "team", "outcome", "code", "group", "output", "answer",
)  # fmt: skip
MOST_LABELS = 300
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
    also: tuple[str, ...]
    """Other columns that could be the label, the likeliest first."""


def find(table: Table, text: str | None = None, label: str | None = None) -> Found:
    """The two columns, those that are stated or the likeliest. Raises `DataError` where none will do, `UsageError` for
    a column that is not there."""
    known = {name: describe(name, cells) for name, cells in zip(table.columns, _cells(table), strict=True)}
    for stated in (text, label):
        if stated is not None and stated not in known:
            raise UsageError(f"there is no column {stated!r}; {nearest(stated, known)}", fix="name one of them")
    body = known[text] if text else _likeliest_text([c for c in known.values() if c.name != label])
    others = [column for column in known.values() if column.name != body.name]
    ranked = sorted((c for c in others if _can_label(c)), key=lambda c: _label_merit(c, body), reverse=True)
    if label is None and not ranked:
        raise DataError(f"no column could be the label: {_described(others)}", fix=_fix(others))
    answer = known[label] if label else ranked[0]
    return Found(
        text=body.name,
        label=answer.name,
        why_text="as stated" if text else f"prose: {body.words:.0f} words a row on average",
        why_label="as stated" if label else f"{answer.distinct} values, each in {answer.recurring:.0f} rows on average",
        also=tuple(column.name for column in ranked if column.name != answer.name) if label is None else (),
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


def _likeliest_text(columns: Sequence[Column]) -> Column:
    able = [c for c in columns if c.filled and c.other < 0.5 and c.words >= 1.5 and c.distinct > 1]
    if not able:
        raise DataError(f"no column holds prose: {_described(columns)}", fix="give rows with a text in words")
    return max(able, key=lambda c: math.log(c.length) * c.distinct / c.filled + 1.5 * _named(c.name, TEXTS))


def _can_label(column: Column) -> bool:
    most = min(MOST_LABELS, column.filled / 2)
    return 2 <= column.distinct <= most and column.length <= LONGEST_LABEL


def _label_merit(column: Column, body: Column) -> float:
    """A name that says so weighs most, then that the cells are words and nearly all filled."""
    named = _named(column.name, LABELS)
    return 3 * named - 2 * (column.other > 0.5) + column.filled / max(1, body.filled) - 0.5 * (column.distinct == 2)


def _named(name: str, hints: Sequence[str]) -> float:
    """1 for a hint itself, 0.7 for a hint among its words; the first hints weigh a little more."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    for place, hint in enumerate(hints):
        if hint in words:
            return (1.0 if len(words) == 1 else 0.7) - 0.01 * place
    return 0.0


def _described(columns: Sequence[Column]) -> str:
    def one(column: Column) -> str:
        values = "empty" if not column.filled else f"{column.distinct} values in {column.filled} rows"
        return f"{column.name!r} has {values}" if column.filled else f"{column.name!r} is empty"

    return "; ".join(one(column) for column in columns[:6]) or "there is one column only"


def _fix(columns: Sequence[Column]) -> str:
    able = [column.name for column in columns if column.distinct > 1 and column.filled > column.distinct]
    if able:
        return f"name it: --label {able[0]!r}; or add a column with the answer that is to be learned"
    return "add a column with the answer that is to be learned, one of a few words in every row"


def counts(values: Sequence[str]) -> Counter[str]:
    """How many rows each label has, the most frequent first."""
    found = Counter(values)
    return Counter(dict(sorted(found.items(), key=lambda one: (-one[1], one[0]))))
