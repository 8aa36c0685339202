"""Is what was pulled still whole (H037), and what would go if it were removed: a plan first, then the act."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from basewright import store as stores
from basewright.errors import StoreError, UsageError
from basewright.hub import lockfile
from basewright.hub.blobs import Blobs
from basewright.hub.lockfile import FOLDER, Lock
from basewright.hub.reference import HUB, Reference
from basewright.records import record
from basewright.store import RECORD, Store


@record
class Found:
    """One file of a pulled model, as `--check` sees it."""

    name: str
    size: int
    fault: str
    """Empty when it is whole."""


@record
class Removal:
    """What `--remove` takes away: results, blobs that no other pulled model needs, the lock. Names are those below the
    store's folder."""

    ref: str
    names: tuple[str, ...]
    size: int
    """Bytes that become free; what another folder holds too does not."""
    used_by: tuple[str, ...]
    """Results in the store that were made of it; they stay."""
    shared: tuple[str, ...]
    """Other pulled models that need some of its files; these stay too."""


def check(ref: Reference, store: Store) -> list[Found]:
    """Every file of what was pulled as `ref`, hashed. Raises `UsageError` when nothing was."""
    lock = _lock(ref, store)
    folder = store.root / lock.result
    wrong = dict(line.partition(" ")[::2] for line in stores.faults(folder)) if lock.result else {}
    found = []
    for file in lock.wanted:
        fault = next((text for name, text in wrong.items() if name.endswith(f"/{file.name}")), "")
        if not fault and not lock.result:
            fault = "" if Blobs(store.root / FOLDER).get(file) else "has not come yet"
        found.append(Found(name=file.name, size=file.size, fault=fault))
    known = {f"/{file.name}" for file in lock.wanted}
    found += [
        Found(name=name, size=0, fault=text)
        for name, text in wrong.items()
        if not any(name.endswith(one) for one in known)
    ]
    return found


def plan(ref: Reference, store: Store) -> Removal:
    """What would be removed. Raises `UsageError` when there is nothing."""
    lock = _lock(ref, store)
    results = _results(ref, lock, store)
    blobs, others = Blobs(store.root / FOLDER), [one for one in lockfile.every(store) if one.ref != lock.ref]
    needed = {one.digest.below(blobs.whole).name for lock in others for one in lock.wanted}
    held = [path for place in (blobs.whole, blobs.partial) if place.is_dir() for path in sorted(place.iterdir())]
    paths = [store.root / name for name in results]
    paths += [path for path in held if path.name.removesuffix(".lock") not in needed]  # of former commits too
    paths.append(lockfile.path(store, lock.ref))
    ours = {file.digest for file in lock.files}
    return Removal(
        ref=ref.given,
        names=tuple(path.relative_to(store.root).as_posix() for path in paths),
        size=_freed(paths),
        used_by=tuple(stamp.id for stamp in store.all() if set(stamp.parents) & set(results)),
        shared=tuple(one.ref for one in others if ours & {file.digest for file in one.files}),
    )


def remove(removal: Removal, store: Store) -> None:
    """Do what the plan says. The lock goes last: a removal that was stopped can be done again."""
    for name in removal.names:
        path = store.root / name
        if path.is_dir():
            gone = path.with_name(f".removed-{uuid.uuid4().hex}")
            os.rename(path, gone)  # at once for whoever looks; then file by file
            shutil.rmtree(gone)
        else:
            path.unlink(missing_ok=True)


def _lock(ref: Reference, store: Store) -> Lock:
    lock = lockfile.read(store, str(ref))
    if lock is None:
        raise UsageError(f"{ref.given} has not been pulled", fix=f"basewright pull {ref.given}")
    return lock


def _results(ref: Reference, lock: Lock, store: Store) -> list[str]:
    """Folders in the store that were made of it: of this commit and of earlier ones, damaged ones included."""
    names = {lock.result} if lock.result and (store.root / lock.result).exists() else set()
    for path in store.root.glob(f"*/{RECORD}"):
        if path.parent.name.startswith(("weights-", "gguf-")) and _is_of(path, ref):
            names.add(path.parent.name)
    return sorted(names)


def _is_of(path: Path, ref: Reference) -> bool:
    try:
        raw = stores.read_json(path)
        record = raw["record"]
        if ref.file or ref.kind != "hub":
            return bool(record.get("ref") == str(ref))
        return bool(record.get("card", {}).get("location") == HUB + ref.name)
    except (StoreError, KeyError, TypeError, AttributeError):
        return False


def _freed(paths: list[Path]) -> int:
    """Bytes of the files all of whose names are below `paths`."""
    links: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for path in paths:
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            found = file.lstat()
            if file.is_file():
                key = (found.st_dev, found.st_ino)
                links[key] = links.get(key, 0) + 1
                sizes[key] = (found.st_nlink, found.st_blocks * 512)
    return sum(size for key, (count, size) in sizes.items() if links[key] >= count)
