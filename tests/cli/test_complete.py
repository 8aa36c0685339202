"""`basewright complete`, run as a person runs it, over a tiny model."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from basewright.cli.main import run
from basewright.engine import torch_lm
from basewright.engine.lm import Sampling
from basewright.store import Store
from tests.models import tiny_llama
from tests.serve.releases import make_release

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_llama(tmp_path_factory.mktemp("models") / "tiny"))


def complete(capsys: Capture, *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert run(["complete", *arguments]) == code
    found = capsys.readouterr()
    return found.out, found.err


def as_json(capsys: Capture, *arguments: str) -> dict[str, Any]:
    out, _ = complete(capsys, *arguments, "--json")
    found: dict[str, Any] = json.loads(out)
    return found


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def text_of(model: str, prompt: str, **settings: Any) -> str:
    lm = torch_lm.open_lm(Path(model), "tiny")
    return "".join(piece.text for piece in lm.generate(prompt, Sampling(**settings)))


def test_it_prints_what_follows_and_nothing_else(model: str, capsys: Capture) -> None:
    assert complete(capsys, model, "The old", "--max-tokens", "8") == (
        text_of(model, "The old", max_tokens=8) + "\n",
        "",
    )


def test_the_prompt_may_come_on_standard_input(model: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = text_of(model, "Größe\n", max_tokens=8)
    for given in ([], ["-"]):
        give(monkeypatch, "Größe\n\n".encode())
        assert complete(capsys, model, *given, "--max-tokens", "8")[0] == expected + "\n"


def test_a_prompt_that_is_no_text_is_one_line(model: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b"\xff\xfe")
    assert "not UTF-8" in complete(capsys, model, code=65)[1]
    assert "not UTF-8" in complete(capsys, model, "\udcff", code=65)[1]


def test_json_tells_the_tokens_and_the_settings(model: str, capsys: Capture) -> None:
    found = as_json(
        capsys, model, "The old", "--max-tokens", "5", "--logprobs", "2", "--temperature", "0.8", "--seed", "3"
    )
    assert found["text"] == text_of(model, "The old", max_tokens=5, temperature=0.8, seed=3)
    assert "".join(token["text"] for token in found["tokens"]) == found["text"]
    assert all(len(token["top"]) == 2 and token["logprob"] <= 0 for token in found["tokens"])
    assert found["finish"] in ("length", "stop")
    assert found["settings"]["prompt"] == "The old"
    assert found["settings"]["sampling"]["seed"] == 3


def test_logprobs_are_a_table(model: str, capsys: Capture) -> None:
    out, _ = complete(capsys, model, "The old", "--max-tokens", "3", "--logprobs", "2")
    lines = out.splitlines()
    assert lines[-4].split() == ["token", "nats", "alternatives"]
    likeliest = lines[-3].split()
    assert likeliest[1] == likeliest[3]


def test_stop_takes_new_lines_as_typed(model: str, capsys: Capture) -> None:
    text = text_of(model, "She", max_tokens=100, temperature=1.0, seed=1)
    letter = next(c for c in text if c.isalpha())
    arguments = ("--max-tokens", "100", "--temperature", "1", "--seed", "1", "--stop", "\\n", "--stop", letter)
    found = as_json(capsys, model, "She", *arguments)
    assert found["text"] == text[: text.index(letter)].partition("\n")[0]
    assert found["settings"]["sampling"]["stops"] == ["\n", letter]
    assert "--stop is empty" in complete(capsys, model, "She", "--stop", "", code=2)[1]


def test_shots_are_solved_examples_in_front(model: str, capsys: Capture, tmp_path: Path) -> None:
    rows = tmp_path / "shots.jsonl"
    rows.write_text('{"text": "fine", "label": "good"}\n{"text": "broken", "label": "bad"}\n')
    found = as_json(
        capsys, model, "works", "--shots", str(rows), "--prompt-layout", "R: {text}\\nL:", "--max-tokens", "4"
    )
    assert found["settings"]["prompt"] == "R: fine\nL: good\n\nR: broken\nL: bad\n\nR: works\nL:"
    assert found["settings"]["sampling"]["stops"] == ["\n\n"]
    assert "{text}" in complete(capsys, model, "a", "--shots", str(rows), "--prompt-layout", "no place", code=2)[1]
    assert "cannot be read" in complete(capsys, model, "a", "--shots", str(tmp_path / "none.jsonl"), code=65)[1]


def test_too_long_a_prompt_is_refused(model: str, capsys: Capture) -> None:
    out, err = complete(capsys, model, "zq" * 200, code=65)
    assert out == ""
    assert "longer than the model's context" in err


def test_a_release_says_how_it_was_tuned(capsys: Capture, tmp_path: Path) -> None:
    runs = tmp_path / "own"
    make_release(Store(runs), "clauses")
    out, err = complete(capsys, "clauses", "The tenant pays", "--max-tokens", "2", "--runs", str(runs))
    assert out.endswith("\n")
    assert "'Clause: {text}\\nKind:'" in err
    assert complete(capsys, "clauses", "Clause: a\nKind:", "--max-tokens", "2", "--runs", str(runs))[1] == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-tokens", "-1"],
        ["--top-p", "2"],
        ["--temperature", "-1"],
        ["--logprobs", "99"],
        ["--sot", "x"],
        ["a", "b"],
    ],
)
def test_a_wrong_option_is_a_usage_error(model: str, capsys: Capture, arguments: list[str]) -> None:
    assert "next:" in complete(capsys, model, "x", *arguments, code=2)[1]


def test_an_unknown_model_is_one_line(capsys: Capture) -> None:
    out, err = complete(capsys, "no-such-model", "x", code=2)
    assert out == ""
    assert "no model is called 'no-such-model'" in err
