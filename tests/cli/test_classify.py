"""`basewright tune --head` and `basewright classify`, as a person types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from basewright.cli.main import run
from tests.models import tiny_llama
from tests.walks import rows, write_rows

QUICK = ("--head", "--effort", "pilot", "--learning-rate", "0.01", "--epochs", "6")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = rows(60)
    write_rows(tmp_path / "rows.jsonl", made[:40])
    write_rows(tmp_path / "held.jsonl", made[40:])
    return tiny_llama(tmp_path / "one", context=512, std=0.08)


def tune(capsys: pytest.CaptureFixture[str], model: Path, *more: str) -> dict[str, Any]:
    folder = model.parent
    given = ["tune", str(model), str(folder / "rows.jsonl"), "--test", str(folder / "held.jsonl")]
    assert run([*given, *QUICK, "--json", *more]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def classify(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["classify", *arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)["results"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_head_is_tuned_scored_and_used(model: Path, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = tune(capsys, model, "--method", method)
    assert made == tune(capsys, model, "--method", method)
    about = made["record"] if method == "lora" else made["record"]["tuning"]
    assert about["last_loss"] < about["first_loss"]
    assert about["head"]["labels"] == sorted(about["head"]["labels"])
    test = made["test"]
    assert test["metrics"]["accuracy"]["value"] > test["majority"]
    assert test["metrics"]["macro_f1"]["n"] == test["rows"] == 20
    held = [json.loads(line) for line in (model.parent / "held.jsonl").read_text().splitlines()]
    found = classify(capsys, made["id"], "--file", str(model.parent / "held.jsonl"))
    right = sum(one["label"] == row["label"] for one, row in zip(found, held, strict=True)) / len(held)
    assert right == pytest.approx(test["metrics"]["accuracy"]["value"])
    for name in (made["folder"], "one", "one-tuned"):
        again = classify(capsys, name, held[0]["text"])[0]
        assert again["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-6)


def test_what_is_shown(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model.parent
    assert run(["tune", str(model), str(folder / "rows.jsonl"), "--test", str(folder / "held.jsonl"), *QUICK]) == 0
    shown = capsys.readouterr()
    assert "about 32 rows at most" in shown.out
    assert "macro-F1" in shown.out
    assert "the most frequent label" in shown.out
    line = next(line for line in shown.out.splitlines() if line.startswith("Next"))
    assert run([*line.split()[2:4], "the kettle is warm"]) == 0
    assert "probability" in capsys.readouterr().out


ALONE = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, *texts = sys.argv[1:]
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
for text in texts:
    with torch.no_grad():
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
    print(json.dumps(dict(zip(model.config.id2label.values(), logits.softmax(-1).tolist()))))
print("basewright" in sys.modules)
"""


@pytest.mark.parametrize("method", ["dora", "full"])
def test_transformers_alone_opens_what_is_exported_and_gives_the_same_classes(
    model: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = model.parent / "exported"
    made = tune(capsys, model, "--method", method, "--export", str(target), "--layout", "Said: {text}")
    assert len(made["merged"]) == (2 if method == "dora" else 0)
    assert all(check["passed"] for check in made["merged"])
    text = "the kettle is warm"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    told = subprocess.run(
        [sys.executable, "-c", ALONE, str(target), f"Said: {text}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=model.parent,
    )
    said, ours_loaded = told.stdout.splitlines()
    assert ours_loaded == "False"
    ours = classify(capsys, made["id"], text)[0]["probabilities"]
    assert json.loads(said) == pytest.approx(ours, abs=1e-5)
    assert classify(capsys, str(target), text)[0]["probabilities"] == pytest.approx(ours, abs=1e-5)
    card = (target / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "AutoModelForSequenceClassification" in card
    assert ("## The merge" in card) == (method == "dora")
    assert f"On {made['test']['rows']} rows of `held.jsonl`" in card
    assert "generate" not in card
    assert str(model.parent) not in card


def test_h020_a_merged_head_that_says_something_else_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is written as it was before training: no name is wrong, and every answer is."""
    from transformers import PreTrainedModel

    save = PreTrainedModel.save_pretrained

    def forgetful(self: Any, out: Path, **more: Any) -> None:
        self.score.weight.data.zero_()
        save(self, out, **more)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", forgetful)
    folder = model.parent
    given = ["tune", str(model), str(folder / "rows.jsonl"), *QUICK, "--export", str(folder / "out")]
    assert run(given) == 70
    assert "merged head: divergence" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_transformers_folder_needs_nothing_of_ours(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole model is classified with as a plain folder too, its record taken away."""
    made = tune(capsys, model, "--method", "full")
    plain = Path(shutil.copytree(made["folder"], model.parent / "plain"))
    for name in ("record.json", "MANIFEST.json"):
        (plain / name).unlink()
    text = "the kettle is warm"
    assert classify(capsys, str(plain), text) == classify(capsys, made["id"], text)


def test_what_has_no_head_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(model.parent / "rows.jsonl")
    assert run(["tune", str(model), data, "--effort", "pilot", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert run(["classify", made["id"], "a text"]) == 2
    assert "no classifier is called" in capsys.readouterr().err
    assert run(["classify", made["folder"], "a text"]) == 2
    assert "has no classification head" in capsys.readouterr().err
    assert run(["classify", str(model), "a text"]) != 0
    assert "no classification head" in capsys.readouterr().err
    assert run(["classify", made["id"]]) == 2
    assert "give a text to classify" in capsys.readouterr().err
    assert run(["tune", str(model), data, *QUICK, "--from", made["folder"]]) == 2
    assert "without a head" in capsys.readouterr().err


def test_an_encoder_is_asked_no_task_that_wants_words(capsys: pytest.CaptureFixture[str]) -> None:
    examples = Path(__file__).parents[2] / "examples"
    asked = ["--keep", str(examples / "tasks" / "tools.toml")]
    assert run(["tune", "foundling-encoder", str(examples / "data" / "support-intents.jsonl"), *asked]) == 2
    assert "--keep is for models that write" in capsys.readouterr().err


def test_rows_without_labels_are_no_classes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(model.parent / "rows.jsonl", [{"prompt": "Name a colour.", "completion": " red"}] * 4)
    assert run(["tune", str(model), str(model.parent / "rows.jsonl"), *QUICK]) == 2
    assert "a classification head learns labels" in capsys.readouterr().err


def test_held_labels_that_nobody_teaches_are_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(model.parent / "held.jsonl", [{"text": "a lamp by the door of the house", "label": "unheard"}] * 1)
    folder = model.parent
    assert run(["tune", str(model), str(folder / "rows.jsonl"), "--test", str(folder / "held.jsonl"), *QUICK]) == 70
    assert "held-out labels are learned" in capsys.readouterr().err


def test_columns_are_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model.parent
    for name in ("rows.jsonl", "held.jsonl"):
        found = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        write_rows(folder / name, [{"text": row["text"], "category": row["label"]} for row in found])
    assert tune(capsys, model, "--column", "label=category")["record"]["head"]
