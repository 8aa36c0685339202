"""The sample of the fuzz lane that every run of the tests takes; `make fuzz` takes a hundred times as many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import mutate

ROOT = Path(__file__).parents[2]


def test_h008_h010_h011_ten_thousand_changed_files_pass_or_are_the_one_error() -> None:
    run = subprocess.run([sys.executable, "-m", "tests.fuzz", "10000"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert "10000 files" in run.stdout


def test_a_case_is_always_the_same() -> None:
    assert [mutate.case(number) for number in range(200)] == [mutate.case(number) for number in range(200)]
    assert {mutate.case(number)[1] for number in range(2000)} > set(mutate.KINDS) - {"another file"}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("raise ModelFileError('a\\nb', fix='c', code='malformed', file='x')", "more than a line"),
        ("raise ModelFileError('a', fix='c')", "without a code"),
        ("open('/etc/hostname').close()", "reached out"),
        ("while True: pass", "more than 0.2 s"),
    ],
)
def test_the_lane_sees_what_it_looks_for(fault: str, told: str) -> None:
    """Each in a process of its own: an audit hook stays, and so do limits."""
    program = (
        "from basewright.errors import ModelFileError\n"
        "from tests.fuzz import lane\n"
        "lane.SECONDS, runner = 0.2, lane.Lane()\n"
        "lane.confine()\n"
        f"def faulty(*_):\n    {fault}\n"
        "lane.airlock.inspect = lane.airlock.inspect_gguf = lane.airlock.inspect_adapter = faulty\n"
        "print(lane.watched(runner, 0))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert told in run.stdout, run.stdout + run.stderr
