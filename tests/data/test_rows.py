"""Bad rows get one line that names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.data import rows
from basewright.errors import DataError
from basewright.records import Item

GOOD = '{"text": "a b", "label": "x"}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no rows"),
        (b"\n\n", "holds no rows"),
        (GOOD.encode() + b'{"text": "a"}\n', "line 2 has no label"),
        (GOOD.encode() + b'{"text": "a", "label": ""}\n', "line 2 has no label"),
        (GOOD.encode() + b'{"text": "a", "label": 3}\n', "line 2 has no label"),
        (GOOD.encode() + b'{"label": "x"}\n', "line 2 has no text"),
        (GOOD.encode() + b"[1, 2]\n", "line 2 is no object"),
        (GOOD.encode() + b'{"text": \n', "line 2 is not JSON"),
        (GOOD.encode() * 2 + b'{"text": "caf\xe9", "label": "x"}\n', "line 3 is not UTF-8"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (GOOD.encode() + b'{"text": "a \\ud83d", "label": "x"}\n', "line 2: text holds half a surrogate pair"),
    ],
)
def test_h063_a_bad_row_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        rows.read(path)
    assert caught.value.fix
    assert "\n" not in caught.value.message


def test_a_missing_file_and_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        rows.read(tmp_path / "none.jsonl")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"neither"):
        rows.read(tmp_path / "x.parquet")


def test_csv_and_jsonl_give_the_same_items(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD + '{"text": "with, comma and \\"quotes\\"", "label": "y"}\n', "utf-8")
    (tmp_path / "a.csv").write_text('\ufefftext,label\na b,x\n"with, comma and ""quotes""",y\n', "utf-8")
    assert rows.read(tmp_path / "a.jsonl") == rows.read(tmp_path / "a.csv")


@pytest.mark.parametrize("separator", list(rows.SEPARATORS))
def test_columns_may_have_any_names_and_any_separator(tmp_path: Path, separator: str) -> None:
    cells = [["id", "Utterance", "Intent"], ["7", f'"so{separator} a\nb"', "x"], ["8", "c", "y"]]
    (tmp_path / "a.csv").write_text("\n".join(separator.join(line) for line in cells) + "\n", "utf-8")
    found = rows.read(tmp_path / "a.csv", ("Utterance", "Intent"))
    assert [(item.text, item.label) for item in found] == [(f"so{separator} a\nb", "x"), ("c", "y")]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,utterance,intent\n7,a b,x\n", "utf-8")
    with pytest.raises(DataError, match=r"line 2 has no text; it has id, utterance, intent") as caught:
        rows.read(tmp_path / "a.csv")
    assert "[task].text" in caught.value.fix


@given(st.text(), st.text())
def test_the_same_text_has_the_same_id(a: str, b: str) -> None:
    assert (rows.identity(a) == rows.identity(b)) == (rows.normal(a) == rows.normal(b))


def test_labels_seen_once_or_alone_are_refused() -> None:
    with pytest.raises(DataError, match="'y' is seen once"):
        rows.check_labels([_item("a", "x"), _item("b", "x"), _item("c", "y")], "f")
    with pytest.raises(DataError, match="one label only"):
        rows.check_labels([_item("a", "x"), _item("b", "x")], "f")


def _item(text: str, label: str) -> Item:
    return Item(id=rows.identity(text), text=text, label=label)
