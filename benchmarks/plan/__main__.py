"""Predicted against measured peaks of memory, each point in a process of its own, one at a time.

    python -m benchmarks.plan              the table of docs/plan.md
    python -m benchmarks.plan fit          the same for the models that the constants were set by
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


def main(group: str, only: list[str]) -> None:
    points = POINTS if group == "points" else FITS
    ratios = []
    print("| model, job, rows x context | parameters | predicted MiB | measured MiB | error |")
    print("|---|---|---|---|---|")
    for number, point in enumerate(points):
        if only and not any(word in point.name for word in only):
            continue
        seen, need = measured(group, number), predicted(point)
        ratios.append(need / seen - 1)
        sizes = f"{point.card.parameters / 1e6:.1f} M | {need / MIB:,.0f} | {seen / MIB:,.0f}"
        print(f"| {point.name} | {sizes} | {ratios[-1]:+.1%} |", flush=True)
    mean = sum(map(abs, ratios)) / len(ratios)
    print(f"\n{len(ratios)} points: mean error {mean:.1%}, lowest {min(ratios):+.1%}, highest {max(ratios):+.1%}")


def predicted(point: Point) -> int:
    """Above the state after imports."""
    return memory.need(Model.of(point.card), point.ask).memory.total - memory.IMPORTS


def measured(group: str, number: int) -> int:
    command = ["nice", sys.executable, "-m", "benchmarks.plan.child", group, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["trace"]:
        from benchmarks.plan import trace

        trace.main()
    else:
        group = "fit" if arguments[:1] == ["fit"] else "points"
        main(group, [word for word in arguments if word != "fit"])
