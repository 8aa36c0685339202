"""Splits that never move, never leak and never lose a row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.data import rows, split, task
from basewright.errors import DataError, Refused, UsageError
from basewright.records import Item, Layout

LAYOUT = Layout(prompt="T: {text}\nL:", separator="\n\n")
WORDS = [f"word{i}" for i in range(400)]


def item(text: str, label: str = "x") -> Item:
    return Item(id=rows.identity(text), text=text, label=label)


def items(count: int, seed: int = 0) -> list[Item]:
    draw = random.Random(seed)
    return [item(" ".join(draw.choices(WORDS, k=12)), "xyz"[i % 3]) for i in range(count)]


def test_every_row_is_on_one_side_and_near_the_asked_share() -> None:
    rows_ = items(800)
    parts = split.divide(rows_, choose=0.25, test=0.25)
    together = [one.id for part in parts.values() for one in part]
    assert sorted(together) == sorted(one.id for one in rows_)
    assert 150 < len(parts["test"]) < 250
    assert 150 < len(parts["choose"]) < 250


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_order_and_added_rows_move_nothing(seed: int) -> None:
    rows_ = items(120)
    before = {one.id: name for name, part in split.divide(rows_, choose=0.3, test=0.3).items() for one in part}
    more = rows_ + items(60, seed=seed + 1)
    random.Random(seed).shuffle(more)
    after = {one.id: name for name, part in split.divide(more, choose=0.3, test=0.3).items() for one in part}
    assert all(after[key] == name for key, name in before.items())


def test_near_duplicates_stay_together() -> None:
    draw = random.Random(5)
    pairs = []
    for base in items(150, seed=5):
        words = base.text.split() + draw.choices(WORDS, k=20)
        changed = [*words[:-1], "changed"]
        pairs += [item(" ".join(words), base.label), item(" ".join(changed), base.label)]
    parts = split.divide(pairs, choose=0.3, test=0.3)
    side = {one.id: name for name, part in parts.items() for one in part}
    together = sum(side[a.id] == side[b.id] for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    assert together == 150


def test_h078_rows_that_copy_a_sentence_stay_together() -> None:
    """13 words in a row are what the certificate refuses; the split that is made for a person must not lead there."""
    draw = random.Random(6)
    pairs = []
    for base in items(150, seed=6):
        copied = draw.choices(WORDS, k=split.RUN)
        pairs += [item(" ".join([*draw.choices(WORDS, k=20), *copied]), base.label) for _ in range(2)]
    parts = split.divide(pairs, choose=0.3, test=0.3)
    side = {one.id: name for name, part in parts.items() for one in part}
    assert all(side[a.id] == side[b.id] for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    assert len(set(split.clusters(pairs))) == 150


def test_h062_the_ledger_closes() -> None:
    rows_ = items(40)
    kept, ledger = split.deduplicate([*rows_, rows_[0], rows_[1]])
    assert (ledger.read, ledger.used, ledger.duplicates) == (42, 40, 2)
    assert ledger.read == ledger.used + ledger.duplicates
    assert kept == rows_
    assert ledger.duplicate_examples == (rows_[0].text[:80], rows_[1].text[:80])


def test_the_same_text_under_two_labels_is_refused() -> None:
    with pytest.raises(DataError, match="has label 'x' and 'y'"):
        split.deduplicate([item("Same  text", "x"), item("same text", "y")])


def test_h078_an_overlapping_test_file_is_refused() -> None:
    rows_ = items(60)
    with pytest.raises(Refused, match="overlaps the training rows"):
        split.refuse_overlap(rows_[:40], [*rows_[40:], item(rows_[3].text + " extra")], "test.jsonl")
    split.refuse_overlap(rows_[:40], rows_[40:], "test.jsonl")


def test_a_task_from_files(tmp_path: Path) -> None:
    write(tmp_path / "all.jsonl", items(200))
    write(tmp_path / "test.jsonl", items(30, seed=9))
    made = task.make("t", tmp_path / "all.jsonl", choose=0.3, test=tmp_path / "test.jsonl", layout=LAYOUT, shots=4)
    assert len(made.test) == 30
    assert len(made.train) + len(made.choose) == 200
    again = task.make("t", tmp_path / "all.jsonl", choose=0.3, test=tmp_path / "test.jsonl", layout=LAYOUT, shots=4)
    assert again == made
    write(tmp_path / "test.jsonl", [item("new words here now", "xx"), item("other words here too", "xx")])
    with pytest.raises(DataError, match=r"label 'xx', which no training row has; did you mean"):
        task.make("t", tmp_path / "all.jsonl", choose=0.3, test=tmp_path / "test.jsonl", layout=LAYOUT, shots=4)


def test_shots_cover_the_labels_in_turn() -> None:
    picked = task.shots(items(90), 6)
    assert [shot.label for shot in picked] == ["x", "y", "z", "x", "y", "z"]
    assert len({shot.id for shot in picked}) == 6
    assert task.shots(items(90), 0) == []
    assert len(task.shots(items(5), 64)) == 5


def test_a_layout_without_a_place_for_the_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exactly once"):
        task.make("t", tmp_path, choose=0.3, test=0.3, layout=Layout(prompt="T:", separator=""), shots=0)


def write(path: Path, rows_: list[Item]) -> None:
    import json

    path.write_text("".join(json.dumps({"text": one.text, "label": one.label}) + "\n" for one in rows_), "utf-8")
