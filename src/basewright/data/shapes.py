"""What the rows of a source mean: their shape is recognised from the keys all rows have, and each row is read by it.

A row that does not have the shape of the others is refused by itself, with the reason.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from basewright.data import talk
from basewright.data.files import Raw
from basewright.data.talk import Fault, text_of
from basewright.errors import DataError, UsageError, nearest
from basewright.records import DataShape
from basewright.text.layout import Turn

PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "response"),
    ("source", "target"),
)
"""Names that prompt and completion go by."""
SHAPES: tuple[DataShape, ...] = get_args(DataShape)
WORDS: dict[DataShape, str] = {
    "text": "plain text (text)",
    "prompt-completion": "prompt and completion (prompt, completion; also question, answer)",
    "messages": "conversations as TRL has them (messages of role and content)",
    "sharegpt": "conversations as ShareGPT has them (conversations of from and value)",
    "alpaca": "Alpaca (instruction, input, output)",
    "text-label": "text and label (text, label)",
    "preference": "preference pairs (prompt, chosen, rejected)",
    "kto": "rated answers, KTO (prompt, completion or messages, label true or false)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row that was understood. Of a preference, the last turn is the chosen answer."""

    where: str
    turns: tuple[Turn, ...]
    rejected: str | None = None
    desirable: bool | None = None

    @property
    def asked(self) -> str:
        return "\n".join(turn.text for turn in self.turns[:-1])

    @property
    def answer(self) -> str:
        return self.turns[-1].text

    @property
    def content(self) -> str:
        """All it says, which its duplicates say too."""
        more = [part for part in (self.rejected, self.desirable) if part is not None]
        return "\n".join([*(turn.text for turn in self.turns), *map(str, more)])


@dataclass(frozen=True, slots=True)
class Refusal:
    where: str
    why: str
    shown: str
    """How the row begins."""


def recognise(rows: Sequence[Raw], name: str) -> DataShape:
    """The one shape that most rows have. Raises `UsageError` where it could be several, `DataError` for none."""
    found = Counter(_candidates(raw.value) for raw in rows if isinstance(raw.value, dict))
    shapes = found.most_common(1)[0][0] if found else ()
    if len(shapes) == 1:
        return shapes[0]
    if shapes:
        raise UsageError(
            f"the rows of {name} could be {' or '.join(WORDS[one] for one in shapes)}",
            fix=f"say which: --shape {shapes[0]}",
        )
    columns = next((", ".join(map(str, raw.value)) for raw in rows if isinstance(raw.value, dict)), "no names at all")
    raise DataError(
        f"no known shape of training data has the columns of {name}: {columns[:300]}",
        fix="name them: --column text=COLUMN --column label=COLUMN, or prompt and completion",
    )


def _candidates(row: Mapping[str, Any]) -> tuple[DataShape, ...]:
    """All shapes a row's keys allow, but those that another of them says more than."""
    has = {key for key, value in row.items() if value is not None}
    found: list[DataShape] = []
    pair = any(has.issuperset(names) for names in PAIRS)
    rated = "label" in has and _flag(row["label"]) is not None
    if {"chosen", "rejected"} <= has:
        found.append("preference")
    if rated and (pair or "messages" in has):
        found.append("kto")
    elif pair:
        found.append("prompt-completion")
    if "messages" in has and "kto" not in found:
        found.append("messages")
    if "conversations" in has and "preference" not in found:
        found.append("sharegpt")
    if {"instruction", "output"} <= has:
        found.append("alpaca")
    if "text" in has:
        found.append("text-label" if "label" in has and not found else "text")
    return tuple(found)


def read(rows: Sequence[Raw], shape: DataShape) -> tuple[list[Row], list[Refusal]]:
    """Each row by its shape, or why it cannot be used."""
    kept: list[Row] = []
    refused: list[Refusal] = []
    for raw in rows:
        try:
            kept.append(_row(raw, shape))
        except Fault as fault:
            refused.append(Refusal(raw.where, str(fault), start(raw.value)))
    return kept, refused


def renamed(rows: Sequence[Raw], columns: Mapping[str, str], name: str) -> list[Raw]:
    """The rows with their fields named as the shapes name them: `columns` is {"text": "clause"}, for instance.

    Raises `UsageError` for a column that no row has.
    """
    present = {key for raw in rows if isinstance(raw.value, dict) for key in raw.value}
    for column in columns.values():
        if column not in present:
            raise UsageError(f"{name} has no column {column!r}; {nearest(column, present)}", fix="correct --column")
    taken = set(columns.values()) | set(columns)

    def rename(value: Any) -> Any:
        if not columns or not isinstance(value, dict):
            return value
        rest = {key: one for key, one in value.items() if key not in taken}
        return rest | {field: value[column] for field, column in columns.items() if column in value}

    return [raw._replace(value=rename(raw.value)) for raw in rows]


def unused(rows: Sequence[Raw], shape: DataShape) -> tuple[str, ...]:
    """Columns that rows of this shape take nothing from, in the order they come."""
    seen = dict.fromkeys(str(key) for raw in rows if isinstance(raw.value, dict) for key in raw.value)
    return tuple(key for key in seen if key not in USED[shape])


def _row(raw: Raw, shape: DataShape) -> Row:
    if raw.fault:
        raise Fault(raw.fault)
    if not isinstance(raw.value, dict):
        raise Fault("it is no object with fields")
    return READERS[shape](raw.where, raw.value)


def _pair(where: str, row: Mapping[str, Any]) -> Row:
    asked, answer = next(
        (names for many in (all, any) for names in PAIRS if many(name in row for name in names)), PAIRS[0]
    )
    if isinstance(row.get(asked), list) or isinstance(row.get(answer), list):
        turns = [*talk.messages(row.get(asked), asked), *talk.messages(row.get(answer), answer)]
        return Row(where, talk.conversation(turns))
    return Row(
        where, (Turn("prompt", text_of(row.get(asked), asked)), Turn("completion", text_of(row.get(answer), answer)))
    )


def _labelled(where: str, row: Mapping[str, Any]) -> Row:
    label = row.get("label")
    label = str(label) if isinstance(label, int) and not isinstance(label, bool) else label
    return Row(
        where, (Turn("text", text_of(row.get("text"), "text").strip()), Turn("label", text_of(label, "label").strip()))
    )


def _alpaca(where: str, row: Mapping[str, Any]) -> Row:
    """As a conversation of one question: the instruction, an empty line, the input."""
    more = text_of(row.get("input") or "", "input", empty=True)
    question = "\n\n".join(part for part in (text_of(row.get("instruction"), "instruction"), more) if part)
    system = [Turn("system", text_of(row["system"], "system"))] if row.get("system") else []
    return Row(where, (*system, Turn("user", question), Turn("assistant", text_of(row.get("output"), "output"))))


def _sharegpt(where: str, row: Mapping[str, Any]) -> Row:
    turns = talk.messages(row.get("conversations"), "conversations", "from", "value")
    system = [Turn("system", text_of(row["system"], "system"))] if row.get("system") else []
    return Row(where, talk.conversation([*system, *turns]))


def _preference(where: str, row: Mapping[str, Any]) -> Row:
    turns, rejected = talk.preference(row)
    return Row(where, turns, rejected=rejected)


def _rated(where: str, row: Mapping[str, Any]) -> Row:
    desirable = _flag(row.get("label"))
    if desirable is None:
        raise Fault("its label is neither true nor false")
    found = READERS["messages"](where, row) if "messages" in row else _pair(where, row)
    return replace(found, desirable=desirable)


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())


def start(value: Any) -> str:
    """How a row begins, in characters that can be printed anywhere."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text[:200].encode("utf-8", "backslashreplace").decode().split())[:100]


READERS: dict[DataShape, Callable[[str, Mapping[str, Any]], Row]] = {
    "text": lambda where, row: Row(where, (Turn("text", text_of(row.get("text"), "text")),)),
    "prompt-completion": _pair,
    "messages": lambda where, row: Row(where, talk.conversation(talk.messages(row.get("messages"), "messages"))),
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "text-label": _labelled,
    "preference": _preference,
    "kto": _rated,
}
PAIRED = {name for names in PAIRS for name in names}
USED: dict[DataShape, set[str]] = {
    "text": {"text"},
    "prompt-completion": PAIRED,
    "messages": {"messages"},
    "sharegpt": {"conversations", "system"},
    "alpaca": {"instruction", "input", "output", "system"},
    "text-label": {"text", "label"},
    "preference": {"prompt", "conversations", "chosen", "rejected"},
    "kto": {*PAIRED, "messages", "label"},
}
