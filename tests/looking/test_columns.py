"""Text and label are found in files that were not made for it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from basewright.errors import DataError, UsageError
from basewright.looking import columns, table

REAL = {
    "banking77/train.csv": ("text", "category"),
    "xstest/xstest_prompts.csv": ("prompt", "label"),
    "truthfulqa/TruthfulQA.csv": ("Question", "Category"),
    "pubmedqa/ori_pqal.json.gz": ("CONTEXTS", "final_decision"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "tasks" / name
    content = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    path = tmp_path / source.name.removesuffix(".gz")
    path.write_bytes(content)
    found = columns.find(table.read(path))
    assert (found.text, found.label) == REAL[name]


def of(**cells: list[str]) -> table.Table:
    rows = tuple(zip(*cells.values(), strict=True))
    return table.Table(tuple(cells), rows, tuple(f"line {i}" for i in range(len(rows))), "CSV")


PROSE = [f"please look at the order number {i} again" for i in range(60)]
KINDS = ["late", "lost", "broken"] * 20


def test_names_decide_only_between_what_can_be_it() -> None:
    ids = [f"T-{i}" for i in range(60)]
    dates = [f"2026-01-{1 + i % 28:02}" for i in range(60)]
    found = columns.find(of(label=ids, date=dates, body=PROSE, anything=KINDS))
    assert (found.text, found.label) == ("body", "anything")
    assert found.also_label == ("date",)


def test_of_two_that_can_the_one_named_so_is_the_label_and_the_other_is_said() -> None:
    staff = ["anna", "bo", "cem", "dee"] * 15
    found = columns.find(of(agent=staff, Intent=KINDS, Message=PROSE))
    assert (found.label, found.also_label) == ("Intent", ("agent",))


def test_what_is_stated_is_taken_and_must_be_there() -> None:
    data = of(agent=["anna", "bo"] * 30, queue=KINDS, message=PROSE, subject=[f"order {i} please" for i in range(60)])
    found = columns.find(data, text="subject", label="agent")
    assert (found.text, found.label, found.also_text, found.also_label) == ("subject", "agent", (), ())
    assert columns.find(data).also_text == ("subject",)
    with pytest.raises(UsageError, match="did you mean 'queue'"):
        columns.find(data, label="queu")


def test_why_there_is_none_is_said_column_by_column() -> None:
    with pytest.raises(DataError, match=r"'id' has 60 values in 60 rows; 'same' has 1 value in 60 rows; 'no' is empty"):
        columns.find(of(id=[str(i) for i in range(60)], same=["x"] * 60, no=[""] * 60, text=PROSE))
