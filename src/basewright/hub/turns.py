"""One process fetches a file while others wait for it, for a bounded time (H028, H029).

Nothing rests on the lock but saved bandwidth: each process writes into a folder of its own. What a process left behind
that is proven dead is gone on with; of one that only seems dead the chunks are copied, since it may still write.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from basewright import signals
from basewright.hub import holder
from basewright.hub.blobs import Blobs
from basewright.hub.digests import Wanted
from basewright.hub.journal import DATA, JOURNAL
from basewright.hub.wire import TICK, Patience

UNSIGNED = 5.0
"""Seconds that a lock may be held before its holder has signed, or after it was last heard of."""


@contextmanager
def turn(blobs: Blobs, wanted: Wanted, patience: Patience, say: Callable[[str], None]) -> Iterator[Path | None]:
    """A folder to fetch the file in, signed; None when another process has published it meanwhile."""
    places = wanted.digest.below(blobs.partial)
    places.mkdir(parents=True, exist_ok=True)
    published = wanted.digest.below(blobs.whole)
    before = _identity(published)
    if blobs.get(wanted):
        yield None
        return
    seen, until = _Seen(patience.stale), patience.until(wanted.size)
    free = time.monotonic()
    """When the lock was last seen held with nobody's signature: its holder has yet to sign."""
    while True:
        signals.poll()
        if _identity(published) != before and blobs.get(wanted):
            yield None
            return
        release = _try_lock(places.with_suffix(".lock"))
        living = [place for place in _places(places) if seen.lives(place)]
        if release and not living:
            break
        if release:
            release()  # the lock does not lock here
        now = time.monotonic()
        if living:
            free = now
            say(f"waiting for {holder.read(living[0]) or 'another process'}, {wanted.name}")
        if now > until or now - free > UNSIGNED:
            release = None
            break
        time.sleep(TICK)
    try:
        mine = _mine(places)
        yield mine
    finally:
        if release:
            release()
    _clear(places, mine)


def _try_lock(path: Path) -> Callable[[], object] | None:
    """Takes the lock if nobody has it, and returns what gives it back."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except (OSError, NotImplementedError):
        return lambda: None  # a disk without locks
    return lock.release


class _Seen:
    """Signs of life by our own clock: clocks of machines differ."""

    def __init__(self, stale: float) -> None:
        self.stale = stale
        self.beats: dict[Path, tuple[int, float]] = {}

    def lives(self, place: Path) -> bool:
        found = holder.read(place)
        if found is not None and holder.is_dead(found):
            return False
        beat, now = holder.last_beat(place), time.monotonic()
        last, since = self.beats.get(place, (-1, now))
        if beat != last:
            since = now
        self.beats[place] = (beat, since)
        return now - since < self.stale


def _places(places: Path) -> list[Path]:
    """Folders of all that fetch or fetched the file, the one with most bytes first."""
    try:
        return sorted((path for path in places.iterdir() if path.is_dir()), key=_size, reverse=True)
    except FileNotFoundError:  # cleared by another process a moment ago
        return []


def _size(place: Path) -> int:
    try:
        return (place / JOURNAL).stat().st_size
    except OSError:
        return 0


def _mine(places: Path) -> Path:
    """A signed folder that begins with what the furthest of the others has: taken over from the dead, copied from the
    silent."""
    mine = places / uuid.uuid4().hex
    for place in _places(places):
        found = holder.read(place)
        with suppress(OSError):
            if found is None or not holder.is_dead(found):
                mine.mkdir(parents=True, exist_ok=True)
                for name in (JOURNAL, DATA):  # the journal first: it then names no chunk that is not in the copy
                    shutil.copyfile(place / name, mine / name)
                break
            os.rename(place, mine)
            if holder.read(mine) == found:
                break
            os.rename(mine, place)  # somebody signed it between our look and the renaming: it is theirs
    mine.mkdir(parents=True, exist_ok=True)
    holder.sign(mine)  # before anything in it is opened: whoever renames it after that sees the signature
    return mine


def _clear(places: Path, mine: Path) -> None:
    """Take away what was fetched in, and what the dead left; those that still write are let be."""
    for place in _places(places):
        found = holder.read(place)
        if place == mine or (found is not None and holder.is_dead(found)):
            shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        places.rmdir()
        places.with_suffix(".lock").unlink()


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_ino, found.st_mtime_ns
