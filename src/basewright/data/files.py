"""Files and folders of training data to raw rows: what a file is, its content says; a row that is no row stays listed.

Text is UTF-8 and stays as it is, NUL and line ends inside a value included; a byte order mark is taken off.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from basewright import signals
from basewright.data import contents, tables
from basewright.errors import DataError

TEXT = (".txt", ".text", ".md", ".rst")
LINES = (".jsonl", ".ndjson")
NAMES = {"JSON lines": LINES, "JSON": (".json",), "CSV": (".csv", ".tsv"), "Parquet": (".parquet",), "text": TEXT}
SEPARATORS = ",;\t|"
LONGEST = 2**30
"""Characters of one CSV field; the csv module's own limit, 131,072, is less than a contract has."""


class Raw(NamedTuple):
    where: str
    """Its place, as `rows.jsonl line 3`."""
    value: Any
    fault: str = ""
    """Why it is no row; `value` is then what was read of it."""


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    form: str
    """What the content is: `JSON lines`, `Parquet` and so on."""
    rows: tuple[Raw, ...]
    ignored: tuple[str, ...] = ()
    """Files of a folder that are no rows; a loading script among them is never run (H072)."""


def read(path: Path) -> Source:
    """All rows of a file, of a folder of files, or of a `datasets` folder. Raises `DataError`, also for no rows."""
    if "*" in path.name:
        found = _files(sorted(path.parent.glob(path.name)), path.name)
    elif path.is_dir():
        found = _folder(path)
    else:
        found = _files([path], path.name)
    if not found.rows:
        raise DataError(f"{path.name} holds no rows", fix="give a file or folder with rows in it")
    return found


def _folder(path: Path) -> Source:
    splits = tables.splits(path)
    if len(splits) == 1:
        path = path / splits[0]
    elif splits:
        raise DataError(
            f"{path.name} is a dataset of several parts: {', '.join(splits)}",
            fix=f"give one of them: {path / splits[0]}",
        )
    if shards := tables.shards(path):
        return Source(path.name, "datasets folder", tuple(_table(shards, tables.label_names(path))))
    inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
    for form, suffixes in NAMES.items():
        if chosen := [one for one in inside if _suffix(one) in suffixes and one.name not in tables.FACTS]:
            source = _files(chosen, path.name)
            others = tuple(one.name for one in inside if one not in chosen)
            return Source(path.name, f"folder of {form}", source.rows, others)
    raise DataError(f"{path.name} holds no file of rows or of text", fix="give a file, or a folder of .txt files")


def _files(paths: Sequence[Path], name: str) -> Source:
    forms, rows = [], []
    for path in paths:
        signals.poll()
        form, found = _file(path)
        forms.append(form)
        rows += found
    if len(set(forms)) > 1:
        raise DataError(f"{name} mixes {' and '.join(sorted(set(forms)))}", fix="give files of one form")
    return Source(name, forms[0] if forms else "", tuple(rows))


def _file(path: Path) -> tuple[str, list[Raw]]:
    head = contents.head(path)
    if head.startswith(tables.MAGIC):
        return "Parquet" if head.startswith(tables.PARQUET) else "Arrow", list(_table([path], {}))
    text = contents.text(path)
    suffix = _suffix(path)
    if suffix in TEXT:
        return "text", [Raw(path.name, {"text": text})]
    if suffix in (".csv", ".tsv"):
        return "CSV", list(_csv(path.name, text, "\t" if suffix == ".tsv" else ""))
    if suffix not in (*LINES, ".json"):
        known = ", ".join(one for suffixes in NAMES.values() for one in suffixes)
        raise DataError(f"{path.name} has none of the names known for rows: {known}", fix="save the rows as JSON lines")
    if text.lstrip().startswith("[") or (suffix == ".json" and not _is_lines(text)):
        return "JSON", list(_json(path.name, text))
    return "JSON lines", list(_lines(path.name, text))


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz").removesuffix(".xz").removesuffix(".bz2")).suffix


def _is_lines(text: str) -> bool:
    """Whether a file called .json is one object a line: then its first line is a value by itself, and not its only."""
    first, _, rest = text.strip().partition("\n")
    try:
        return isinstance(json.loads(first), dict) and bool(rest.strip())
    except (ValueError, RecursionError):
        return False


def _lines(name: str, text: str) -> Iterator[Raw]:
    for number, line in enumerate(text.split("\n"), start=1):  # only there: texts may hold other line separators
        if line.strip():
            where = f"{name} line {number}"
            try:
                yield Raw(where, _parse(line))
            except (ValueError, RecursionError) as error:
                yield Raw(where, line, f"it is not JSON: {error}")


def _json(name: str, text: str) -> Iterator[Raw]:
    """A list of rows, alone or as the only list in an object; or an object whose keys are the rows' ids."""
    try:
        value = _parse(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON: {error}", fix="correct it, or copy the file again") from error
    if isinstance(value, dict):
        lists = [one for one in value.values() if isinstance(one, list)]
        if len(lists) == 1 and not any(isinstance(one, dict) for one in value.values()):
            value = lists[0]
        else:
            yield from (Raw(f"{name} entry {key!r}", row) for key, row in value.items())
            return
    for number, row in enumerate(value, start=1):
        yield Raw(f"{name} entry {number}", row)


def _parse(text: str) -> Any:
    """Strict JSON: no key twice, no NaN (H023)."""
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _csv(name: str, text: str, separator: str) -> Iterator[Raw]:
    head = text.split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, delimiter=separator or max(SEPARATORS, key=head.count)
    )
    try:
        with _long_fields():
            names = next(reader, [])
            if len(set(names)) < len(names):
                raise DataError(f"{name} names a column twice", fix="give every column its own name")
            for values in reader:
                where = f"{name} line {reader.line_num}"
                if values and len(values) != len(names):
                    yield Raw(where, values, f"it has {len(values)} values, and {len(names)} columns are named")
                elif values:
                    yield Raw(where, dict(zip(names, values, strict=True)))
    except csv.Error as error:
        raise DataError(f"{name} line {reader.line_num} is not CSV: {error}", fix="correct that line") from error


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _table(paths: Sequence[Path], labels: dict[str, list[str]]) -> Iterator[Raw]:
    for path in paths:
        for number, row in enumerate(tables.rows(path), start=1):
            for column, names in labels.items():
                if isinstance(row.get(column), int) and 0 <= row[column] < len(names):
                    row[column] = names[row[column]]
            yield Raw(f"{path.name} row {number}", row)
