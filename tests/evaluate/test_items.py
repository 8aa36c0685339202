"""Data files become rows: every form reads alike, and every fault names its file and line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import DataError
from basewright.evaluate import items

ROWS = [{"q": f"question {n}, with \u2028 and {{braces}}", "a": f"answer {n}"} for n in range(5)]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(tmp_path: Path, name: str, data: str | bytes, **columns: str | list[str]) -> items.Rows:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return items.read(path, columns)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("d.jsonl", jsonl(ROWS)),
        ("d.jsonl", jsonl(ROWS).replace("\n", "\r\n")),
        ("d.jsonl", "\ufeff" + jsonl(ROWS) + "\n\n"),
        ("d.json", json.dumps(ROWS, indent=1)),
        ("d.csv", table(ROWS)),
        ("d.jsonl.gz", gzip.compress(jsonl(ROWS).encode())),
        ("d.csv.gz", gzip.compress(table(ROWS).encode())),
        ("d.jsonl", gzip.compress(jsonl(ROWS).encode())),
        ("d.jsonl.gz", jsonl(ROWS)),
    ],
)
def test_h061_one_set_in_every_form_is_the_same_rows(tmp_path: Path, name: str, data: str | bytes) -> None:
    found = read(tmp_path, name, data)
    expected = read(tmp_path, "plain.jsonl", jsonl(ROWS))
    assert [row.fields for row in found.rows] == ROWS
    assert [row.id for row in found.rows] == [row.id for row in expected.rows]


def test_an_object_names_its_rows(tmp_path: Path) -> None:
    found = read(tmp_path, "d.json", json.dumps({"x1": {"q": "one"}, "x2": {"q": "two"}}))
    assert [(row.id, row.fields["q"]) for row in found.rows] == [("x1", "one"), ("x2", "two")]


def test_columns_by_name(tmp_path: Path) -> None:
    data = "stem,A,B,key,topic,tongue\nWhich?,one,two,B,t7,en\n"
    (row,) = read(
        tmp_path, "d.csv", data, text="stem", choices=["A", "B"], answer="key", group="topic", language="tongue"
    ).rows
    assert (row.fields["text"], row.fields["choices"], row.fields["answer"]) == ("Which?", ["one", "two"], "B")
    assert (row.group, row.parts) == ("t7", ("en",))
    assert row.fields["stem"] == "Which?"
    assert "key" not in row.fields  # a prompt must not show it under its own name either


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_h062_equal_rows_are_kept_once_and_counted(numbers: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), "d.jsonl", jsonl([{"id": n, "q": str(number)} for n, number in enumerate(numbers)]))
    assert [row.fields["q"] for row in found.rows] == [str(number) for number in dict.fromkeys(numbers)]
    assert found.duplicates == len(numbers) - len(set(numbers))


def test_an_id_is_of_the_content_alone(tmp_path: Path) -> None:
    one = read(tmp_path, "d.jsonl", '{"q": "x", "a": "y"}\n{"q": "z"}\n').rows
    two = read(tmp_path, "e.jsonl", '{"q": "z"}\n{"a": "y", "q": "x"}\n').rows
    assert {row.id for row in one} == {row.id for row in two}
    with pytest.raises(DataError, match=r"d\.jsonl line 2 has the id '7' of d\.jsonl line 1, and other content"):
        read(tmp_path, "d.jsonl", '{"id": 7, "q": "x"}\n{"id": 7, "q": "y"}\n')


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("d.jsonl", '{"q": "x"}\n{"q": \n', r"d\.jsonl line 2 is not JSON"),
        ("d.jsonl", '{"q": "x"}\n["x"]\n', r"d\.jsonl line 2 is no object"),
        ("d.jsonl", '{"q": "x", "q": "y"}\n', r"line 1 is not JSON: a key appears twice"),
        ("d.jsonl", '{"q": NaN}\n', r"line 1 is not JSON: NaN"),
        ("d.jsonl", '{"q": "\\ud800"}\n', r"line 1 holds half a surrogate pair"),
        ("d.jsonl", "[" * 100_000, r"line 1 is not JSON"),
        ("d.jsonl", b'{"q": "x"}\n{"q": "\xff"}\n', r"line 2 is not UTF-8 \(byte 18\)"),
        ("d.jsonl", '{"id": [1], "q": "x"}\n', r"line 1: id is neither"),
        ("d.jsonl", "", r"holds no rows"),
        ("d.json", "3", r"neither a list nor an object"),
        ("d.json", '[{"q": "x"}, 3]', r"d\.json entry 2 is no object"),
        ("d.json", '{"a": {"q": "x"}, "b": 3}', r"d\.json entry 'b' is no object"),
        ("d.csv", "q,a\nx\n", r"d\.csv line 2 has not as many values"),
        ("d.csv", "q,a\nx,y,z\n", r"d\.csv line 2 has not as many values"),
        ("d.csv", "q,q\nx,y\n", r"names a column twice"),
        ("d.csv", 'q\n"x\n', r"d\.csv line \d is not CSV"),
        ("d.txt", "x", r"neither \.jsonl"),
        ("d.jsonl.gz", gzip.compress(b'{"q": "x"}\n')[:-9], r"d\.jsonl\.gz is damaged gzip"),
        ("d.jsonl.gz", b"\x1f\x8b\x08\x00garbage!!", r"d\.jsonl\.gz is damaged gzip"),
    ],
)
def test_h063_every_fault_is_one_line_with_its_place(tmp_path: Path, name: str, data: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(tmp_path, name, data)
    assert "\n" not in caught.value.message


def test_missing_files_and_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        items.read(tmp_path / "none.csv", {})
    with pytest.raises(DataError, match="line 1 has no column 'qestion'; did you mean 'question'"):
        read(tmp_path, "d.jsonl", '{"question": "x"}\n', text="qestion")


@pytest.mark.parametrize("value", [None, "", "  ", [], {"a": 1}])
def test_h064_a_field_of_another_type_late_in_the_file(tmp_path: Path, value: Any) -> None:
    rows = [{"n": n, "a": "x", "c": ["p", "q"]} for n in range(200)]
    rows[150] = {"n": 150, "a": value, "c": value}
    found = read(tmp_path, "d.jsonl", jsonl(rows)).rows
    with pytest.raises(DataError, match="line 151 has no a"):
        _ = [items.field_text(row, "a") for row in found]
    with pytest.raises(DataError, match="line 151: c is no list of 2 texts"):
        _ = [items.field_texts(row, "c", 2) for row in found]
