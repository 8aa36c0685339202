"""Labelled rows from JSON lines, CSV or TSV, each accounted for; a fault names its file and line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basewright.data import contents
from basewright.errors import DataError
from basewright.records import Item

COLUMNS = ("text", "label")
SEPARATORS = ",;\t|"
HEADER = 100_000
"""Characters a line of names has at most; the csv module gives up on a field of 131,072."""


def read(path: Path, columns: tuple[str, str] = COLUMNS) -> list[Item]:
    """All rows of a file as items, in its order. Raises `DataError` with the line and what to do.

    `columns` are the names, or keys, of the text and of the label.
    """
    if path.suffix == ".jsonl":
        found = _jsonl(path.name, contents.text(path))
    elif path.suffix in (".csv", ".tsv"):
        found = _csv(path.name, contents.text(path), columns)
    else:
        raise DataError(f"{path.name} is neither .jsonl nor .csv nor .tsv", fix=f"basewright new {path.name}")
    items = [_item(path.name, line, row, columns) for line, row in found]
    if not items:
        raise DataError(f"{path.name} holds no rows", fix='write rows like {"text": "…", "label": "…"} into it')
    return items


def identity(text: str) -> str:
    """An item's id: a hash of its text alone, so that the split never moves when rows are added or reordered."""
    return hashlib.sha256(normal(text).encode()).hexdigest()[:16]


def normal(text: str) -> str:
    """Case and runs of white space do not make another text."""
    return " ".join(text.casefold().split())


def check_labels(items: list[Item], where: str) -> tuple[str, ...]:
    """The labels in order. Raises `DataError` for fewer than two, or one that is seen only once."""
    counts = Counter(item.label for item in items)
    if len(counts) < 2:
        raise DataError(f"{where} has one label only; there is nothing to tell apart", fix="add rows of another label")
    for label, count in sorted(counts.items()):
        if count == 1:
            raise DataError(
                f"label {label!r} is seen once in {where}: it cannot be both learned and tested",
                fix="add rows with that label, or correct it if it is a slip",
            )
    return tuple(sorted(counts))


def _jsonl(name: str, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} line {number} is not JSON: {error}", fix="correct that line") from error


def _csv(name: str, text: str, columns: tuple[str, str]) -> Iterator[tuple[int, Any]]:
    separator = _separator(text[:HEADER].split("\n", 1)[0], columns)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{name} line {reader.line_num} is not CSV: {error}", fix="correct that line") from error


def _separator(header: str, columns: tuple[str, str]) -> str:
    """The one by which the first line holds both columns; a comma where none does."""
    for separator in SEPARATORS:
        if set(columns) <= set(next(csv.reader([header], delimiter=separator), [])):
            return separator
    return ","


def _item(name: str, line: int, row: Any, columns: tuple[str, str]) -> Item:
    if not isinstance(row, dict):
        raise DataError(f"{name} line {line} is no object with a text and a label", fix="correct that line")
    values = {}
    for field, column in zip(COLUMNS, columns, strict=True):
        value = row.get(column)
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"{name} line {line} has no {column}" + ("" if column in row else f"; it has {_names(row)}"),
                fix=f"give every row a {column}, or name its column in [task].{field}",
            )
        if any("\ud800" <= one <= "\udfff" for one in value):
            raise DataError(f"{name} line {line}: {column} holds half a surrogate pair", fix="correct that character")
        values[field] = value.strip()
    return Item(id=identity(values["text"]), text=values["text"], label=values["label"])


def _names(row: dict[Any, Any]) -> str:
    return ", ".join(str(name)[:40] for name in list(row)[:8]) or "nothing"
