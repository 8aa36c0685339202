"""`basewright choose` as a person meets it: the answer on the terminal, as JSON, and as a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basewright.cli.main import run
from tests.walks import prepare


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("choose"), count=80)


def test_the_answer_in_three_forms(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = recipe.parent / "runs"
    assert run(["choose", str(recipe), "--runs", str(runs)]) == 0
    told = capsys.readouterr()
    assert "Which base model for small?" in told.out
    assert "Spent" in told.out
    assert f"basewright build {recipe} --runs {runs}" in told.err
    page = (runs / "small-choice.html").read_text("utf-8")
    assert f"basewright choose {recipe} --runs {runs}" in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")

    assert run(["choose", str(recipe), "--runs", str(runs), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["choice"]["verdict"] in ("winner", "tie")
    assert {one["model"] for one in again["choice"]["ranked"] if one["kind"] == "base model"} == {"one", "two"}
    assert again["answers_per_second"].keys() == {"one", "two"}
    assert len(list(runs.glob("choice-*"))) == 1  # found, not measured again


def test_a_tie_is_an_answer_to_choose_and_a_stop_to_build(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = recipe.read_text("utf-8").replace('on_tie = "cheapest"\n', "").replace("repeats = 2", "repeats = 1")
    strict = recipe.with_name("strict.toml")
    strict.write_text(text, "utf-8")
    runs = str(recipe.parent / "runs")
    assert run(["choose", str(strict), "--runs", runs, "--json"]) == 0
    choice = json.loads(capsys.readouterr().out)["choice"]
    assert choice["verdict"] == "tie"  # two random models and 20 items
    assert run(["build", str(strict), "--runs", runs]) != 0
    assert "cannot separate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("repeats = 2", "repeat = 2", "did you mean 'repeats'"),
        ("repeats = 2", 'decides = "tuning"', "choose.decides"),
        ('models = ["./one", "./two"]', "models = []", "names no model"),
        ('models = ["./one", "./two"]', 'models = ["./one", "./one/../one"]', "names one twice"),
        ('licence = "CC0-1.0"', 'licence = "CC0-1.0"\nlicences = ["MIT"]', "licence, CC0-1.0, is not among MIT"),
        ("examples = 60", "examples = 60\nmargin = 0.0", "choose.margin"),
        ("[choose]", "[limits]\nexamples = 10\n[choose]", "cannot pay one candidate's pilots"),
    ],
)
def test_what_is_wrong_is_one_line(
    recipe: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    broken = recipe.with_name("broken.toml")
    broken.write_text(recipe.read_text("utf-8").replace(old, new), "utf-8")
    assert run(["choose", str(broken), "--runs", str(recipe.parent / "runs")]) != 0
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
