"""`basewright tune`, as a person types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from basewright import machine, store
from basewright.cli.main import run
from basewright.prove.after import general_texts
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


def test_validation_is_shown_and_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, "--epochs", "4"]
    assert run([*arguments, "--validation-share", "0.2"]) == 0
    shown = capsys.readouterr()
    assert "validate every" in shown.out
    assert "which is what is written" in shown.out
    assert "by a hash of their text; given" in shown.err
    assert "tokens an epoch, about" in shown.err
    assert run(arguments) == 0
    assert "on no rows: a pilot trains on all rows" in capsys.readouterr().err


def test_rows_of_a_file_are_validated_on_and_never_trained_on(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (model.parent / "rows.jsonl").read_text().splitlines(keepends=True)
    (model.parent / "others.jsonl").write_text("".join(lines[:8]))
    assert (
        run(
            [
                "tune",
                str(model),
                str(model.parent / "rows.jsonl"),
                *QUICK,
                "--validate",
                str(model.parent / "others.jsonl"),
            ]
        )
        == 70
    )
    assert "8 validation rows are also trained on" in capsys.readouterr().err
    (model.parent / "rows.jsonl").write_text("".join(lines[8:]))
    made = tune(capsys, model, "--validate", str(model.parent / "others.jsonl"))
    found = made["record"]["validation"]
    assert found["rows"] == 8
    assert found["curve"][0]["step"] == 0
    rows_of = (Path(made["folder"]) / "validation.jsonl").read_text().splitlines()
    assert len(rows_of) == 8
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, "--patience", "2"]) == 2
    assert "no validation rows to be patient about" in capsys.readouterr().err


def test_rows_to_be_tested_on_are_not_validated_on(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (model.parent / "rows.jsonl").read_text().splitlines(keepends=True)
    for name in ("test.jsonl", "watch.jsonl"):
        (model.parent / name).write_text("".join(lines[:8]))
    (model.parent / "rows.jsonl").write_text("".join(lines[8:]))
    files = ["--test", str(model.parent / "test.jsonl"), "--validate", str(model.parent / "watch.jsonl")]
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, *files]) == 70
    assert "to be tested on are validated on" in capsys.readouterr().err


def test_general_text_is_replayed_and_counted(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = model.parent / "general.txt"
    text.write_text("A rope of many strands holds more than one of few. " * 40)
    replay = ("--replay", "0.2", "--replay-text", str(text))
    made = tune(capsys, model, *replay)
    assert made["record"]["replayed"] / made["record"]["tokens"] == pytest.approx(0.2, abs=1 / made["record"]["tokens"])
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, *replay]) == 0
    assert "tokens of general text, 20.0% of those seen" in capsys.readouterr().out
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, "--replay", "0.1"]) == 2
    assert "go together" in capsys.readouterr().err


def test_h078_what_forgetting_is_measured_on_is_not_replayed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = model.parent / "general.txt"
    text.write_text("Once more. " + general_texts()[2])
    arguments = ["--replay", "0.2", "--replay-text", str(text)]
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK, *arguments]) == 70
    assert "forgetting is measured on" in capsys.readouterr().err


def test_a_run_that_does_not_fit_is_refused_before_its_first_step(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(machine.probe(model), ram=2**20)
    monkeypatch.setattr(machine, "probe", lambda _: small)
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK]) == 69
    assert "lora needs" in capsys.readouterr().err
    assert not list((model.parent / "runs").glob("work/adapter-*"))


def test_a_sweep_tries_tells_and_trains_the_best(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle it goes on, and ends with the run that its winner's settings make by themselves."""
    arguments = ["tune", str(model), str(model.parent / "rows.jsonl"), "--effort", "pilot", "--rank", "4"]
    arguments += ["--validation-share", "0.2", "--epochs", "9", "--json", "--sweep"]
    tuned = store.Store.make
    made: list[str] = []

    def make(self: store.Store, kind: str, *rest: Any, **more: Any) -> Any:
        if kind == "adapter" and len(made) == 2:
            raise KeyboardInterrupt
        made.extend([kind] * (kind == "adapter"))
        return tuned(self, kind, *rest, **more)

    monkeypatch.setattr(store.Store, "make", make)
    run(arguments)
    monkeypatch.undo()
    capsys.readouterr()
    assert run(arguments) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    trials = found["sweep"]["trials"]
    assert [trial["kept"] for trial in trials] == [True, False, False]
    assert {trial["rank"] for trial in trials} == {4}
    assert "validation loss" in shown.err
    assert shown.err.count("the winner") >= 2
    assert found["record"]["train"]["learning_rate"] == trials[0]["learning_rate"]
    alone = [one for one in arguments if one != "--sweep"]
    assert run([*alone, "--learning-rate", str(trials[0]["learning_rate"])]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == found["id"]
    assert run([*arguments, "--learning-rate", "0.01"]) == 2
    assert "nothing to sweep" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_head_is_validated_and_nothing_is_replayed_to_it(
    model: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tune(capsys, model, "--head", "--method", method, "--validation-share", "0.2")
    about = made["record"]["tuning"] if method == "full" else made["record"]
    assert about["validation"]["rows"] == len((Path(made["folder"]) / "validation.jsonl").read_text().splitlines())
    text = model.parent / "general.txt"
    text.write_text("A rope of many strands holds more than one of few. " * 40)
    arguments = ["tune", str(model), str(model.parent / "rows.jsonl"), "--head", "--replay", "0.1"]
    assert run([*arguments, "--replay-text", str(text)]) == 2
    assert "a head writes no text" in capsys.readouterr().err
