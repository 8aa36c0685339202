"""Cases through the airlock in this process, watched: time, memory, the kind of error, and what is opened."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from basewright.catalog import architectures
from basewright.errors import ModelFileError
from basewright.formats import template
from basewright.formats.render import render
from basewright.hub import airlock
from tests.formats.templates import CHATML
from tests.fuzz import mutate, peers
from tests.hub import folders

BATCH = 500
SECONDS = 2.0
"""Of processor time, for one file."""
MEMORY = 512 * 2**20
FAST = Path("/dev/shm")
CONVERSATION = {"messages": [{"role": "user", "content": "Hello"}], "add_generation_prompt": True}
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "pickle.",
    "ctypes.",
    "import",
)


class Hang(BaseException):
    """More time than a file may take; no handler of ordinary errors catches it."""


class Watch:
    """An audit hook, which stays for good and listens only while it is armed."""

    def __init__(self, folder: Path) -> None:
        self.root, self.armed = str(folder) + os.sep, False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event == "open":
            path = arguments[0]
            name = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
            if not isinstance(path, int) and (not name.startswith(self.root) or ".." in name.split(os.sep)):
                self.seen.append(f"open {path!r}")
        elif event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments[:1]!r}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.armed = True
        try:
            yield
        finally:
            self.armed = False


class Lane:
    def __init__(self) -> None:
        self.home = tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None)
        root = Path(self.home.name).resolve()
        self.root = root
        folders.write(root / "model")
        folders.write_shards(root / "shards")
        _adapter(root / "adapter")
        for family, config in mutate.FAMILIES.items():
            _family(root / family, config)
        self.watch = Watch(root)
        self.good: dict[Path, bytes] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest = (0.0, -1)
        for folder in ("model", "shards", *mutate.FAMILIES):
            airlock.inspect(root / folder)
        for path in root.rglob("*.*"):
            self.good[path] = path.read_bytes()
        airlock.inspect_adapter(root / "adapter")
        template.parse(CHATML, "x")  # imports happen before anyone listens
        render(CHATML, CONVERSATION, file="x")
        peers.warm(root / "model")

    def run(self, number: int) -> str | None:
        """What is wrong with how the airlock took this case; None when nothing is."""
        folder, name, data = mutate.case(number)
        path = self.root / folder / name
        path.write_bytes(data)
        self.watch.seen.clear()
        start = time.process_time()
        try:
            with self.watch.listening():
                outcome = _outcome(path)
            wrong = peers.differ(path, data)
            if name.endswith(".jinja") and outcome == "passed":
                wrong = wrong or _rendered(data)
        except ModelFileError as error:
            outcome, wrong = error.code, _badly_told(error)
        except (Exception, Hang) as error:  # noqa: BLE001 - any other error is the finding
            outcome, wrong = "untyped", f"{type(error).__name__}: {error}"
        took = time.process_time() - start
        self.slowest = max(self.slowest, (took, number))
        self.outcomes[name if name in mutate.KINDS else "another file", outcome] += 1
        if path in self.good:
            path.write_bytes(self.good[path])
        else:
            path.unlink()
        if took > SECONDS:
            wrong = wrong or f"took {took:.1f} s"
        if self.watch.seen:
            wrong = wrong or f"reached out: {self.watch.seen[0]}"
        return f"{folder}/{name}: {wrong}" if wrong else None


def _family(folder: Path, config: dict[str, Any]) -> None:
    values = {name: np.zeros(dims, np.float32) for name, dims in architectures.tensors(config)}
    folders.write(folder, data=folders.weights(values))
    (folder / "config.json").write_text(json.dumps(config))


def _adapter(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(mutate.ADAPTER_CONFIG))
    at = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    pair = {f"{at}A.weight": np.zeros((2, 8), np.float32), f"{at}B.weight": np.zeros((8, 2), np.float32)}
    (folder / "adapter_model.safetensors").write_bytes(folders.weights(pair))


def _outcome(path: Path) -> str:
    if path.suffix == ".gguf":
        airlock.inspect_gguf(path)
    elif path.name == "adapter_config.json":
        airlock.inspect_adapter(path.parent)
    else:
        airlock.inspect(path.parent)
    return "passed"


def _badly_told(error: ModelFileError) -> str | None:
    if "\n" in error.message + error.fix or len(error.message) > 1200:
        return f"more than a line: {error.message[:200]!r}"
    if error.code == "unusable" or error.file is None:
        return f"without a code or a file: {error.message}"
    return None


def _rendered(data: bytes) -> str | None:
    try:
        render(data.decode(), CONVERSATION, file="x")
    except ModelFileError as error:
        return _badly_told(error)
    return None


def confine() -> None:
    """Limits that turn a hang or hunger of this process into an exception."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {SECONDS:g} s")

    signal.signal(signal.SIGPROF, stop)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def watched(lane: Lane, number: int) -> str | None:
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    try:
        return lane.run(number)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def work(part: range, pipe: Connection) -> None:
    """The cases of one process; every batch says where it is."""
    runner = Lane()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    confine()
    for place, number in enumerate(part):
        if place % BATCH == 0:
            pipe.send(("at", number))
        wrong = watched(runner, number)
        if wrong:
            pipe.send(("wrong", f"case {number}: {wrong}"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
    pipe.send(("done", (runner.outcomes, runner.slowest, peak * 1024)))
