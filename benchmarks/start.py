"""How long `basewright --help` takes, as a ratio to `python -c "import click"`: alternating runs, medians.

python benchmarks/start.py [RUNS]
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(runs: int) -> None:
    script = shutil.which("basewright", path=str(Path(sys.executable).parent))
    assert script, "install the package in this environment first"
    ours, peer = [script, "--help"], [sys.executable, "-c", "import click"]
    for command in (ours, peer):  # once for the file cache
        seconds(command)
    times = [(seconds(ours), seconds(peer)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"basewright --help {1000 * mine:.0f} ms, import click {1000 * theirs:.0f} ms: {mine / theirs:.2f}x, n = {runs}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
