"""How long commands take to start, as ratios: alternating runs, medians of processor time.

python benchmarks/start.py [RUNS]

`--help` stands beside `python -c "import click"`, the commands that read the catalog beside `--help`.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

COMMANDS = (
    "catalog",
    "catalog --fits --job lora",
    "catalog llama-3.1-8b",
    "plan llama-3-8b --job qlora --machine rtx-4090",
)


def seconds(command: list[str]) -> float:
    """Processor seconds of a command; a plan that does not fit ends with an exit code of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(ours: list[str], peer: list[str], runs: int) -> tuple[float, float]:
    """Medians of both, after one run each for the file cache."""
    for command in (ours, peer):
        seconds(command)
    times = [(seconds(ours), seconds(peer)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return mine, theirs


def main(runs: int) -> None:
    script = shutil.which("basewright", path=str(Path(sys.executable).parent))
    assert script, "install the package in this environment first"
    rows = [("--help", [script, "--help"], "import click", [sys.executable, "-c", "import click"])]
    rows += [(name, [script, *name.split()], "--help", [script, "--help"]) for name in COMMANDS]
    for name, ours, beside, peer in rows:
        mine, theirs = compare(ours, peer, runs)
        ratio = f"{1000 * mine:.0f} ms, {beside} {1000 * theirs:.0f} ms: {mine / theirs:.2f}x"
        print(f"basewright {name}: {ratio}, n = {runs}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
