"""kill -9 at random moments of a build, then the same command: the results of an undisturbed run, to the bit."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from basewright import store
from tests.walks import prepare

KILLS = 10


def build(recipe: Path, runs: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "basewright.cli", "build", str(recipe), "--runs", str(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(runs: Path) -> dict[str, Any]:
    """Every committed result: its record without the stamp, and the hash of each of its other files."""
    found: dict[str, Any] = {}
    for folder in sorted(path.parent for path in runs.glob(f"*/{store.RECORD}")):
        assert store.faults(folder) == []
        raw = store.read_json(folder / store.RECORD)
        files = {e.name: e.sha256 for e in store.entries(folder) if e.name != store.RECORD}
        found[folder.name] = (raw["type"], raw["record"], files)
    return found


@pytest.mark.slow
def test_p1_killed_ten_times_the_results_are_those_of_an_undisturbed_build(tmp_path: Path) -> None:
    recipe = prepare(tmp_path)
    began = time.monotonic()
    out, err = build(recipe, tmp_path / "whole").communicate(timeout=600)
    length = time.monotonic() - began
    assert "Verdict" in out, err
    expected = results(tmp_path / "whole")
    draw = random.Random(9)
    killed = 0
    while killed < KILLS:
        process = build(recipe, tmp_path / "killed")
        try:
            process.communicate(timeout=draw.uniform(0.1, 0.6) * length)
            shutil.rmtree(tmp_path / "killed")  # it came to its end before the kill: begin again
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    out, err = build(recipe, tmp_path / "killed").communicate(timeout=600)
    assert "Verdict" in out, err
    assert results(tmp_path / "killed") == expected
