"""Pulls under fire: processes forked from one that has imported everything, killed at random instants, or many at once.

Run as a program of its own, with one thread, so that forking it is safe: `python -m tests.hub.storm` reads one line of
JSON that says what to do, and answers with one that says what was seen.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from basewright import store as stores
from basewright.errors import StoreError
from basewright.hub import journal, pulling, reference, transfer
from basewright.hub.remote import Ask, Bytes
from basewright.hub.wire import Patience, Wire
from basewright.records import silent
from basewright.store import Store

PATIENCE = Patience(stall=5, pause=0.05, attempts=8, stale=60, deadline=120)
SLOT = struct.Struct("<qq")
"""What a child tells its parent also when it is killed: the last position it had, and where it began."""


def ask(**task: Any) -> Any:
    """Start the program for one task, and its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.storm"], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    task = json.loads(sys.stdin.readline())
    what = task.pop("what")
    print(json.dumps(kills(**task) if what == "kills" else crowd(**task)))


# --- killed at random instants ------------------------------------------------------------------------


def kills(url: str, root: str, count: int, seed: int, size: int, chunk: int, hashes: dict[str, str]) -> Any:
    """Kill `count` pulls; each that comes to its end is looked at, and begun anew in an empty store.

    A kill comes at a random instant after the start, or after the weights have begun to come, or after the last byte of
    them, `size` in all, has: each in turn.
    """
    draw, shared = random.Random(seed), mmap.mmap(-1, SLOT.size)
    killed, whole, wrong, refetched, instants = 0, 0, [], [], []
    life, last = 0, -1
    while killed < count:
        folder = Path(root) / f"life-{life}"
        shared[:] = SLOT.pack(-1, -1)
        child = os.fork()
        if child == 0:
            _child(url, folder, chunk, shared)
        ended = _kill(child, shared, [-2, 0, size][killed % 3], draw.uniform(0, [0.4, 0.3, 0.1][killed % 3]))
        here, began = SLOT.unpack(shared[:])
        if began >= 0 and last >= 0:
            refetched.append(max(0, last - began))
        wrong += faults(folder, hashes)
        if ended is None:
            killed += 1
            instants.append(here)
            last = here if here >= 0 else last
            continue
        whole += ended == 0 and complete(folder, hashes)
        wrong += [] if ended == 0 else [f"ended with {ended}"]
        shutil.rmtree(folder)
        life, last = life + 1, -1
    return {"killed": killed, "whole": whole, "wrong": wrong, "refetched": refetched, "instants": instants}


def _child(url: str, folder: Path, chunk: int, shared: mmap.mmap) -> None:
    """One pull, which writes down where it is; exits with 0 when it has a result."""

    class Told(journal.Partial):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest)
            if self.size > chunk:
                shared[:] = SLOT.pack(self.position, self.position)

        def write(self, block: bytes) -> None:
            super().write(block)
            if self.size > chunk:
                shared[: SLOT.size // 2] = struct.pack("<q", self.position)

    setattr(transfer, "Partial", Told)  # noqa: B010
    code = 1
    try:
        pull(url, folder, chunk)
        code = 0
    finally:
        os._exit(code)


def _kill(child: int, shared: mmap.mmap, position: int, seconds: float) -> int | None:
    """So many seconds after the child has come to a position; its exit code if it ended before, None of one killed."""
    until = float("inf")
    while time.monotonic() < until:
        if until == float("inf") and SLOT.unpack(shared[:])[0] >= position:
            until = time.monotonic() + seconds
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return None if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL else 0


def pull(url: str, folder: Path, chunk: int) -> None:
    line = Wire(url, stated=True, patience=PATIENCE)
    pulling.pull(reference.parse("hub:maker/model"), Ask(), Bytes(Store(folder), line, silent, chunk))


def faults(folder: Path, hashes: dict[str, str]) -> list[str]:
    """Whatever is wrong under a final name, in the blobs and in the store."""
    found = []
    for path in (folder / "hub" / "blobs").glob("s*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() not in hashes.values():
            found.append(f"{path.name} has other bytes")
    for result in folder.glob("weights-*"):
        if "damaged" in result.name:
            found.append(f"{result.name} was published damaged")
        found += stores.faults(result)
        found += [
            f"{name} is not the hub's" for name, right in hashes.items() if _sha256(result / "model" / name) != right
        ]
    return found


def complete(folder: Path, hashes: dict[str, str]) -> bool:
    return len(list(folder.glob("weights-*"))) == 1 and not faults(folder, hashes)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


# --- many at once, without a lock that locks ----------------------------------------------------------


def crowd(url: str, root: str, rounds: int, processes: int, seed: int, chunk: int, hashes: dict[str, str]) -> Any:
    """Rounds of pulls into one store at once, `flock` doing nothing; readers look all the time."""
    import fcntl

    fcntl.flock = lambda *_: None
    draw = random.Random(seed)
    looks, wrong, results = 0, [], 0
    for number in range(rounds):
        folder = Path(root) / f"round-{number}"
        children = [_join(url, folder, chunk, draw.uniform(0, 0.3)) for _ in range(processes)]
        while children:
            looks += 1
            wrong += _seen(folder, hashes)
            children = [child for child in children if not os.waitpid(child, os.WNOHANG)[0]]
        results += complete(folder, hashes)
        wrong += faults(folder, hashes)
        shutil.rmtree(folder)
    said = Path(root) / "failed"
    failed = said.read_text().split("\f")[:-1] if said.exists() else []
    return {"looks": looks, "wrong": wrong, "failed": failed, "results": results}


def _seen(folder: Path, hashes: dict[str, str]) -> list[str]:
    """What a reader sees under a final name at this instant: absent, or whole."""
    try:
        return faults(folder, hashes)
    except (FileNotFoundError, StoreError):
        return []  # gone between listing and reading, as when a result is replaced by its like


def _join(url: str, folder: Path, chunk: int, pause: float) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        time.sleep(pause)
        pull(url, folder, chunk)
        code = 0
    except Exception:  # noqa: BLE001
        with (folder.parent / "failed").open("a") as file:
            file.write(traceback.format_exc() + "\n\f")
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
