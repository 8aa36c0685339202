"""kill -9 at random moments of a build, then the same command: the results of an undisturbed run, to the bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from basewright import store
from tests.walks import prepare

KILLS = 10


def build(recipe: Path, runs: Path, name: str = "build") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "basewright.cli", name, str(recipe), "--runs", str(runs)]
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
@pytest.mark.parametrize(("name", "ends"), [("build", "Verdict"), ("choose", "Spent")])
def test_p1_killed_ten_times_the_results_are_those_of_an_undisturbed_run(tmp_path: Path, name: str, ends: str) -> None:
    recipe = prepare(tmp_path)
    began = time.monotonic()
    out, err = build(recipe, tmp_path / "whole", name).communicate(timeout=600)
    length = time.monotonic() - began
    assert ends in out, err
    expected = results(tmp_path / "whole")
    draw = random.Random(9)
    killed = 0
    while killed < KILLS:
        process = build(recipe, tmp_path / "killed", name)
        try:
            process.communicate(timeout=draw.uniform(0.1, 0.6) * length)
            shutil.rmtree(tmp_path / "killed")  # it came to its end before the kill: begin again
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    out, err = build(recipe, tmp_path / "killed", name).communicate(timeout=600)
    assert ends in out, err
    assert results(tmp_path / "killed") == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_h050_h051_stopped_politely_at_any_time_it_says_so_and_continues(tmp_path: Path, number: int) -> None:
    recipe = prepare(tmp_path)
    draw = random.Random(number)
    ended = 0
    for _ in range(8):
        process = build(recipe, tmp_path / "runs")
        time.sleep(draw.uniform(0.2, 8.0))
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        if process.returncode == 0:
            ended += 1
            continue
        assert process.returncode in (130, -number), err  # the latter before the handler is there
        assert "Traceback" not in err
        assert process.returncode == -number or "run the same command again" in err
    out, err = build(recipe, tmp_path / "runs").communicate(timeout=600)
    assert "Verdict" in out, err
    assert ended < 8


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_h030_h043_a_full_disk_is_one_line_and_the_build_continues(tmp_path: Path) -> None:
    recipe = prepare(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(runs)], check=False).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        process = build(recipe, runs)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 74, err
        assert "disk full" in err
        assert "Traceback" not in err
        assert all(store.faults(folder) == [] for folder in runs.glob("*-*") if folder.name != "work")
        subprocess.run(["mount", "-o", "remount,size=200m", str(runs)], check=True)
        out, err = build(recipe, runs).communicate(timeout=600)
        assert "Verdict" in out, err
    finally:
        subprocess.run(["umount", str(runs)], check=True)
