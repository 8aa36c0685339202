"""What was pulled under a name, and stays so until --update: commit, hash of every file, and when first seen (H027,
H035)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

from basewright.errors import StoreError
from basewright.hub.digests import Digest, Wanted
from basewright.plain import from_plain
from basewright.records import record
from basewright.store import Store, read_json, write_json

FOLDER = "hub"
"""In the store: locks, blobs and what is on its way."""


@record
class LockedFile:
    name: str
    size: int
    digest: str

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.size, Digest.parse(self.digest))


@record
class Lock:
    ref: str
    revision: str
    """As it was asked for: a branch, a tag or a commit."""
    commit: str
    owner_id: str
    files: tuple[LockedFile, ...]
    first_seen: str
    """The day this name was pulled for the first time."""
    seen: str
    """The day this commit was."""
    result: str = ""
    """Name of the folder in the store that was made of it; empty until it is whole."""

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        return tuple(file.wanted for file in self.files)


def locked(files: tuple[Wanted, ...]) -> tuple[LockedFile, ...]:
    return tuple(LockedFile(name=one.name, size=one.size, digest=str(one.digest)) for one in files)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def path(store: Store, ref: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "--", ref)[-80:]
    return store.root / FOLDER / "locks" / f"{readable}-{hashlib.sha256(ref.encode()).hexdigest()[:12]}.json"


def read(store: Store, ref: str) -> Lock | None:
    """Raises `StoreError` when the lock is there and damaged."""
    place = path(store, ref)
    if not place.is_file():
        return None
    return _load(place)


def _load(place: Path) -> Lock:
    try:
        found: Lock = from_plain(Lock, read_json(place)["lock"])
        _ = found.wanted  # hashes in full before they are used
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{place.name} is no lock: {error}", fix=f"remove {place.name}, then pull the model again"
        ) from error
    return found


def write(store: Store, lock: Lock) -> None:
    place = path(store, lock.ref)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, {"schema": 1, "lock": lock})


def every(store: Store) -> list[Lock]:
    return [_load(place) for place in sorted((store.root / FOLDER / "locks").glob("*.json"))]
