"""Ctrl-C and SIGTERM as a flag that every loop polls (H050); the second signal leaves at once (H051)."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

from basewright.errors import Interrupted

_received: list[int] = []


def install() -> None:
    """Take over SIGINT and SIGTERM. Called once by the command line, never on import."""
    signal.signal(signal.SIGINT, _receive)
    signal.signal(signal.SIGTERM, _receive)


def _receive(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) > 1:
        raise KeyboardInterrupt


def requested() -> bool:
    """Whether the run has been asked to stop."""
    return bool(_received)


def poll() -> None:
    """Raise `Interrupted` if the run has been asked to stop. Loops call this between units of work."""
    if _received:
        stop()


def stop() -> NoReturn:
    """Raise `Interrupted`: this process, or one that trains with it, has been asked to stop."""
    raise Interrupted(
        "stopped on request; nothing is lost", fix="run the same command again: it continues where it stopped"
    )
