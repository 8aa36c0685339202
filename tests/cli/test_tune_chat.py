"""`basewright tune --chat-template`: refused for untrained tokens; else learned, saved, asked and exported alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from basewright.cli.main import run
from tests.evaluate.chatml import TEMPLATE, chatml
from tests.models import tiny_llama
from tests.prove.test_faults import THINGS

ASKED = "Where is the rope?"
QUICK = ("--effort", "pilot", "--epochs", "25", "--learning-rate", "0.02", "--rank", "8", "--json")


def rows(path: Path) -> Path:
    talks = [
        [{"role": "user", "content": f"Where is the {thing}?"}, {"role": "assistant", "content": f"By the {thing}."}]
        for thing in THINGS[:6]
    ]
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks), "utf-8")
    return path


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    return chatml(tiny_llama(tmp_path / "a", layers=1, context=512, std=0.1), tmp_path / "chat")


def test_tokens_that_nobody_trained_are_refused_with_the_way_on(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path / "rows.jsonl")
    assert run(["tune", str(untrained), str(data), "--chat-template"]) == 70
    said = capsys.readouterr().err
    assert "every token of the chat template was trained: 2, the limit is 0" in said
    assert "next: leave --chat-template out, or add --train-embeddings" in said
    assert run(["tune", str(untrained), str(data), "--train-embeddings"]) == 2
    assert "next: add --chat-template" in capsys.readouterr().err
    assert run(["tune", str(tmp_path / "a"), str(data), "--chat-template"]) == 2
    assert "has no chat template" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_h065_h067_what_was_learned_is_asked_alike_everywhere_and_stops(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    data, out = rows(tmp_path / "rows.jsonl"), tmp_path / "out"
    options = ("--chat-template", "--train-embeddings", "--method", method, "--export", str(out), *QUICK)
    assert run(["tune", str(untrained), str(data), *options]) == 0
    shown = capsys.readouterr()
    assert "Embedding <|im_start|>, <|im_end|>: they were never trained, and will be" in shown.err
    made: dict[str, Any] = json.loads(shown.out)
    about = made["record"]["tuning"] if method == "full" else made["record"]
    end = AutoTokenizer.from_pretrained(untrained).convert_tokens_to_ids("<|im_end|>")
    assert (about["stop_ids"], about["bos"], about["layout"]["chat"]["source"]) == ([end], False, TEMPLATE)

    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    assert model.generation_config.pad_token_id not in model.generation_config.eos_token_id
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": ASKED}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    with torch.inference_mode():
        ids = model.generate(**asked, max_new_tokens=32, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert ids[-1] == end
    answer = tokenizer.decode(ids[:-1])
    assert answer == "By the rope."
    for what in (made["tuned"]["id"], str(out)):
        assert run(["complete", what, "--text", ASKED, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["text"], found["finish"]) == (answer, "stop")
    assert run(["complete", str(out), ASKED, "--max-tokens", "1"]) == 0
    assert "tuned with its chat template" in capsys.readouterr().err
    if method == "lora":
        assert run(["tune", str(untrained), str(data), "--from", made["folder"], "--effort", "pilot"]) == 70
        assert "trains embeddings of <|im_start|>, <|im_end|>, and this run" in capsys.readouterr().err
