"""`basewright build` as a person runs it: stages on stdout, hints on stderr, JSON where asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basewright.cli.main import run
from tests.pages.reading import Read
from tests.walks import prepare


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("build"), examples=1600)


def test_build_then_json_then_runs(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ["--runs", str(recipe.parent / "runs")]
    assert run(["build", str(recipe), *runs]) == 0
    first = capsys.readouterr()
    stages = [line.split()[0] for line in first.out.splitlines()[:10]]
    assert stages == ["read", "plan", "pull", "choose", "certify", "tune", "prove", "baselines", "convert", "release"]
    assert "Verdict" in first.out
    report = next(line.split(maxsplit=1)[1] for line in first.out.splitlines() if line.startswith("Report"))
    assert Path(report) == recipe.parent / "runs" / "small-report.html"
    page = Path(report).read_text("utf-8")
    assert f"basewright build {recipe} {' '.join(runs)}" in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert first.err.count("basewright ") == 3  # the next three commands
    assert "$'Text: …\\nLabel:'" in first.err  # in the layout it was tuned on

    assert run(["build", str(recipe), *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"] == report
    assert Path(found["release"]).name == found["release_id"]
    assert Path(report).read_text("utf-8") == page  # what is found again is told again
    assert found["choice"]["verdict"] in ("winner", "tie")
    assert found["proof"]["after"]["metrics"]["accuracy"]["n"] == len(found["proof"]["after"]["items"])

    assert run(["runs", *runs, "--kind", "release", "--json"]) == 0
    assert [stamp["id"] for stamp in json.loads(capsys.readouterr().out)] == [found["release_id"]]
    assert run(["runs", *runs]) == 0
    assert found["adapter_id"] in capsys.readouterr().out


def test_a_stage_that_stops_is_named(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = recipe.read_text().replace("[choose]", '[limits]\nmemory = "1 MiB"\n[choose]')
    other = recipe.with_name("other.toml")
    other.write_text(text)
    assert run(["build", str(other), "--runs", str(tmp_path)]) == 69
    err = capsys.readouterr().err
    assert err.splitlines()[0].startswith("basewright: plan: no candidate fits")
    assert err.splitlines()[1].startswith("  next: ")


def test_the_terminal_says_the_verdict_of_the_page(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = recipe.with_name("alone.toml")
    alone.write_text(recipe.read_text("utf-8").replace('["./one", "./two"]', '["./one"]'), "utf-8")
    assert run(["build", str(alone), "--runs", str(tmp_path / "runs")]) == 0
    told = " ".join(capsys.readouterr().out.partition("\nVerdict")[2].partition("\nReport")[0].split())
    text = Read((tmp_path / "runs" / "small-report.html").read_text("utf-8")).text
    assert "Tuned, one answers" in told
    verdict = told[: told.index(" checks passed")].rpartition(" ")[0]
    assert verdict in text
