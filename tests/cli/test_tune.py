"""`basewright tune`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from basewright.cli.main import run
from tests.models import tiny_llama
from tests.walks import FILLER, KEYS, rows, write_rows

QUICK = ("--effort", "pilot", "--learning-rate", "0.01", "--rank", "4")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.jsonl", rows(40))
    return tiny_llama(tmp_path / "one", context=512, std=0.08)


def tune(capsys: pytest.CaptureFixture[str], model: Path, *more: str) -> dict[str, Any]:
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, "--json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "pissa", "full"])
def test_each_method_makes_a_result_that_is_found_again(
    model: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--method", method) if method != "full" else ("--method", method, "--rank", "4")
    first, again = (tune(capsys, model, *options) for _ in range(2))
    assert first == again
    about = first["record"]["tuning"] if method == "full" else first["record"]
    assert about["last_loss"] < about["first_loss"]
    folder = Path(first["folder"])
    assert (folder / ("model.safetensors" if method == "full" else "adapter/adapter_model.safetensors")).is_file()


def test_settings_are_printed_with_their_reasons(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK]) == 0
    shown = capsys.readouterr()
    assert "learning rate  0.01" in shown.out
    assert "given" in shown.out
    assert "effort pilot" in shown.out
    assert "checks passed" in shown.err
    assert "of this machine's matrix peak" in shown.out


def test_an_adapter_is_continued(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tune(capsys, model)
    data = str(model.parent / "rows.jsonl")
    arguments = ["tune", str(model), data, "--effort", "pilot", "--from", first["folder"], "--json"]
    assert run(arguments) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["record"]["parent"] == first["record"]["sha256"]
    assert again["record"]["lora"]["rank"] == 4
    assert run([*arguments, "--method", "full"]) == 2
    assert "--from continues an adapter" in capsys.readouterr().err


SHAPES: dict[str, dict[str, Any]] = {
    "prompt-completion": {"prompt": "Colour of {}?", "completion": " It is {}."},
    "messages": {"messages": [{"role": "user", "content": "Say {}"}, {"role": "assistant", "content": "{} it is"}]},
    "text": {"text": "The {} lamp stood by the door, and {} ships came near."},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_shape_are_learned(model: Path, shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*FILLER, *KEYS]
    rows_of = [json.loads(json.dumps(SHAPES[shape]).replace("{}", f"{a} {b}")) for a in words for b in words[::6]]
    (model.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    made = tune(capsys, model, "--method", "lora")
    assert made["record"]["last_loss"] < made["record"]["first_loss"]


def prefer(model: Path) -> None:
    words = [f"{a} {b}" for a in FILLER for b in KEYS]
    pairs = [{"prompt": f"Say {w}.", "chosen": f"It is {w}.", "rejected": f"No, never {w}!"} for w in words]
    (model.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_preferences_are_learned_by_dpo(model: Path, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    prefer(model)
    made = tune(capsys, model, "--method", method, "--beta", "0.2")
    about = made["record"]["tuning"] if method == "full" else made["record"]
    assert about["first_loss"] == pytest.approx(0.693, abs=1e-3)
    assert about["last_loss"] < 0.5
    assert made["record"]["train"]["beta"] == 0.2
    last = json.loads((Path(made["folder"]) / "steps.jsonl").read_text().splitlines()[-1])
    assert last["accuracy"] > 0.9
    assert last["margin"] > 0


def test_what_preferences_need_is_derived_and_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefer(model)
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK]) == 0
    shown = capsys.readouterr()
    assert "preferences, by DPO" in shown.err
    assert "as in the papers" in shown.out
    assert "loss 0.693" in shown.out


def test_a_beta_without_preferences_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, "--beta", "0.1"]) == 2
    assert "--beta is about preferences" in capsys.readouterr().err


def test_rated_answers_are_learned_by_kto(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"{a} {b}" for a in FILLER for b in KEYS]
    answers = [(f"It is {w}.", True) if i % 2 else (f"No, never {w}!", False) for i, w in enumerate(words)]
    rows_of = [{"prompt": f"Say {w}.", "completion": a, "label": ok} for w, (a, ok) in zip(words, answers, strict=True)]
    (model.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    made = tune(capsys, model)
    assert made["record"]["first_loss"] == pytest.approx(0.5, abs=1e-2)
    assert made["record"]["last_loss"] < 0.4
    assert made["record"]["train"]["beta"] == 0.1


def test_rows_that_do_not_fit_are_refused_before_any_step(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(model.parent / "rows.jsonl", [*rows(40), {"text": "far " * 600, "label": "warm"}])
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK]) == 70
    assert "no row is too long" in capsys.readouterr().err
