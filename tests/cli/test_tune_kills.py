"""kill -9 of the whole command at random times, then the command again: the bits of an undisturbed run (P1)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from basewright import store
from tests.models import tiny_llama
from tests.walks import rows, write_rows

pytestmark = pytest.mark.slow
METHODS = {
    "lora": [],
    "full": ["--method", "full"],
    "classification": ["--head"],
    "preference": [],
}
KILLS = 5


def command(folder: Path, method: str, runs: str) -> list[str]:
    data = folder / ("pairs.jsonl" if method == "preference" else "rows.jsonl")
    words = ["tune", str(folder / "one"), str(data), *METHODS[method]]
    dial = ["--effort", "pilot", "--learning-rate", "0.01", "--batch-tokens", "256", "--micro-tokens", "256"]
    return [sys.executable, "-m", "basewright.cli", *words, *dial, "--runs", str(folder / runs)]


def prepare(folder: Path) -> None:
    tiny_llama(folder / "one", context=512, std=0.08)
    labelled = rows(120)
    write_rows(folder / "rows.jsonl", labelled)
    other = {"warm": "cold", "cold": "warm"}
    pairs = [{"prompt": row["text"], "chosen": row["label"], "rejected": other[row["label"]]} for row in labelled]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def weights(folder: Path) -> dict[str, str]:
    """Hash of every file with trained weights."""
    found = [*folder.glob("adapter-*/adapter/*.safetensors"), *folder.glob("checkpoint-*/*.safetensors")]
    return {path.relative_to(folder).as_posix(): store.sha256_of(path) for path in sorted(found)}


@pytest.mark.parametrize("method", METHODS)
def test_p1_whole_processes_killed_and_run_again_give_the_same_weights(tmp_path: Path, method: str) -> None:
    prepare(tmp_path)
    began = time.monotonic()
    subprocess.run(command(tmp_path, method, "whole"), check=True, capture_output=True)
    length, draw, hits, chain = time.monotonic() - began, random.Random(method), 0, 0
    while hits < KILLS:
        child = subprocess.Popen(
            command(tmp_path, method, f"cut{chain}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.3, 0.9) * length)
        child.kill()
        if child.wait() < 0:
            hits += 1
        else:  # it had come to its end: the next chain begins
            chain += 1
    for cut in sorted(tmp_path.glob("cut*")):
        subprocess.run(command(tmp_path, method, cut.name), check=True, capture_output=True)
        assert weights(cut) == weights(tmp_path / "whole") != {}
