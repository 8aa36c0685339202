"""Rows to validate on: split off by a hash of their text, never with a twin on the other side."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.data import files, held, near, prepare
from basewright.data.prepare import Prepared
from basewright.text.tokenizer import open_tokenizer
from tests.models import tiny_tokenizer

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "ru", "te", "so") for b in ("ban", "dor", "fel", "gim", "hut")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("held")
    tiny_tokenizer(place)
    (place / "config.json").write_text("{}")
    return place


def prepared(folder: Path, texts: list[tuple[str, str]]) -> Prepared:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in texts))
    return prepare.prepare(files.read(path), open_tokenizer(folder), 10_000, prepare.Options(keep_near=True))


def rows(seed: int, count: int) -> list[tuple[str, str]]:
    """Texts of which a third are written anew from another, by a word or with a long stretch of it."""
    draw = random.Random(seed)
    found: list[tuple[str, str]] = []
    for _ in range(count):
        words = [draw.choice(WORDS) for _ in range(draw.randint(6, 40))]
        if found and draw.random() < 0.33:
            other = draw.choice(found)[0].split()
            words = [*words[:3], *other[:20]] if draw.random() < 0.5 else [*other[:-1], words[0]]
        found.append((" ".join(words), draw.choice(("warm", "cold"))))
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 80), st.floats(0.05, 0.45))
def test_no_row_has_a_twin_on_the_other_side(folder: Path, seed: int, count: int, share: float) -> None:
    data = prepared(folder, rows(seed, count))
    trained, watched = held.hold_out(data, share)
    assert near.overlap(trained.rows, watched.rows) == []
    assert sorted(one.id for part in (trained, watched) for one in part.taught) == sorted(o.id for o in data.taught)
    assert {row.answer for row in trained.rows} == {row.answer for row in data.rows}


def test_the_share_is_about_what_was_asked(folder: Path) -> None:
    draw = random.Random(4)
    texts = [(" ".join(draw.choice(WORDS) for _ in range(12)), "warm") for _ in range(1500)]
    _, watched = held.hold_out(prepared(folder, texts), 0.1)
    assert len(watched.rows) == pytest.approx(150, abs=4 * (1500 * 0.1 * 0.9) ** 0.5)  # four standard errors


def test_order_and_further_rows_move_no_other(folder: Path) -> None:
    draw = random.Random(5)
    texts = [(" ".join(draw.choice(WORDS) for _ in range(12)), draw.choice(("warm", "cold"))) for _ in range(120)]
    first = {row.asked for row in held.hold_out(prepared(folder, texts[:80]), 0.2)[1].rows}
    draw.shuffle(texts)
    again = {row.asked for row in held.hold_out(prepared(folder, texts), 0.2)[1].rows}
    assert first
    assert first <= again


def test_windows_of_one_text_stay_together(folder: Path) -> None:
    draw = random.Random(6)
    texts = [" ".join(draw.choice(WORDS) for _ in range(60)) for _ in range(40)]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    data = prepare.prepare(files.read(path), open_tokenizer(folder), 50, prepare.Options(long="split"))
    trained, watched = held.hold_out(data, 0.25)
    assert watched.rows
    assert len(data.taught) > 2 * len(texts)
    assert not {row.where for row in trained.rows} & {row.where for row in watched.rows}
