"""A data file becomes rows: strictly read, columns named as the task says, equal rows once; a fault names its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basewright import store
from basewright.errors import DataError, nearest

GOLDS = ("answer", "label", "rating")
"""Fields that hold the right answer: a column mapped to one of them is no field of its own name."""
Raw = tuple[str, Any]
"""Where a row stands in its file, and its value."""


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    """As the data names it, else a hash of the row's content."""
    where: str
    """File and line, for errors."""
    fields: Mapping[str, Any]
    group: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    rows: tuple[Row, ...]
    duplicates: int = 0
    """Rows left out because an earlier one has the same content."""


def read(path: Path, columns: Mapping[str, str | list[str]]) -> Rows:
    """The rows of a file in its order. Raises `DataError` for anything that is not as it should be."""
    seen: dict[str, str] = {}
    kept: dict[str, Row] = {}
    duplicates = 0
    for where, raw in _rows(path):
        row, content = _row(where, raw, columns)
        if content in seen:
            duplicates += 1
            continue
        if row.id in kept:
            raise DataError(
                f"{where} has the id {row.id!r} of {kept[row.id].where}, and other content",
                fix="give every row its own id, or none",
            )
        seen[content] = row.id
        kept[row.id] = row
    if not kept:
        raise DataError(f"{path.name} holds no rows", fix="write the items of the task into it")
    return Rows(tuple(kept.values()), duplicates)


def field_text(row: Row, name: str) -> str:
    """A field that must hold some text, or a number. Raises `DataError`."""
    value = row.fields.get(name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{row.where} has no {name}", fix=f"give every row a {name}, or map the column in [columns]")
    return value.strip()


def field_texts(row: Row, name: str, fewest: int = 1) -> tuple[str, ...]:
    """A field that must be a list of texts. Raises `DataError`."""
    value = row.fields.get(name)
    if not isinstance(value, list) or len(value) < fewest:
        raise DataError(
            f"{row.where}: {name} is no list of {fewest} texts or more",
            fix=f"give every row such a list, or map {name} in [columns]",
        )
    for one in value:
        if not isinstance(one, str) or not one.strip():
            raise DataError(f"{row.where}: {name} holds something that is no text", fix="correct that row")
    return tuple(one.strip() for one in value)


# --- one row --------------------------------------------------------------------------------------


def _row(where: str, raw: Any, columns: Mapping[str, str | list[str]]) -> tuple[Row, str]:
    """A row, and the hash of its content without the id."""
    if not isinstance(raw, dict):
        raise DataError(f"{where} is no object with fields", fix="correct that row")
    _check_unicode(where, raw)
    fields = dict(raw)
    for name, column in columns.items():
        fields[name] = _column(where, raw, column)
    for name in GOLDS:
        source = columns.get(name)
        if isinstance(source, str) and source not in columns:
            fields.pop(source, None)
    own = columns.get("id", "id")
    content = store.digest({key: value for key, value in raw.items() if key != own})
    group, language = _name(where, fields, "group"), _name(where, fields, "language")
    row = Row(
        id=_name(where, fields, "id") or content[:16],
        where=where,
        fields=fields,
        group=group,
        parts=(language,) if language else (),
    )
    return row, content


def _column(where: str, raw: dict[str, Any], column: str | list[str]) -> Any:
    if isinstance(column, list):
        return [_column(where, raw, one) for one in column]
    if column not in raw:
        raise DataError(f"{where} has no column {column!r}; {nearest(column, raw)}", fix="correct it in [columns]")
    return raw[column]


def _name(where: str, fields: Mapping[str, Any], key: str) -> str:
    """An id, group or language: a text or a whole number; empty where there is none."""
    value = fields.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where}: {key} is neither a text nor a whole number", fix="correct that row")
    return str(value).strip()


def _check_unicode(where: str, value: Any) -> None:
    """Half a surrogate pair is no text (H068)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} holds half a surrogate pair", fix="correct that character") from error


# --- files ----------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[Raw]:
    name = path.name.removesuffix(".gz")
    parse = {".jsonl": _jsonl, ".json": _json, ".csv": _csv}.get(Path(name).suffix)
    if parse is None:
        raise DataError(
            f"{path.name} is neither .jsonl, .json nor .csv", fix="save the rows as JSON lines, JSON or CSV"
        )
    return parse(path.name, read_text(path))


def read_text(path: Path) -> str:
    """The text of a file; what is gzip by content is unpacked. Raises `DataError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", fix="correct its name in the task") from error
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path.name} is damaged gzip: {error}", fix="copy the file again") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path.name} line {line} is not UTF-8 (byte {error.start})", fix="save the file as UTF-8"
        ) from error


def _jsonl(name: str, text: str) -> Iterator[Raw]:
    for number, line in enumerate(text.split("\n"), start=1):  # only there: texts may hold other line separators
        if line.strip():
            yield f"{name} line {number}", _parse(f"{name} line {number}", line)


def _json(name: str, text: str) -> Iterator[Raw]:
    value = _parse(name, text)
    if isinstance(value, list):
        yield from ((f"{name} entry {number}", row) for number, row in enumerate(value, start=1))
    elif isinstance(value, dict):
        for key, row in value.items():
            yield f"{name} entry {key!r}", {"id": key, **row} if isinstance(row, dict) else row
    else:
        raise DataError(f"{name} is neither a list nor an object", fix="write the rows as a list of objects")


def _csv(name: str, text: str) -> Iterator[Raw]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = reader.fieldnames or []
        if len(set(header)) < len(header):
            raise DataError(f"{name} names a column twice", fix="give every column its own name")
        for row in reader:
            where = f"{name} line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{where} has not as many values as columns", fix="correct that line")
            yield where, row
    except csv.Error as error:
        raise DataError(f"{name} line {reader.line_num} is not CSV: {error}", fix="correct that line") from error


def _parse(where: str, text: str) -> Any:
    """Strict JSON: no key twice, no NaN (H023)."""
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}", fix="correct it") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
