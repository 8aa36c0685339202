"""What stands after a tuning: measured on held-out rows, carded, exported for others to open, and asked by its id."""

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
from basewright.engine.lm import Sampling
from basewright.records import LORA_NAMES
from basewright.serve.artifact import find, layout, open_artifact
from basewright.store import Store
from tests.models import tiny_llama
from tests.walks import FILLER, prepare, rows, walk, write_rows

Capture = pytest.CaptureFixture[str]
SLOW = pytest.mark.slow
METHODS = ("lora", "full", *(pytest.param(method, marks=SLOW) for method in ("rslora", "dora", "pissa")))
"""The other methods go the same way; `make slow` walks them all."""
ASKED = ["a red lamp stood by the door", "they walked to a blue ship"]
ALONE = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, *prompts = sys.argv[1:]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
for prompt in prompts:
    ids = tokenizer(prompt, return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=30, do_sample=False)[0, ids["input_ids"].shape[1]:]
    print(json.dumps(answer.tolist()))
print("basewright" in sys.modules)
"""
"""What a stranger runs: transformers, a folder, and nothing of ours."""


def tune(folder: Path, capsys: Capture, *more: str, code: int = 0) -> dict[str, Any]:
    options = (
        "--effort",
        "pilot",
        "--learning-rate",
        "0.01",
        "--epochs",
        "8",
        "--json",
        "--runs",
        str(folder / "runs"),
    )
    assert run(["tune", str(folder / "one"), str(folder / "rows.jsonl"), *options, *more]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, held-out rows, and a model to tune; all tests share one store."""
    folder = tmp_path_factory.mktemp("tuned")
    write_rows(folder / "rows.jsonl", rows(120))
    write_rows(folder / "held.jsonl", rows(30, seed=9))
    tiny_llama(folder / "one", seed=1, context=512, std=0.08)
    (folder / "one" / "LICENSE").write_text("A licence that came with the base.")
    return folder


def exported(place: Path, method: str, capsys: Capture) -> tuple[dict[str, Any], Path]:
    """Tuned by a method with held-out rows and exported; found again by the tests that come later."""
    target = place / f"out-{method}"
    rate = ("--learning-rate", "0.003") if method == "full" else ()
    to = () if target.is_dir() else ("--export", str(target))
    return tune(place, capsys, "--method", method, "--test", str(place / "held.jsonl"), *rate, *to), target


@pytest.mark.parametrize("method", METHODS)
def test_transformers_alone_answers_and_stops_as_our_engine(
    place: Path, method: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, target = exported(place, method, capsys)
    store = Store(place / "runs")
    learned = layout(find(made["tuned"]["id"], store))
    assert learned == layout(target)
    assert learned is not None
    prompts = [learned.prompt.replace("{text}", text) for text in ASKED]
    lm = open_artifact(find(made["tuned"]["id"], store), store=store).lm
    ours = [[token.id for piece in lm.generate(one, Sampling(30)) for token in piece.tokens] for one in prompts]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    told = subprocess.run(
        [sys.executable, "-c", ALONE, str(target), *prompts],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=place,
    )
    *theirs, ours_loaded = told.stdout.splitlines()
    assert ours_loaded == "False"
    end = made["tuned"]["record"]["stop_ids"][0]
    for line, expected in zip(theirs, ours, strict=True):
        answer = json.loads(line)
        assert answer[-1] == end
        assert [one for one in answer if one != end] == [one for one in expected if one != end]
    words = [lm.tokenizer.backend.decode(ids).strip() for ids in ours]
    assert words == ["warm", "cold"]
    checks = made["tuned"]["merged"] or []
    assert all(check["passed"] for check in checks)


@pytest.mark.parametrize("method", METHODS)
def test_before_and_after_are_measured_once(place: Path, method: str, capsys: Capture) -> None:
    made, _ = exported(place, method, capsys)
    again, _ = exported(place, method, capsys)
    assert made["tuned"]["id"] == again["tuned"]["id"]
    assert made["tuned"]["record"] == again["tuned"]["record"]
    measured = made["tuned"]["record"]["measured"]
    judged, held = measured["judged"], measured["held"]
    assert judged["metric"] == "accuracy"
    assert judged["after"]["value"] > 0.9 > judged["before"]["value"]
    assert judged["gain"]["difference"]["low"] > 0
    assert held["after"] < held["before"]
    assert held["change"]["high"] < 0
    assert measured["general"]["unit"] == "bits per byte"
    assert {one["after"]["finish"] for one in measured["samples"]} == {"stop"}
    assert {one["before"]["finish"] for one in measured["samples"]} == {"length"}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_card_says_what_it_is_and_no_place_of_this_machine(place: Path, method: str, capsys: Capture) -> None:
    made, target = exported(place, method, capsys)
    folder = Path(made["tuned"]["folder"])
    card = (folder / ("adapter/README.md" if method == "lora" else "README.md")).read_text()
    measured = made["tuned"]["record"]["measured"]
    for said in (
        f"library_name: {'peft' if method == 'lora' else 'transformers'}",
        made["tuned"]["record"]["base_commit"],
        "Text: {text}\nLabel:",
        "<|endoftext|>",
        "rows read | 120",
        f"{measured['general']['after']:.4f}",
        "exact paired p =",
        "a twentieth of the steps",
        "licence `unknown` is not known here",
    ):
        assert said in card
    whole = (target / "README.md").read_text()
    assert "library_name: transformers" in whole
    assert ("greedy agreement" in whole) == (method == "lora")
    assert (target / "LICENSE").read_text() == "A licence that came with the base."
    for path in (*folder.rglob("*"), *target.iterdir()):
        if path.is_file() and path.suffix != ".safetensors":
            assert str(place) not in path.read_text("utf-8")


def test_a_held_out_row_is_never_shown_in_a_card(place: Path, capsys: Capture) -> None:
    made, target = exported(place, "lora", capsys)
    texts = [json.loads(line)["text"] for line in (place / "held.jsonl").read_text().splitlines()]
    cards = (Path(made["tuned"]["folder"]) / "adapter" / "README.md").read_text() + (target / "README.md").read_text()
    assert not [text for text in texts if text in cards]


def test_what_a_person_reads(place: Path, capsys: Capture) -> None:
    exported(place, "lora", capsys)
    options = ["--effort", "pilot", "--learning-rate", "0.01", "--epochs", "8", "--runs", str(place / "runs")]
    held = ["--test", str(place / "held.jsonl")]
    assert run(["tune", str(place / "one"), str(place / "rows.jsonl"), *options, *held]) == 0
    out = capsys.readouterr().out
    assert "(cached)" in out
    assert "Held      accuracy" in out
    assert "separated" in out
    assert "bits per byte on 14 texts" in out
    assert "(ended by itself)" in out
    assert "(cut by the limit)" in out


def test_without_held_out_rows_it_says_so(place: Path, capsys: Capture) -> None:
    made = tune(place, capsys)
    measured = made["tuned"]["record"]["measured"]
    assert measured["held"] is measured["judged"] is None
    assert not measured["samples"]
    assert measured["general"]["size"] > 10_000
    card = (Path(made["tuned"]["folder"]) / "adapter" / "README.md").read_text()
    assert "nothing is known of rows that were not learned" in card


TASK = """
name = "colours"
kind = "classify"
data = "asked.jsonl"
prompt = "Say {text}:"
"""


def test_other_tasks_show_what_was_forgotten(place: Path, capsys: Capture) -> None:
    (place / "task.toml").write_text(TASK)
    write_rows(place / "asked.jsonl", rows(24, seed=4))
    made = tune(place, capsys, "--keep", str(place / "task.toml"))
    (task,) = made["tuned"]["record"]["measured"]["tasks"]["tasks"]
    assert (task["task"], task["metric"], task["difference"]["n"]) == ("colours", "accuracy", 24)
    card = (Path(made["tuned"]["folder"]) / "adapter" / "README.md").read_text()
    assert "| colours | accuracy |" in card


COLOURS = ("red", "blue", "grey", "pink")
TALK: dict[str, tuple[dict[str, Any], str, str]] = {
    "prompt-completion": ({"prompt": "Say {} now", "completion": "ok {}"}, "{text}", "exact match"),
    "messages": (
        {"messages": [{"role": "user", "content": "Say {}"}, {"role": "assistant", "content": "ok {}"}]},
        "User: {text}\nAssistant:",
        "exact match",
    ),
    "preference": (
        {"prompt": "Say {} now", "chosen": "ok {}", "rejected": "no never {}"},
        "{text}",
        "preferred answer likelier",
    ),
}


@pytest.mark.parametrize("shape", TALK)
def test_each_shape_is_measured_by_what_it_is(shape: str, tmp_path: Path, capsys: Capture) -> None:
    row, asked, metric = TALK[shape]
    words = [f"{a} {b} {c}" for a in COLOURS for b in FILLER[:8] for c in COLOURS]
    for name, part in (("rows", words[::2]), ("held", words[1::8])):
        lines = [json.dumps(row).replace("{}", word) for word in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    tiny_llama(tmp_path / "one", seed=1, context=512, std=0.08)
    made = tune(tmp_path, capsys, "--test", str(tmp_path / "held.jsonl"))
    record = made["tuned"]["record"]
    assert record["layout"]["prompt"] == asked
    judged = record["measured"]["judged"]
    assert judged["metric"] == metric
    assert judged["gain"]["difference"]["n"] == 16
    assert record["measured"]["held"]["texts"] == 16
    if shape == "preference":
        assert judged["after"]["value"] >= judged["before"]["value"]
    else:
        assert record["measured"]["held"]["after"] < record["measured"]["held"]["before"]
        assert {one["after"]["finish"] for one in record["measured"]["samples"]} == {"stop"}


# --- asked by id or folder ------------------------------------------------------------------------


def complete(capsys: Capture, *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert run(["complete", *arguments]) == code
    return capsys.readouterr()


@pytest.mark.parametrize("method", ["dora", "full"])
def test_a_result_is_asked_by_its_id_or_folder_in_its_layout(place: Path, method: str, capsys: Capture) -> None:
    made, target = exported(place, method, capsys)
    runs = ("--runs", str(place / "runs"))
    for what in (made["tuned"]["id"], made["tuned"]["folder"], made["id"], made["folder"], str(target)):
        out, err = complete(capsys, what, "--text", ASKED[0], *runs)
        assert (out.strip(), err) == ("warm", ""), what
    assert "tuned on prompts like" in complete(capsys, made["id"], "red", *runs)[1]
    assert "--text says all" in complete(capsys, made["id"], "red", "--text", "a", *runs, code=2)[1]
    assert "of no layout" in complete(capsys, str(place / "one"), "--text", "a", code=2)[1]


def test_results_are_scored_and_compared(place: Path, capsys: Capture) -> None:
    made, _ = exported(place, "dora", capsys)
    (place / "task.toml").write_text(TASK)
    write_rows(place / "asked.jsonl", rows(24, seed=4))
    runs = ["--runs", str(place / "runs")]
    for what in (made["tuned"]["id"], str(place / "one")):
        assert run(["evaluate", what, str(place / "task.toml"), *runs]) == 0
    capsys.readouterr()
    assert run(["compare", made["tuned"]["id"], "one", *runs]) == 0
    assert "colours" in capsys.readouterr().out


@pytest.fixture
def adapter(place: Path, capsys: Capture, tmp_path: Path) -> Path:
    """An adapter that was carried away from its store."""
    made, _ = exported(place, "lora", capsys)
    return Path(shutil.copytree(Path(made["tuned"]["folder"]) / "adapter", tmp_path / "carried"))


def test_an_adapter_finds_its_base_by_commit_and_keeps_its_layout(place: Path, adapter: Path, capsys: Capture) -> None:
    out, _ = complete(capsys, str(adapter), "--text", ASKED[1], "--runs", str(place / "runs"))
    assert out.strip() == "cold"


def test_h020_an_adapter_of_a_base_that_is_not_here(adapter: Path, capsys: Capture) -> None:
    _, err = complete(capsys, str(adapter), "--text", "red", code=65)
    assert "the adapter's base, one " in err
    assert "is not here" in err
    assert err.count("\n") == 2


def edit(adapter: Path, **changes: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"revision": "0" * 64}, "the adapter was trained on one 000000000000; the one here is"),
        ({"revision": None}, "does not say which weights it was trained on"),
        ({"base_model_name_or_path": "../one", "revision": "1" * 64}, "the adapter's base, ../one 111111111111, is"),
    ],
)
def test_h020_an_adapter_of_another_commit(
    place: Path, adapter: Path, changes: dict[str, object], said: str, capsys: Capture
) -> None:
    edit(adapter, **changes)
    _, err = complete(capsys, str(adapter), "--text", "red", "--runs", str(place / "runs"), code=65)
    assert said in err
    assert err.count("\n") == 2


def test_only_torch_runs_an_adapter(place: Path, adapter: Path, capsys: Capture) -> None:
    (place / "task.toml").write_text(TASK)
    write_rows(place / "asked.jsonl", rows(24, seed=4))
    arguments = ["evaluate", str(adapter), str(place / "task.toml"), "--engine", "llama_cpp"]
    assert run(arguments) == 2
    assert "an adapter is not run by llama_cpp" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_head_writes_nothing_and_is_asked_no_other_task(
    place: Path, method: str, capsys: Capture, tmp_path: Path
) -> None:
    made = tune(place, capsys, "--head", "--method", method, "--epochs", "1")
    assert "tuned" not in made
    for what in (made["id"], made["folder"]):
        _, err = complete(capsys, what, "red", "--runs", str(place / "runs"), code=2)
        assert "has a classification head" in err
        assert "basewright classify" in err
    refused = tune(place, capsys, "--head", "--keep", str(tmp_path / "task.toml"), code=2)
    assert "for models that write" in json.dumps(refused)


def test_nothing_is_exported_over_something(place: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    found = tune(place, capsys, "--export", str(tmp_path / "there"), code=2)
    assert "is there already" in json.dumps(found)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine.txt"]


# --- recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dora", pytest.param("pissa", marks=SLOW)])
def test_a_recipe_names_the_method_and_its_release_carries_it(method: str, tmp_path: Path, capsys: Capture) -> None:
    recipe = prepare(tmp_path, count=80, examples=800)
    text = (
        recipe.read_text().replace('["./one", "./two"]', '["./one"]').replace("[tune]", f'[tune]\nmethod = "{method}"')
    )
    recipe.write_text(f"{text}\n[baselines]\nall_weights = false\n")
    built, watch = walk(recipe)
    assert built.adapter.record.lora.variant == method
    assert LORA_NAMES[built.adapter.record.lora.variant] in watch.notes["tune"]
    assert all(check.passed for artifact in built.converted.record.artifacts for check in artifact.checks)
    assert f"{LORA_NAMES[built.adapter.record.lora.variant]}, rank" in (built.release.folder / "README.md").read_text()
    recipe.write_text(text.replace(f'method = "{method}"', 'method = "full"'))
    assert run(["build", str(recipe)]) == 2
    assert "tune.method: input should be 'lora', 'rslora', 'dora' or 'pissa'" in capsys.readouterr().err
