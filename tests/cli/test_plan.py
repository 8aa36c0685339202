from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from basewright.cli import main

HEAVY = ("torch", "transformers", "peft", "numpy", "pydantic", "scipy", "huggingface_hub")
SHOWN = ["plan", "llama-3-8b", "--job", "qlora", "--machine", "rtx-4090"]


def test_llama_3_8b_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(SHOWN) == 0
    out = capsys.readouterr().out
    assert "linear maps in NF4: values x bits x bytes a bit" in out
    assert "= 6,979,321,856 x 4.127 x 0.125" in out


def test_rows_too_long_for_it_are_refused_with_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*SHOWN, "--context", "8192"]) == 69
    following = capsys.readouterr().err.rsplit("next: basewright ", 1)[1].split()
    assert main.run(following) == 0


def test_json_has_the_whole_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["plan", "foundling-prose", "--machine", "h200", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["model"] == "foundling-prose"
    assert plan["fits"] is True
    assert sum(term["bytes"] for term in plan["terms"]) == sum(plan["memory"].values())


def test_without_a_model_it_says_what_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["plan"]) == 0
    assert "qlora" in capsys.readouterr().out


def test_a_budget_is_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["plan", "foundling-prose", "--memory", "450MiB"]) == 69
    assert "450 MiB" in capsys.readouterr().out
    assert main.run(["plan", "foundling-prose", "--memory", "much"]) == 2


@pytest.mark.parametrize("words", [SHOWN, ["plan"], ["plan", "foundling-prose"]])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    code = (
        "import sys\nfrom basewright.cli.main import run\n"
        f"run({words!r})\nprint('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_it_starts_within_four_times_the_help() -> None:
    """The best of five, in turn, so that what else runs here weighs on both."""
    best = dict.fromkeys(("--help", "plan"), 1e9)
    for _ in range(5):
        for name, words in (("--help", ["--help"]), ("plan", SHOWN)):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "basewright.cli", *words], capture_output=True, check=False)
            best[name] = min(best[name], time.perf_counter() - started)
    assert best["plan"] <= 4 * best["--help"]


@pytest.mark.parametrize("more", [[], ["--checkpointing"]])
def test_one_step_is_made_and_compared(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "foundling-prose", "--context", "512", "--batch", "2", "--rank", "4", "--measure", "--json", *more]
    assert main.run(words) == 0
    dry = json.loads(capsys.readouterr().out)
    assert dry["measured"] > 40 * 2**20
    assert dry["predicted"] / dry["measured"] == pytest.approx(1, abs=0.25)


def test_what_cannot_be_tried_here_is_refused() -> None:
    assert main.run(["plan", "foundling-prose", "--job", "dpo", "--measure"]) == 2
