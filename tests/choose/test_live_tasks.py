import json
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.choose import live_tasks

from basewright.catalog import cards
from basewright.data import split
from basewright.errors import DataError
from basewright.hub import pull
from basewright.records import Layout
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.tokenizer import open_tokenizer

needs_tasks = pytest.mark.skipif(not live_tasks.SOURCE.is_dir(), reason="needs shared/data/tasks")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return live_tasks.make(tmp_path_factory.mktemp("live"))


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").strip().split("\n")]


def test_absent_data_sets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_tasks, "SOURCE", tmp_path / "nowhere")
    with pytest.raises(DataError, match="shared/data/tasks is missing"):
        live_tasks.make(tmp_path)


@needs_tasks
def test_h082_the_same_bytes_every_time(made: dict[str, Path], tmp_path: Path) -> None:
    again = live_tasks.make(tmp_path)
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in made.items()
    }


@needs_tasks
def test_tasks_have_the_rows_and_labels_they_should(made: dict[str, Path]) -> None:
    labels = {name: Counter(row["label"] for row in rows(path)) for name, path in made.items()}
    assert {name: len(counts) for name, counts in labels.items()} == {
        "banking12": 12, "banking77": 77, "cuad10": 10, "pubmedqa": 3, "safety": 2, "acceptability": 2, "boolq": 2,
        "contract-clauses": 8,
    }  # fmt: skip
    for name, counts in labels.items():
        assert 450 <= counts.total() <= live_tasks.MOST, name
        assert min(counts.values()) >= 14, name


@needs_tasks
def test_tasks_are_split_by_the_product_with_near_duplicates_on_one_side(made: dict[str, Path]) -> None:
    for name in ("safety", "banking77"):
        task = live_tasks.read(name, made[name])
        assert min(len(task.train), len(task.choose), len(task.test)) > 60
        split.refuse_overlap((*task.train, *task.choose), task.test, name)


@needs_tasks
def test_h062_no_row_is_cut_and_none_is_too_long_for_the_foundlings(made: dict[str, Path]) -> None:
    tokenizers = [open_tokenizer(pull.locate(cards.get(name))) for name in ("foundling-prose", "foundling-code")]
    for name, path in made.items():
        layout = Layout(prompt=live_tasks.SOURCES[name].prompt, separator="\n\n")
        layouts.check(layout)
        source = {" ".join(text.split()) for text, _ in live_tasks.SOURCES[name].rows()}
        for row in rows(path):
            assert row["text"] in source
            if len(row["text"]) > live_tasks.LONGEST / 2:
                prompt = layouts.prompt(layout, row["text"])
                assert all(
                    len(encode.example(one, prompt, layouts.target(row["label"])).ids) <= 512 for one in tokenizers
                ), name


@needs_tasks
def test_a_minimal_pair_gives_one_sentence(made: dict[str, Path]) -> None:
    taken = {row["text"] for row in rows(made["acceptability"])}
    assert len(taken) == len(rows(made["acceptability"]))
    assert len(taken) <= sum(1 for _ in live_tasks.acceptability())


def test_shares_fill_up_to_the_most() -> None:
    assert live_tasks._share(Counter(a=10_000, b=10)) == live_tasks.MOST - 10
    assert live_tasks._share(Counter(a=3, b=4)) == live_tasks.MOST


def test_a_text_with_two_labels_or_too_long_is_left_out() -> None:
    found = [("one  two", "a"), ("One two", "b"), ("three", "a"), ("three", "a"), ("x" * 601, "b"), (" ", "a")]
    assert live_tasks._taken(iter(found)) == [("three", "a")]
