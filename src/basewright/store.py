"""Run folders: everything durable goes through the one commit protocol here, and is found again by its id.

    ROOT/KIND-ID/            a committed result: its files, record.json, MANIFEST.json
    ROOT/work/KIND-ID/       the work in progress of that result: checkpoints, events.jsonl
    ROOT/work/KIND-ID.lock   held while somebody works on it

A result is named by the hash of what went in, so the same work is never done twice and never mixed up. The
protocol (ALICE, OSDI'14): write into a folder beside the final one, flush and fsync every file, re-read and
hash, MANIFEST.json last, fsync the folder, rename, fsync the parent. Readers accept a folder only if its
manifest parses and every hash matches. Nothing rests on the lock but saved work.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from basewright import __version__, signals
from basewright.errors import StoreError
from basewright.plain import from_plain, to_plain
from basewright.records import FileEntry, Made, Stamp

R = TypeVar("R")
MANIFEST = "MANIFEST.json"
RECORD = "record.json"
MAX_JSON = 256 * 2**20


# --- strict JSON ----------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Strict JSON (H023): no duplicate keys, no NaN. Raises `StoreError`."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("larger than any record")
        return json.loads(path.read_bytes(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, OSError, RecursionError) as error:
        raise StoreError(
            f"{path.name} in {path.parent.name} is damaged: {error}", fix="remove that folder and run again"
        ) from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def canonical(value: Any) -> bytes:
    """The one byte form of a plain value, for hashing."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: Any) -> str:
    """sha256 of the canonical form, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """A plain value as a file, as `write` does."""
    write(path, json.dumps(to_plain(value), indent=1, allow_nan=False).encode())


def write(path: Path, content: bytes) -> None:
    """Write, flush and fsync; atomic, so a reader sees the old file or the new one. Raises `StoreError`."""
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with _disk_errors(path.name), half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


# --- files ----------------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries(folder: Path) -> tuple[FileEntry, ...]:
    """Every regular file below `folder` but the manifest, hashed, in order of name."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST:
            found.append(FileEntry(name=name, size=path.stat().st_size, sha256=sha256_of(path)))
    return tuple(found)


def faults(folder: Path) -> list[str]:
    """What is wrong with a committed folder, one line a file; empty when it is whole (H037)."""
    try:
        manifest = read_json(folder / MANIFEST)
        listed = from_plain(tuple[FileEntry, ...], manifest["files"])
    except StoreError as error:
        return [error.message]
    except (KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} is not a manifest: {error}"]
    wrong = []
    for entry in listed:
        path = folder / entry.name
        if not path.is_file():
            wrong.append(f"{entry.name} is missing")
        elif path.stat().st_size != entry.size:
            wrong.append(f"{entry.name} has {path.stat().st_size} bytes, {entry.size} were written")
        elif sha256_of(path) != entry.sha256:
            wrong.append(f"{entry.name} has other content than was written")
    return wrong


def commit(folder: Path, final: Path) -> None:
    """Publish `folder` as `final`: all of it, durably, or nothing. Raises `StoreError`; `folder` then stays.

    It stays too where `final` is there and whole: by another process, where the lock does not lock.
    """
    with _disk_errors(final.name):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            _fsync(path)
        files = entries(folder)
        write_json(folder / MANIFEST, {"schema": 1, "files": files})
        for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
            _fsync(path)
        _fsync(folder)
        if final.exists() and faults(final):
            _set_aside(final)
        try:
            os.rename(folder, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or faults(final):
                raise
        _fsync(final.parent)


def reserve(folder: Path, size: int) -> None:
    """Refuse before writing when `size` bytes plus 5 % are not free (H030)."""
    free = shutil.disk_usage(folder).free
    if free < size * 1.05:
        raise StoreError(
            f"disk full: {size / 2**20:.0f} MiB are needed and {free / 2**20:.0f} MiB are free",
            fix="free some space, then run the same command again",
        )


def _set_aside(final: Path) -> None:
    """A folder under a final name that readers refuse: keep it for the person, out of the way."""
    os.rename(final, final.with_name(f"{final.name}.damaged-{uuid.uuid4().hex[:8]}"))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk_errors(what: str) -> Iterator[None]:
    """An `OSError` while writing becomes one line; a full disk says so. Never retried on the same file (H042)."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "disk full" if full else (error.strerror or str(error))
        raise StoreError(
            f"{reason} while writing {what}; nothing under its final name",
            fix="free some space, then run the same command again" if full else "run the same command again",
        ) from error


# --- the store ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Work:
    """What a maker is given: a scratch folder that survives a kill, and an `out` folder to fill."""

    scratch: Path
    out: Path
    measured: dict[str, float] = field(default_factory=dict)


def _fresh(scratch: Path) -> Path:
    """A folder to fill that no other process fills, even where the lock does not lock (H028)."""
    _sweep(scratch)
    out = scratch / f"out-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    out.mkdir(parents=True)
    return out


def _sweep(scratch: Path, all_of_it: bool = False) -> None:
    """Remove what processes that are no more were filling, or everything but what others are filling now."""
    for path in scratch.iterdir():
        filled = path.name.startswith("out-")
        if (filled or all_of_it) and not (filled and _runs(path.name.split("-")[1])):
            _discard(path)
    if all_of_it:
        with suppress(OSError):
            scratch.rmdir()


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        pass
    return True


def _discard(path: Path) -> None:
    """Remove a folder at once for whoever is in it, and then file by file: nobody commits a half of it."""
    gone = path.with_name(f".gone-{uuid.uuid4().hex}")
    with _disk_errors("the work folder"), suppress(FileNotFoundError):
        os.rename(path, gone)
        if gone.is_dir():
            shutil.rmtree(gone, ignore_errors=True)
        else:
            gone.unlink()


@dataclass(frozen=True, slots=True)
class Store:
    root: Path

    def path(self, kind: str, key: str) -> Path:
        return self.root / f"{kind}-{key}"

    def find(self, kind: str, key: str, cls: type[R]) -> Made[R] | None:
        """The committed result, verified file by file, or None. A damaged folder counts as absent."""
        folder = self.path(kind, key)
        if not folder.is_dir() or faults(folder):
            return None
        return load(folder, cls)

    def make(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        cls: type[R],
        maker: Callable[[Work], R],
        *,
        parents: tuple[str, ...] = (),
    ) -> tuple[Made[R], bool]:
        """The result of `maker` for these inputs: found, or made and committed. True says it was found.

        `inputs` must hold everything that can change the result. The maker may be killed at any instant; what
        it left in `work.scratch` is there when it is called again.
        """
        plain = to_plain(inputs)
        key = digest({"kind": kind, "inputs": plain, "parents": parents, "version": __version__})[:16]
        if found := self.find(kind, key, cls):
            return found, True
        with self.hold(kind, key) as scratch:
            if found := self.find(kind, key, cls):  # made by the process we waited for
                return found, True
            out = _fresh(scratch)
            try:
                stamp, result = self._filled(kind, key, plain, parents, maker, Work(scratch=scratch, out=out))
                commit(out, self.path(kind, key))
                if out.exists() and (found := self.find(kind, key, cls)):
                    return found, True
            finally:
                _discard(out)
            _sweep(scratch, all_of_it=True)
        return Made(record=result, stamp=stamp, folder=self.path(kind, key)), False

    def _filled(
        self,
        kind: str,
        key: str,
        plain: dict[str, Any],
        parents: tuple[str, ...],
        maker: Callable[[Work], R],
        work: Work,
    ) -> tuple[Stamp, R]:
        """Run the maker, and write its record beside what it made."""
        started, clock = datetime.now(UTC), time.monotonic()
        with _disk_errors(f"{kind}-{key}"):
            result = maker(work)
        stamp = Stamp(
            id=f"{kind}-{key}",
            kind=kind,
            version=__version__,
            parents=parents,
            inputs=plain,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
            measured=work.measured,
        )
        write_json(work.out / RECORD, {"schema": 1, "stamp": stamp, "type": type(result).__name__, "record": result})
        return stamp, result

    @contextmanager
    def hold(self, kind: str, key: str) -> Iterator[Path]:
        """The scratch folder of one piece of work, held against a second process (H056)."""
        from filelock import FileLock, Timeout

        work = self.root / "work"
        with _disk_errors("the work folder"):
            work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / f"{kind}-{key}.lock")
        waited = 0
        while True:
            try:
                lock.acquire(timeout=1)
                break
            except Timeout:
                signals.poll()
                waited += 1
                if waited >= 600:
                    raise StoreError(
                        f"another process has been making {kind}-{key} for ten minutes",
                        fix="wait for it, or end it, and run the same command again",
                    ) from None
        try:
            scratch = work / f"{kind}-{key}"
            scratch.mkdir(exist_ok=True)
            yield scratch
        finally:
            lock.release()

    def all(self) -> list[Stamp]:
        """Stamps of every committed result, newest first; damaged folders are left out."""
        stamps = []
        for path in self.root.glob(f"*/{RECORD}"):
            try:
                stamps.append(from_plain(Stamp, read_json(path)["stamp"]))
            except (StoreError, KeyError, TypeError, AttributeError):
                continue
        return sorted(stamps, key=lambda stamp: stamp.started, reverse=True)


def load(folder: Path, cls: type[R]) -> Made[R]:
    """The record in a committed folder. Raises `StoreError` when it is damaged or of another kind."""
    raw = read_json(folder / RECORD)
    try:
        if raw["type"] != cls.__name__:
            raise TypeError(f"it holds a {raw['type']}, not a {cls.__name__}")
        return Made(record=from_plain(cls, raw["record"]), stamp=from_plain(Stamp, raw["stamp"]), folder=folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{folder.name}/{RECORD} cannot be read: {error}", fix="remove that folder and run again"
        ) from error


# --- events ---------------------------------------------------------------------------------------


def append_event(path: Path, event: Mapping[str, Any]) -> None:
    """One line of JSON at the end of an events file; a half line left by a kill is closed first."""
    line = json.dumps(to_plain(event), allow_nan=False).encode() + b"\n"
    with _disk_errors(path.name), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
