"""Predicted against measured peaks of memory, each point in a process of its own, one at a time.

    python -m benchmarks.plan [WORD …]     the table of docs/plan.md, or the points whose name has one of the words
    python -m benchmarks.plan fit          the same for the models that the constants were set by
    python -m benchmarks.plan keep         the table again, with glibc's own habit of keeping freed blocks
    python -m benchmarks.plan trace        large models layer by layer, with fake weights

The parent imports no heavy library.
"""

from __future__ import annotations

import json
import subprocess
import sys

from basewright.plan import memory
from basewright.plan.model import Model
from benchmarks.plan.points import FITS, POINTS, Point

MIB = 2**20


MODES = ("fit", "keep", "trace")


def main(mode: str, words: list[str]) -> None:
    group = "fit" if mode == "fit" else "points"
    points = POINTS if group == "points" else FITS
    ratios = []
    print("| model, job, rows x context | parameters | predicted MiB | measured MiB | error |")
    print("|---|---|---|---|---|")
    for number, point in enumerate(points):
        if words and not any(word in point.name for word in words):
            continue
        seen, need = measured(group, number, mode), predicted(point)
        ratios.append(need / seen - 1)
        sizes = f"{point.card.parameters / 1e6:.1f} M | {need / MIB:,.0f} | {seen / MIB:,.0f}"
        print(f"| {point.name} | {sizes} | {ratios[-1]:+.1%} |", flush=True)
    mean = sum(map(abs, ratios)) / len(ratios)
    print(f"\n{len(ratios)} points: mean error {mean:.1%}, lowest {min(ratios):+.1%}, highest {max(ratios):+.1%}")


def predicted(point: Point) -> int:
    """Above the state after imports."""
    return memory.need(Model.of(point.card), point.ask).memory.total - memory.IMPORTS


def measured(group: str, number: int, mode: str) -> int:
    command = ["nice", sys.executable, "-m", "benchmarks.plan.child", group, str(number), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


if __name__ == "__main__":
    words = sys.argv[1:]
    mode = words.pop(0) if words[:1] and words[0] in MODES else ""
    if mode == "trace":
        from benchmarks.plan.trace import main as trace

        trace()
    else:
        main(mode, words)
