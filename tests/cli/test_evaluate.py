"""`basewright evaluate`, run as a person runs it, over a tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from basewright.cli.main import run
from basewright.engine.fake import FakeLM
from basewright.engine.lm import Request
from basewright.engine.torch_lm import open_lm
from tests.engine import stand_ins
from tests.models import tiny_llama

Capture = pytest.CaptureFixture[str]
EXAMPLES = Path(__file__).parents[2] / "examples" / "tasks"
TASK = """
name = "kinds"
kind = "choice"
data = "kinds.jsonl"
prompt = "Text: {text}\\nKind:"
choices = ["bad", "good"]
normalisation = "sum"
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=512)


@pytest.fixture
def task(tmp_path: Path) -> str:
    shutil.copytree(EXAMPLES, tmp_path / "tasks")
    return str(tmp_path / "tasks" / "tools.toml")


def evaluate(capsys: Capture, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert run(["evaluate", *map(str, arguments)]) == code
    found = capsys.readouterr()
    return found.out, found.err


def as_json(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evaluate(capsys, *arguments, "--json")[0])
    return found


def test_scores_say_how_they_were_made(model: Path, task: str, tmp_path: Path, capsys: Capture) -> None:
    out, err = evaluate(capsys, model, task, "--runs", tmp_path / "runs")
    assert out.splitlines()[1].split()[:2] == ["tools", "acc_bytes"]
    for fact in ("Wilson", "engine", "torch, float32", "weights", "shots", "normalisation", "start tokens", "hash "):
        assert fact in out
    prompt = [line for line in out.splitlines() if line.startswith("  |")]
    assert "·" in "".join(prompt)
    assert " " not in "".join(line.removeprefix("  |").strip() for line in prompt)
    assert "basewright compare tiny ANOTHER" in err


def test_what_was_answered_is_not_computed_again(model: Path, task: str, tmp_path: Path, capsys: Capture) -> None:
    runs = tmp_path / "runs"
    first = as_json(capsys, model, task, "--runs", runs)
    _, err = evaluate(capsys, model, task, "--runs", runs, "--json")
    assert "0 answers computed" in err
    assert as_json(capsys, model, task, "--runs", runs) == first
    assert run(["runs", "--runs", str(runs), "--kind", "scores", "--json"]) == 0
    assert [stamp["id"] for stamp in json.loads(capsys.readouterr().out)] == first["ids"]


def test_h073_a_changed_weight_file_changes_every_key(model: Path, task: str, tmp_path: Path, capsys: Capture) -> None:
    runs = tmp_path / "runs"
    one, other = tmp_path / "one" / "tiny", tmp_path / "other" / "tiny"
    shutil.copytree(model, one)
    shutil.copytree(model, other)
    weights = other / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1  # the lowest exponent bit of one value
    weights.write_bytes(data)
    evaluate(capsys, one, task, "--runs", runs)
    before = {path.name for path in (runs / "answers").glob("*.sqlite")}
    _, err = evaluate(capsys, other, task, "--runs", runs)
    assert "\n0 answers computed" not in err
    after = {path.name for path in (runs / "answers").glob("*.sqlite")}
    assert (len(before), len(after)) == (1, 2)


def test_h080_a_part_is_marked_partial(model: Path, task: str, tmp_path: Path, capsys: Capture) -> None:
    out, _ = evaluate(capsys, model, task, "--limit", "5", "--runs", tmp_path / "runs")
    assert "PARTIAL: 5 of" in out


def test_explain_shows_how_far_a_score_moves(model: Path, task: str, tmp_path: Path, capsys: Capture) -> None:
    found = as_json(capsys, model, task, "--explain", "--limit", "6", "--runs", tmp_path / "runs")
    asked = [change["what"] for change in found["changes"]["tools"]]
    assert asked[0] == "as it stands"
    assert "without the start token" in asked
    assert any(what.startswith("normalisation") for what in asked)
    out, _ = evaluate(capsys, model, task, "--explain", "--limit", "6", "--runs", tmp_path / "runs")
    assert "tools, asked in other ways:" in out


def test_every_example_is_scored(model: Path, tmp_path: Path, capsys: Capture) -> None:
    tasks = sorted(EXAMPLES.glob("*.toml"))
    short = [path for path in tasks if path.stem != "facts"]  # whose texts are longer than this model sees
    found = as_json(capsys, model, *short, "--limit", "3", "--runs", tmp_path / "runs")
    assert [scores["task"] for scores in found["scores"]] == [path.stem for path in short]


@pytest.mark.lm_eval
def test_benchmarks_of_lm_eval_and_compare(model: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("lm_eval")
    from tests.evaluate import harness_tasks

    rows = [{"context": f"The {n}. old clock on the", "continuation": " wall"} for n in range(6)]
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    harness_tasks.task(definitions, "cloze", harness_tasks.HERE / "cloze.yaml", {"test": rows})
    runs = tmp_path / "runs"
    other = tiny_llama(tmp_path / "other", seed=5, context=512)
    for folder in (model, other):
        out, _ = evaluate(capsys, folder, "--benchmarks", "cloze", "--definitions", definitions, "--runs", runs)
        assert out.splitlines()[1].split()[0] == "cloze"
    assert run(["compare", "tiny", "other", "--runs", str(runs)]) == 0
    assert "With confidence 0.95, tiny" in capsys.readouterr().out
    _, err = evaluate(capsys, model, "--benchmarks", "clooze", "--definitions", definitions, "--runs", runs, code=2)
    assert "clooze" in err


def test_an_endpoint_is_scored_through_its_tokenizer(task: str, tmp_path: Path, capsys: Capture) -> None:
    fake = FakeLM(context=2000)
    folder = stand_ins.save_tokenizer(fake.tokenizer, tmp_path)
    with stand_ins.standing(stand_ins.Completions(fake)) as endpoint:
        where = ("--endpoint", endpoint.url, "--tokenizer", folder, "--runs", tmp_path / "runs")
        found = as_json(capsys, stand_ins.MODEL, task, *where, "--limit", "4")
        _, err = evaluate(capsys, stand_ins.MODEL, task, "--endpoint", endpoint.url, code=2)
    assert found["scores"][0]["how"]["engine"] == "remote"
    assert endpoint.url in found["scores"][0]["how"]["weights"]
    assert "--tokenizer" in err


def test_what_cannot_be_done_is_one_line(model: Path, task: str, tmp_path: Path, capsys: Capture) -> None:
    for arguments, words in (
        ((model,), "nothing to score on"),
        (("no-such-model", task), "no model is called"),
        ((model, tmp_path / "none.toml"), "none.toml"),
    ):
        _, err = evaluate(capsys, *arguments, "--runs", tmp_path / "runs", code=2)
        assert words in err.splitlines()[0]
        assert "Traceback" not in err


def test_the_scores_are_those_of_the_engine(model: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = [{"text": f"page {n}", "answer": n % 2} for n in range(6)]
    (tmp_path / "kinds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "kinds.toml").write_text(TASK)
    found = as_json(capsys, model, tmp_path / "kinds.toml", "--runs", tmp_path / "runs")
    lm = open_lm(model, "tiny")
    right = 0
    for row in rows:
        bad, good = lm.loglikelihood([Request(f"Text: {row['text']}\nKind:", (" bad", " good"))])[0]
        right += (good.nats > bad.nats) == (row["answer"] == 1)
    assert found["scores"][0]["metrics"]["acc"]["value"] == pytest.approx(right / 6)
