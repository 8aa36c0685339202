"""Who is writing: process, machine and a sign of life, so that a dead holder blocks nobody (H029).

It saves bandwidth and nothing rests on it: two that fetch the same file at once each write their own.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOLDER = "holder"
BEAT = 2.0
"""Seconds between signs of life."""


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    started: str
    """When the process began, in ticks after boot, so that another one with its number is not taken for it."""
    host: str
    place: str
    """Boot and process namespace: only there does the process number mean anything."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def me() -> Holder:
    return Holder(os.getpid(), _started(os.getpid()), socket.gethostname(), _place())


def sign(folder: Path) -> None:
    (folder / HOLDER).write_text(json.dumps([me().pid, me().started, me().host, me().place]))


def beat(folder: Path) -> None:
    """A sign of life, at most every two seconds."""
    with suppress(OSError):
        if time.time() - (folder / HOLDER).stat().st_mtime > BEAT:
            os.utime(folder / HOLDER)


def read(folder: Path) -> Holder | None:
    """Who signed; None where nobody has, or the signature is not whole yet."""
    try:
        value: Any = json.loads((folder / HOLDER).read_text())
        pid, started, host, place = value
        return Holder(int(pid), str(started), str(host), str(place))
    except (OSError, ValueError, TypeError):
        return None


def is_dead(holder: Holder) -> bool:
    """Whether it is proven that the holder's process has ended; of another machine it never is."""
    here = me()
    if (holder.host, holder.place) != (here.host, here.place):
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _started(holder.pid) != holder.started


def last_beat(folder: Path) -> int:
    try:
        return (folder / HOLDER).stat().st_mtime_ns
    except OSError:
        return 0


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if fields[0] == "Z" else fields[19]  # a zombie has ended: it writes nothing more


def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
