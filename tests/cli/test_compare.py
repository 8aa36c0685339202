"""`basewright compare`: finding what was scored, the table, the sentence at its end, and the faults."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from basewright.cli import fail
from basewright.cli.compare import command
from basewright.records import Scores
from basewright.store import Store
from tests.evaluate.test_compare import scores

GOOD, BAD = [1] * 20 + [0] * 5 + [1] * 75, [0] * 20 + [1] * 5 + [1] * 75


def run(root: Path, *arguments: str) -> int:
    options = {"standalone_mode": False, "prog_name": "basewright compare"}
    rest = [*arguments, "--runs", str(root)]
    return fail.guarded(lambda: command.main(rest, **options), as_json="--json" in rest)  # type: ignore[call-overload]


def keep(root: Path, record: Scores, attempt: int = 0) -> str:
    """Store it as evaluation does; the id."""
    inputs = {"model": record.model, "task": record.task, "split": record.split, "attempt": attempt}
    return Store(root).make("scores", inputs, Scores, lambda _: record)[0].id


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for task in ("easy", "hard"):
        keep(tmp_path, scores("good", GOOD, task=task))
        keep(tmp_path, scores("bad", BAD if task == "easy" else GOOD, task=task))
    return tmp_path


def test_a_table_and_a_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "good", "bad") == 0
    seen = capsys.readouterr()
    rows = {line.split()[0]: line for line in seen.out.splitlines() if line}
    assert "accuracy  100    0.9500  0.8000  +0.1500 [" in rows["easy"]
    assert rows["easy"].endswith("better")
    assert rows["hard"].endswith("-           cannot be separated")
    last = "With confidence 0.95, good is better than bad on easy; cannot be separated from bad on hard."
    assert seen.out.splitlines()[-1] == last
    assert "--items 5" in seen.err


def test_items_that_came_out_apart(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "bad", "good", "--items", "2") == 0
    seen = capsys.readouterr()
    assert "easy: 25 items came out apart" in seen.out
    assert "i1    -1        'bad 0'         'good 1'" in seen.out
    assert "i2 " not in seen.out
    assert seen.out.splitlines()[-1].startswith("With confidence 0.95, bad is worse than good on easy;")
    assert "--items" not in seen.err


def test_a_long_answer_is_shown_in_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model, value in (("a" * 100, 1), ("b", 0)):
        keep(tmp_path, scores(model, [value]))
    assert run(tmp_path, "a" * 100, "b", "--items", "1") == 0
    assert "'" + "a" * 58 + "…  'b 0'" in capsys.readouterr().out


def test_json_holds_it_all(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "good", "bad", "--json", "--confidence", "0.9") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["confidence"] == 0.9
    by_task = {one["task"]: one for one in found["tasks"]}
    assert by_task["easy"]["verdict"] == "better"
    assert len(by_task["easy"]["flips"]) == 25
    assert by_task["easy"]["difference"]["n"] == 100


def test_of_a_task_scored_twice_the_newest_counts(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Later:
            return cls(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr("basewright.store.datetime", Later)
    keep(root, scores("good", BAD, task="easy"), attempt=1)
    assert run(root, "good", "bad", "--json") == 0
    verdicts = {one["task"]: one["verdict"] for one in json.loads(capsys.readouterr().out)["tasks"]}
    assert verdicts["easy"] == "cannot be separated"


def test_ids_name_two_ways_of_one_model(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (keep(root, scores("m", values), attempt=k) for k, values in enumerate((GOOD, BAD)))
    assert run(root, one, two) == 0
    assert f"{one} is better than {two} on t." in capsys.readouterr().out


def test_the_part_candidates_are_chosen_on_is_no_result(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(root, scores("pilot", GOOD, task="easy", split="choose"))
    assert run(root, "pilot", "good") == 2
    assert "'pilot' has no scores" in capsys.readouterr().err


def test_a_wrong_name_is_told_the_nearest(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "godo", "bad") == 2
    seen = capsys.readouterr().err
    assert "did you mean 'good'?" in seen
    assert "next: basewright runs --kind scores" in seen


def test_h037_a_damaged_record_counts_as_absent(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = keep(root, scores("other", GOOD, task="easy"))
    record = root / name / "record.json"
    record.write_text(record.read_text().replace('"other 1"', '"other 0"', 1))
    assert run(root, "other", "good") == 2
    assert "'other' has no scores" in capsys.readouterr().err


def test_h080_partial_scores_rank_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(root, scores("half", GOOD, task="easy", expected=200))
    assert run(root, "half", "good") == 2
    assert "half was scored on 100 of 200 items: partial, ranks nothing" in capsys.readouterr().err
    keep(root, scores("half", GOOD, task="hard"))
    assert run(root, "half", "good") == 0
    seen = capsys.readouterr()
    assert "easy is not compared: half was scored on 100 of 200 items" in seen.err
    assert "easy" not in seen.out


def test_one_item_of_a_metric_bounds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model, value in (("a", 0.5), ("b", 0.25)):
        keep(tmp_path, scores(model, [value], metric="f1"))
    assert run(tmp_path, "a", "b") == 0
    assert "+0.2500 [-∞, +∞]" in capsys.readouterr().out


def test_nothing_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "a", "b") == 2
    assert "known: none" in capsys.readouterr().err


@pytest.mark.parametrize("confidence", ["0.4", "1", "x"])
def test_a_confidence_that_is_none_is_refused(confidence: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "good", "bad", "--confidence", confidence) == 2
    assert "Traceback" not in capsys.readouterr().err
