"""Any file or folder of labelled text as a table of strings: told by its content, never by its name."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basewright.data.rows import SEPARATORS
from basewright.errors import DataError

LARGEST = 512 * 2**20
"""Bytes that are read into memory at most."""
SAMPLE = 200
"""Records from which a separator is told."""
READABLE = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
NAMES_OF_LISTS = ("data", "rows", "items", "examples", "records")
OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"PAR1": "Parquet",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """As many cells each as there are columns; an absent value is empty."""
    places: tuple[str, ...]
    """Where each row stands: `line 7`."""
    form: str
    """What it was told to be, for a person: `CSV separated by semicolons`."""
    ragged: tuple[str, ...] = ()
    """Places of rows with more cells than there are columns; they are not among `rows`."""
    ignored: tuple[str, ...] = ()
    """Names of files in a folder that hold no rows."""


def read(path: Path) -> Table:
    """The table in a file, or of a folder's files. Raises `DataError` for what is none."""
    if path.is_dir():
        return _folder(path)
    text, encoding = _decoded(path)
    if not text.strip():
        raise DataError(f"{path.name} is empty", fix="give a file with one labelled text a row")
    found = _json(path.name, text) if text.lstrip()[0] in "[{" else None
    found = found or _delimited(path.name, text)
    return found if encoding == "UTF-8" else _renamed(found, f"{found.form} in {encoding}")


# --- bytes to text --------------------------------------------------------------------------------


def _decoded(path: Path) -> tuple[str, str]:
    raw = _bytes(path)
    for mark, codec, name in (
        (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
        (b"\xff\xfe", "utf-16", "UTF-16"),
        (b"\xfe\xff", "utf-16", "UTF-16"),
    ):
        if raw.startswith(mark):
            return _strictly(path, raw, codec), name
    if b"\0" in raw[:4096]:
        raise DataError(f"{path.name} is not text: it holds NUL bytes", fix="save the rows as CSV in UTF-8")
    try:
        return raw.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        return _strictly(path, raw, "cp1252"), "Windows-1252"


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            size = path.stat().st_size / 2**20
            raise DataError(
                f"{path.name} has {size:,.0f} MiB, more than is looked at", fix="take some ten thousand rows of it"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", fix="give a file or a folder") from error
    for start, what in OTHERS.items():
        if raw.startswith(start):
            raise DataError(f"{path.name} is {what}", fix="save its rows as CSV or JSON lines, then look at that file")
    return raw


def _strictly(path: Path, raw: bytes, codec: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is neither UTF-8 nor {codec} (byte {error.start})", fix="save the file as UTF-8"
        ) from error


def _renamed(table: Table, form: str) -> Table:
    return Table(table.columns, table.rows, table.places, form, table.ragged, table.ignored)


# --- JSON -----------------------------------------------------------------------------------------


def _json(name: str, text: str) -> Table | None:
    """A list of objects, one in an object, or an object a line. None for what only begins like JSON."""
    try:
        return _objects(name, *_listed(name, json.loads(text)))
    except (ValueError, RecursionError):
        pass
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    found: list[tuple[str, Any]] = []
    for number, line in lines:
        try:
            found.append((f"line {number}", json.loads(line)))
        except (ValueError, RecursionError) as error:
            if not found:
                return None
            raise DataError(f"{name} line {number} is not JSON: {error}", fix="correct that line") from error
    return _objects(name, found, "JSON lines")


def _listed(name: str, value: Any) -> tuple[list[tuple[str, Any]], str]:
    if isinstance(value, dict):
        lists = [value[key] for key in NAMES_OF_LISTS if isinstance(value.get(key), list)]
        if not lists and len(value) > 1 and all(isinstance(one, dict) for one in value.values()):
            return [(f"entry {key!r}", one) for key, one in value.items()], "JSON, an entry a row"
        if len(lists) != 1:
            raise DataError(
                f"{name} is one JSON object and not a list of rows", fix='write it as [{"text": "…", "label": "…"}, …]'
            )
        value = lists[0]
    return [(f"row {number}", one) for number, one in enumerate(value, start=1)], "a JSON list"


def _objects(name: str, found: Sequence[tuple[str, Any]], form: str) -> Table:
    rows: list[dict[str, str]] = []
    for place, value in found:
        if not isinstance(value, dict):
            raise DataError(f"{name} {place} is no object with a text and a label", fix="correct that row")
        rows.append(dict(_flat(name, place, value)))
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(row.get(column, "") for column in columns) for row in rows)
    return Table(columns, cells, tuple(place for place, _ in found), form)


def _flat(name: str, place: str, value: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Keys of inner objects as `outer.inner`, a list of values as one cell, numbers as JSON writes them; a list of
    objects is no cell."""
    for key, one in value.items():
        if isinstance(one, dict) and above.count(".") < 3:
            yield from _flat(name, place, one, f"{above}{key}.")
        elif isinstance(one, list):
            _refuse_turns(name, place, key, one)
            if not any(isinstance(part, dict | list) for part in one):
                yield f"{above}{key}", "; ".join(str(part) for part in one)
        else:
            yield f"{above}{key}", one if isinstance(one, str) else "" if one is None else json.dumps(one)


def _refuse_turns(name: str, place: str, key: str, value: list[Any]) -> None:
    if value and isinstance(value[0], dict) and {"role", "from"} & set(value[0]):
        raise DataError(
            f"{name} {place} holds a conversation under {key!r}: a task here is a text with one label",
            fix="write rows with the text to be judged and its label",
        )


# --- delimited ------------------------------------------------------------------------------------


def _delimited(name: str, text: str) -> Table:
    separator = _separator(text)
    records = _records(name, text, separator)
    if len(records) < 2 or len(records[0][1]) < 2:
        raise DataError(
            f"{name} has no columns: neither comma, semicolon, tab nor | splits its lines",
            fix="give every row a text and a label",
        )
    headed = _is_header([cells for _, cells in records])
    width = len(records[0][1])
    columns = _unique(records[0][1]) if headed else tuple(f"column {i + 1}" for i in range(width))
    body = records[1:] if headed else records
    kept = [(place, tuple(cells + [""] * (width - len(cells)))) for place, cells in body if len(cells) <= width]
    ragged = tuple(place for place, cells in body if len(cells) > width)
    called = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}[separator]
    form = f"CSV separated by {called}" + ("" if headed else ", without a line of names")
    return Table(columns, tuple(cells for _, cells in kept), tuple(place for place, _ in kept), form, ragged)


def _separator(text: str) -> str:
    """The one that gives the first records the same number of cells; of equals, the one that gives more."""

    def merit(separator: str) -> tuple[float, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            widths = Counter(len(cells) for _, cells in zip(range(SAMPLE), reader, strict=False) if cells)
        except csv.Error:
            return 0.0, 0
        width, count = widths.most_common(1)[0]
        return (round(count / widths.total(), 1), width) if width > 1 else (0.0, 0)

    return max(SEPARATORS, key=merit)


def _records(name: str, text: str, separator: str) -> list[tuple[str, list[str]]]:
    """Each record that is not blank, with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found: list[tuple[str, list[str]]] = []
    before = 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((f"line {before + 1}", cells))
            before = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{name} line {before + 1} is not CSV: {error}", fix='write a quote inside a quoted cell as ""'
        ) from error
    return found


def _is_header(records: list[list[str]]) -> bool:
    """Names are short and recur in no row below; an ordinary first row has a value that recurs, or is long."""
    first = [cell.strip() for cell in records[0]]
    if any(len(cell) > 60 for cell in first) or sum(not cell for cell in first) > 1:
        return False
    below = [{row[i].strip() for row in records[1:] if i < len(row)} for i in range(len(first))]
    return not any(cell and cell in values for cell, values in zip(first, below, strict=True))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """A name that is empty, or there already, is told apart by its place."""
    found: list[str] = []
    for place, name in enumerate(names, start=1):
        found.append(name if name.strip() and name not in found else f"{name.strip() or 'column'} {place}")
    return tuple(found)


# --- folders --------------------------------------------------------------------------------------


def _folder(path: Path) -> Table:
    """Files with the same columns are pooled. Where there are none: a folder a label, a text file a row."""
    files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    data = [one for one in files if one.suffix.lower() in READABLE]
    if not data:
        return _by_subfolder(path)
    tables: list[tuple[str, Table]] = []
    ignored = [one.name for one in files if one not in data]
    for one in data:
        try:
            tables.append((one.name, read(one)))
        except DataError:
            ignored.append(one.name)
    return _pooled(path.name, tables, ignored)


def _pooled(name: str, tables: list[tuple[str, Table]], ignored: list[str]) -> Table:
    if not tables:
        raise DataError(f"no file in {name} holds rows", fix="give a CSV or JSON lines file")
    first = tables[0][1]
    for other, table in tables[1:]:
        if set(table.columns) != set(first.columns):
            raise DataError(
                f"{tables[0][0]} and {other} in {name} have other columns", fix="give the one file that holds the rows"
            )
    rows, places, ragged = [], [], []
    for file, table in tables:
        order = [table.columns.index(column) for column in first.columns]
        rows += [tuple(cells[i] for i in order) for cells in table.rows]
        places += [f"{file} {place}" for place in table.places]
        ragged += [f"{file} {place}" for place in table.ragged]
    form = f"{first.form}, {len(tables)} files pooled" if len(tables) > 1 else first.form
    return Table(first.columns, tuple(rows), tuple(places), form, tuple(ragged), tuple(ignored))


def _by_subfolder(path: Path) -> Table:
    rows, places = [], []
    for folder in sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith(".")):
        for file in sorted(one for one in folder.iterdir() if one.is_file() and one.suffix in ("", ".txt", ".md")):
            rows.append((_decoded(file)[0], folder.name))
            places.append(f"{folder.name}/{file.name}")
    if not rows:
        raise DataError(
            f"{path.name} holds no data files, and no folders of text files",
            fix="give a CSV or JSON lines file, or a folder with one folder a label",
        )
    return Table(("text", "label"), tuple(rows), tuple(places), "a folder a label, a text file a row")
