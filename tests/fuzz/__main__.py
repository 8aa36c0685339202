"""`python -m tests.fuzz 1000000`: that many files through the airlock. `--case N` runs one, and says what it is."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from tests.fuzz import mutate

SILENCE = 600.0
"""Seconds without a word after which a process counts as hung; on a machine that is far too busy, minutes may pass."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--case", type=int)
    asked = parser.parse_args()
    if asked.case is not None:
        return _one(asked.case)
    from tests.fuzz import lane

    began = time.monotonic()
    numbers = range(asked.first, asked.first + asked.count)
    parts = [numbers[i :: asked.processes] for i in range(asked.processes)]
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, tuple[BaseProcess, range]] = {}
    for part in parts:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=lane.work, args=(part, theirs), daemon=True)
        process.start()
        theirs.close()
        running[ours] = (process, part)
    outcomes, findings, peaks, slowest = _collect(running)
    _report(outcomes, asked.count, time.monotonic() - began, max(peaks, default=0), slowest)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def _one(number: int) -> int:
    from tests.fuzz import lane

    folder, name, data = mutate.case(number)
    print(f"{folder}/{name}: {len(data)} bytes: {data[:2000]!r}")
    wrong = lane.Lane().run(number)
    print(wrong or "as it should be")
    return 1 if wrong else 0


def _collect(
    running: dict[Connection, tuple[BaseProcess, range]],
) -> tuple[Counter[tuple[str, str]], list[str], list[int], tuple[float, int]]:
    outcomes: Counter[tuple[str, str]] = Counter()
    findings, peaks, slowest = list[str](), list[int](), (0.0, -1)
    last: dict[Connection, int] = {}
    word: str
    value: Any
    while running:
        ready = wait(list(running), timeout=SILENCE)
        for pipe in ready or list(running):
            assert isinstance(pipe, Connection)
            process, _ = running[pipe]
            word, value = _heard(pipe) if ready else ("hung", None)
            if word == "at":
                last[pipe] = value
            elif word == "wrong":
                findings.append(value)
            elif word == "done":
                outcomes += value[0]
                slowest = max(slowest, value[1])
                peaks.append(value[2])
                del running[pipe]
            else:
                findings.append(f"a process {word} within one batch of its cases from {last.get(pipe)}")
                process.kill()
                del running[pipe]
    return outcomes, findings, peaks, slowest


def _heard(pipe: Connection) -> tuple[str, Any]:
    try:
        word, value = pipe.recv()
    except EOFError:
        return "died", None
    return word, value


def _report(
    outcomes: Counter[tuple[str, str]], count: int, seconds: float, peak: int, slowest: tuple[float, int]
) -> None:
    for name in mutate.SHARES:
        codes = {code: number for (file, code), number in sorted(outcomes.items()) if file == name}
        print(f"{name:30} {sum(codes.values()):8}  " + ", ".join(f"{code} {number}" for code, number in codes.items()))
    print(
        f"{count} files in {seconds:.0f} s; at most {peak / 2**20:.0f} MiB above the start; "
        f"slowest {slowest[0]:.2f} s of processor time (case {slowest[1]})"
    )


if __name__ == "__main__":
    sys.exit(main())
