"""`basewright nature`, over a tiny model with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from basewright.cli.nature import command
from basewright.errors import ModelFileError, UsageError
from basewright.plain import from_plain
from basewright.records import NatureReport
from tests.evaluate.chatml import chatml
from tests.models import tiny_llama


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=512)


def nature(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def as_record(*arguments: str) -> NatureReport:
    found = nature(*arguments, "--json")
    assert found.exit_code == 0
    report: NatureReport = from_plain(NatureReport, json.loads(found.stdout))
    return report


@pytest.fixture(scope="module")
def report(tiny: Path) -> NatureReport:
    return as_record(str(tiny))


def test_it_prints_the_verdict_and_a_row_for_each_piece_of_evidence(tiny: Path, report: NatureReport) -> None:
    lines = nature(str(tiny)).stdout.splitlines()
    assert lines[0] == "tiny: cannot tell (confidence 0.500)"
    assert lines[2].split() == ["nats", "points", "to", "evidence", "seen"]
    assert [report.evidence[0].name in lines[3], len(lines)] == [True, 3 + len(report.evidence) + 2]
    for line, one in zip(lines[3:], report.evidence, strict=False):
        assert f"{one.log_odds:+.2f}" in line
        assert one.points in line
        assert one.name in line
        assert one.seen in line


def test_json_says_how(report: NatureReport) -> None:
    assert (report.model, report.verdict) == ("tiny", "cannot tell")
    assert (report.how.engine, report.how.precision, report.how.sampler) == ("torch", "float32", "none")
    assert len(report.how.weights) > 0
    assert report.how.stops == ("<|endoftext|>",)


def test_another_name_is_the_same_model(tiny: Path, report: NatureReport, tmp_path: Path) -> None:
    other = as_record(str(shutil.copytree(tiny, tmp_path / "great-7b-instruct")))
    assert (other.verdict, other.evidence, other.how) == (report.verdict, report.evidence, report.how)


def test_a_template_and_its_tokens_have_rows(tiny: Path, tmp_path: Path) -> None:
    out = nature(str(chatml(tiny, tmp_path / "chat"))).stdout
    assert "2 of 2 have untrained embedding rows" in out


def test_what_is_no_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    assert isinstance(nature("no-such-model").exception, UsageError)
    folder = shutil.copytree(tiny, tmp_path / "broken")
    (folder / "tokenizer.json").unlink()
    assert isinstance(nature(str(folder)).exception, ModelFileError)
