"""What a file is, its content says; every row is there or is named; a damaged file is one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from basewright.data import contents, files, tables
from basewright.errors import DataError

ROWS = [{"text": "one clock, struck", "label": "a"}, {"text": 'sailors "and"\nropes ü', "label": "b"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = 'text,label\n"one clock, struck",a\n"sailors ""and""\nropes ü",b\n'
TABLE = pyarrow.Table.from_pylist(ROWS)


def stream(path: Path, table: Any = TABLE) -> None:
    with ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


def arrow(path: Path) -> None:
    with ipc.new_file(str(path), TABLE.schema) as writer:
        writer.write_table(TABLE)


FORMS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": lambda path: path.write_text(LINES, "utf-8"),
    "a.ndjson": lambda path: path.write_text(LINES.replace("\n", "\r\n"), "utf-8"),
    "list.jsonl": lambda path: path.write_text(json.dumps(ROWS), "utf-8"),
    "a.json": lambda path: path.write_text(json.dumps(ROWS, indent=1), "utf-8"),
    "lines.json": lambda path: path.write_text(LINES, "utf-8"),
    "ids.json": lambda path: path.write_text(json.dumps({"x": ROWS[0], "y": ROWS[1]}), "utf-8"),
    "inside.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS}), "utf-8"),
    "bom.csv": lambda path: path.write_text("\ufeff" + CSV, "utf-8"),
    "semicolons.csv": lambda path: path.write_text('text;label\n"one clock, struck";a\n"sailors ""and""\nropes ü";b\n'),
    "a.tsv": lambda path: path.write_text(
        'text\tlabel\none clock, struck\ta\n"sailors ""and""\nropes ü"\tb\n', "utf-8"
    ),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES.encode())),
    "not-called.csv": lambda path: path.write_bytes(gzip.compress(CSV.encode())),
    "a.json.xz": lambda path: path.write_bytes(lzma.compress(json.dumps(ROWS).encode())),
    "a.csv.bz2": lambda path: path.write_bytes(bz2.compress(CSV.encode())),
    "a.parquet": lambda path: parquet.write_table(TABLE, path),
    "misnamed.jsonl": lambda path: parquet.write_table(TABLE, path),
    "a.arrow": arrow,
    "stream.arrow": stream,
}


@pytest.mark.parametrize("name", FORMS)
def test_h061_every_form_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    found = files.read(tmp_path / name)
    assert [raw.value for raw in found.rows] == ROWS
    assert all(raw.where.startswith(name) and not raw.fault for raw in found.rows)


def saved(folder: Path, labels: list[str] | None = None) -> Path:
    """A folder as `Dataset.save_to_disk` of datasets 5.2 writes it."""
    folder.mkdir(parents=True)
    numbers = [{"text": row["text"], "label": i} for i, row in enumerate(ROWS)]
    stream(folder / "data-00000-of-00002.arrow", pyarrow.Table.from_pylist(numbers[:1] if labels else ROWS[:1]))
    stream(folder / "data-00001-of-00002.arrow", pyarrow.Table.from_pylist(numbers[1:] if labels else ROWS[1:]))
    kind = {"names": labels, "_type": "ClassLabel"} if labels else {"dtype": "string", "_type": "Value"}
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": kind}}))
    names = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": names, "_split": None}))
    return folder


def test_a_saved_dataset_gives_its_rows_and_the_names_of_its_labels(tmp_path: Path) -> None:
    assert [raw.value for raw in files.read(saved(tmp_path / "one")).rows] == ROWS
    assert [raw.value for raw in files.read(saved(tmp_path / "two", ["a", "b"])).rows] == ROWS


def test_a_dataset_of_several_parts_is_asked_for_one(tmp_path: Path) -> None:
    for part in ("train", "test"):
        saved(tmp_path / part)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="several parts: train, test") as caught:
        files.read(tmp_path)
    assert caught.value.fix.endswith("train")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert len(files.read(tmp_path).rows) == 2


def test_h022_names_in_a_dataset_lead_nowhere_else(tmp_path: Path) -> None:
    saved(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../two.arrow"}]}')
    with pytest.raises(DataError, match=r"names '../two.arrow'"):
        files.read(tmp_path / "one")


def test_a_folder_of_texts_is_a_row_each_and_scripts_are_named_not_run(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("first", "utf-8")
    (tmp_path / "b" / "c.md").write_text("second", "utf-8")
    (tmp_path / "load.py").write_text("raise SystemExit")
    found = files.read(tmp_path)
    assert [raw.value for raw in found.rows] == [{"text": "first"}, {"text": "second"}]
    assert (found.form, found.ignored) == ("folder of text", ("load.py",))


def test_a_folder_of_rows_and_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# rows")
    for part in ("train-0", "train-1", "test-0"):
        (tmp_path / f"{part}.jsonl").write_text(LINES, "utf-8")
    assert len(files.read(tmp_path).rows) == 6
    assert len(files.read(tmp_path / "train-*.jsonl").rows) == 4


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "holds no rows"),
        ("a.csv", b"text,label\n", "holds no rows"),
        ("a.json", b'{"a": ', "is not JSON"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.csv", b'text,text\n"x",y\n', "names a column twice"),
        ("a.csv", b'text,label\n"x,y\n', "is not CSV"),
        ("a.jsonl", LINES.encode() + b'{"text": "caf\xe9"}\n', "line 3 is not UTF-8"),
        ("a.jsonl", LINES.encode("utf-16"), "is UTF-16"),
        ("a.jsonl", gzip.compress(LINES.encode())[:-9], "is damaged"),
        ("a.jsonl", lzma.compress(LINES.encode())[:-9], "is damaged"),
        ("a.jsonl", b"\x28\xb5\x2f\xfd....", "packed with zstd"),
        ("a.csv", b"PK\x03\x04....", "a zip archive"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.parquet", b"PAR1" + b"\0" * 60, "cannot be read"),
        ("a.arrow", b"ARROW1\0\0" + b"\0" * 60, "cannot be read"),
        ("a.xlsx", b"x", "none of the names"),
    ],
)
def test_h063_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        files.read(tmp_path / name)
    assert caught.value.fix
    assert name in caught.value.message


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        files.read(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no file of rows"):
        files.read(tmp_path)


def test_a_file_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MAX_BYTES", 1000)
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(b" " * 2000))
    with pytest.raises(DataError, match="larger than"):
        files.read(tmp_path / "a.jsonl")


def test_without_pyarrow_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="pyarrow is not installed") as caught:
        list(tables.rows(tmp_path / "a.parquet"))
    assert "pip install 'basewright[parquet]'" in caught.value.fix


def test_h062_a_row_that_is_no_row_stays_listed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINES + '{"text": \n' + '{"text": NaN}\n{"a": 1, "a": 2}\n' + LINES, "utf-8")
    found = files.read(tmp_path / "a.jsonl").rows
    assert [bool(raw.fault) for raw in found] == [False, False, True, True, True, False, False]
    assert [raw.where for raw in found if raw.fault] == [f"a.jsonl line {i}" for i in (3, 4, 5)]
    (tmp_path / "a.csv").write_text(CSV + "too,many,values\nfew\n\n", "utf-8")
    assert [raw.fault for raw in files.read(tmp_path / "a.csv").rows[2:]] == [
        "it has 3 values, and 2 columns are named",
        "it has 1 values, and 2 columns are named",
    ]


def test_a_long_field_is_a_field(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "x" * 300_000 + "\n")
    assert len(files.read(tmp_path / "a.csv").rows[0].value["text"]) == 300_000


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_h068_text_comes_out_as_it_went_in(tmp_path: Path, texts: list[str]) -> None:
    """NUL, other line separators, right-to-left marks and all."""
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), "utf-8", newline=""
    )
    assert [raw.value["text"] for raw in files.read(path).rows] == texts
