"""Waiting for others without being deaf: work that waits runs on threads, while the caller's thread polls signals."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeVar

from basewright import signals

TICK = 0.1
"""Seconds between two polls."""
T = TypeVar("T")
Check = Callable[[], None]
"""Called between steps of waiting; raises when the answer is no longer wanted."""
Job = Callable[[Check], Iterable[T]]


class _Unwanted(Exception):
    """Nobody reads what this thread would find."""


def polled(jobs: Sequence[Job[T]], most: int) -> Generator[T, None, None]:
    """What the jobs yield, as it comes; at most `most` run at a time, and the first error ends all.

    The threads are daemons: a process that has been asked to stop does not wait for an answer from far away.
    """
    todo: queue.SimpleQueue[Job[T]] = queue.SimpleQueue()
    found: queue.SimpleQueue[tuple[T] | Exception | None] = queue.SimpleQueue()
    left = threading.Event()
    for job in jobs:
        todo.put(job)

    def check() -> None:
        if left.is_set():
            raise _Unwanted
        signals.poll()

    def work() -> None:
        try:
            while True:
                for item in todo.get_nowait()(check):
                    found.put((item,))
                    check()
        except queue.Empty:
            found.put(None)
        except Exception as error:  # noqa: BLE001 - it is raised again in the caller's thread
            found.put(error)

    workers = min(most, len(jobs))
    for _ in range(workers):
        threading.Thread(target=work, name="basewright-remote", daemon=True).start()
    try:
        yield from _until_done(found, workers)
    finally:
        left.set()


def _until_done(found: queue.SimpleQueue[tuple[T] | Exception | None], workers: int) -> Iterator[T]:
    while workers:
        signals.poll()
        try:
            item = found.get(timeout=TICK)
        except queue.Empty:
            continue
        if isinstance(item, Exception):
            raise item
        if item is None:
            workers -= 1
        else:
            yield item[0]
