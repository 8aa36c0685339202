"""From a repository on a hub to files in the store: one commit, locked, each file verified (H027, H035)."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from basewright import store as stores
from basewright.errors import BasewrightError, ModelFileError, Refused, UsageError, nearest
from basewright.hub import airlock, api, blobs, elsewhere, lockfile, transfer
from basewright.hub.blobs import Blobs
from basewright.hub.digests import Wanted
from basewright.hub.journal import CHUNK
from basewright.hub.lockfile import Lock
from basewright.hub.reference import Reference
from basewright.hub.wire import Wire
from basewright.records import Progress
from basewright.store import Store

SMALL = 2**20
"""The most bytes of a licence."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How a model is to be pulled."""

    revision: str | None = None
    update: bool = False
    offline: bool = False


@dataclass(slots=True)
class Bytes:
    """Where files come from, and where they go."""

    store: Store
    line: Wire | None
    """None offline."""
    progress: Progress
    chunk: int = CHUNK
    fetched: int = 0
    reused: int = 0
    """Bytes found in another cache on this machine."""
    notes: list[str] = field(default_factory=list)

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.store.root / lockfile.FOLDER)

    def bring(self, files: Iterable[Wanted], url: Callable[[Wanted], str], cached: Callable[[Wanted], Path]) -> None:
        """Every file into `blobs`: what is there and whole stays, what another cache has is shared, the rest comes."""
        left = [one for one in files if self.blobs.get(one) is None]
        still = [one for one in left if self.blobs.take(cached(one), one) is None]
        self.reused += sum(one.size for one in left) - sum(one.size for one in still)
        if not still:
            return
        total = sum(one.size for one in still)
        if self.line is None:
            raise UsageError(
                f"{len(still)} of the files are not on this machine, {still[0].name} among them",
                fix="run the same command without --offline",
            )
        self.blobs.folder.mkdir(parents=True, exist_ok=True)
        stores.reserve(self.blobs.folder, total - self._begun(still))
        done = 0
        for one in sorted(still, key=lambda file: file.size):  # the small ones first: what is wrong shows early
            transfer.fetch(self.line, url(one), one, self.blobs, self._told(done, total), self.chunk)
            done += one.size
        self.fetched += total

    def _begun(self, files: list[Wanted]) -> int:
        """Bytes of files on their way that are on the disk already."""
        places = [place for one in files for place in one.digest.below(self.blobs.partial).glob("*/data")]
        return sum(place.stat().st_blocks * 512 for place in places)

    def _told(self, before: int, total: int) -> Callable[[str, int], None]:
        whole = -(-total // 2**20)
        return lambda what, here: self.progress(f"MiB, {what}", min((before + here) // 2**20, whole), whole)

    @contextmanager
    def folder(self, name: str, files: Iterable[Wanted]) -> Iterator[Path]:
        """The files under their own names in a folder of this call's own, for the airlock to look at."""
        root = self.store.root / lockfile.FOLDER / "staging" / uuid.uuid4().hex
        (root / name).mkdir(parents=True)
        try:
            for one in files:
                blobs.share(one.digest.below(self.blobs.whole), root / name / one.name)
            yield root / name
        finally:
            shutil.rmtree(root, ignore_errors=True)


def lock_for(ref: Reference, ask: Ask, work: Bytes) -> Lock:
    """The lock to go by: the one that is there, or a new one where the name is new or --update was given.

    Raises `UsageError` where a revision is asked for that is not the locked one, `Refused` where the name now belongs
    to another repository.
    """
    lock = lockfile.read(work.store, str(ref))
    if work.line is None:
        if lock is None:
            raise UsageError(f"{ref.given} has not been pulled", fix="run the same command without --offline")
        return lock
    try:
        listing = api.listing(work.line, ref.name, ask.revision or (lock.revision if lock else "main"))
    except UsageError:
        raise
    except BasewrightError as error:
        if lock is None or not lock.result or ask.revision or ask.update:
            raise
        work.notes.append(f"{error.message}; this is what was pulled on {lock.seen}")
        return lock
    return _decided(ref, lock, listing, ask, work)


def _decided(ref: Reference, lock: Lock | None, listing: api.Listing, ask: Ask, work: Bytes) -> Lock:
    if lock is None:
        return _locked(ref, listing, ask.revision or "main", lockfile.today(), work)
    if lock.owner_id != listing.owner_id:
        raise Refused(
            f"{ref.name} is another repository than the one first seen on {lock.first_seen} under that name",
            fix=f"find out who has the name now; basewright pull {ref.given} --remove forgets the old one",
        )
    if listing.commit == lock.commit:
        return replace(lock, revision=ask.revision or lock.revision)
    new = _locked(ref, listing, ask.revision or lock.revision, lock.first_seen, work)
    change = difference(lock, new)
    if ask.update:
        work.notes.append(f"from commit {lock.commit[:12]} to {new.commit[:12]}: {change}")
        return new
    if ask.revision:
        raise UsageError(
            f"{ref.given} is locked at commit {lock.commit[:12]}, and {ask.revision} is {new.commit[:12]}: {change}",
            fix=f"basewright pull {ref.given} --revision {ask.revision} --update",
        )
    work.notes.append(
        f"stays at commit {lock.commit[:12]}; {lock.revision} is now {new.commit[:12]} ({change}): --update goes there"
    )
    return lock


def _locked(ref: Reference, listing: api.Listing, revision: str, first: str, work: Bytes) -> Lock:
    return Lock(
        ref=str(ref),
        revision=revision,
        commit=listing.commit,
        owner_id=listing.owner_id,
        files=lockfile.locked(chosen(ref, listing)),
        first_seen=first,
        seen=lockfile.today(),
    )


def difference(old: Lock, new: Lock) -> str:
    """Which files differ between two commits."""
    before, after = ({file.name: file.digest for file in lock.files} for lock in (old, new))
    words = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("changed", sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
            ("new", sorted(after.keys() - before.keys())),
            ("gone", sorted(before.keys() - after.keys())),
        )
        if names
    ]
    return "; ".join(words) or "no file of the model differs"


def chosen(ref: Reference, listing: api.Listing) -> tuple[Wanted, ...]:
    """The files of a listing that make up the model, and no others. Raises `ModelFileError`, `UsageError`."""
    known = {file.name: file for file in listing.files}
    names = set(airlock.wanted(known))
    if ref.file:
        offered = airlock.wanted_gguf(known)
        if ref.file not in offered:
            raise UsageError(
                f"{ref.name} has no {ref.file}; {nearest(ref.file, offered)}", fix="name one of its GGUF files"
            )
        names = {ref.file, *(name for name in names if airlock.LICENCE.fullmatch(name))}
    elif not names & {airlock.WEIGHTS, airlock.INDEX}:
        raise _no_weights(ref, list(known))
    for name in names - {ref.file}:
        limit = airlock.LIMITS.get(name, known[name].size if name.endswith(".safetensors") else SMALL)
        if known[name].size > limit:
            raise ModelFileError(
                f"{name} of {ref.name} is larger than {limit / 2**20:.0f} MiB", fix="use another model"
            )
    return tuple(known[name] for name in sorted(names))


def _no_weights(ref: Reference, names: list[str]) -> ModelFileError:
    ggufs = airlock.wanted_gguf(names)
    pickles = sorted(name for name in names if name.lower().endswith(airlock.PICKLES))
    if ggufs:
        return ModelFileError(
            f"{ref.name} holds no safetensors files, but {len(ggufs)} GGUF files",
            fix=f"basewright pull {ref.name}:{ggufs[0]}",
        )
    if pickles:
        return ModelFileError(
            f"{ref.name} holds its weights only as {pickles[0][:80]!r}, which can run code when it is opened",
            fix="look for a revision of it with safetensors files (--revision refs/pr/…), or another repository",
        )
    return ModelFileError(f"{ref.name} holds no safetensors weights there", fix="check the name and the revision")


def bring(ref: Reference, lock: Lock, work: Bytes) -> None:
    """Every file of a locked commit, verified."""
    line = work.line
    work.bring(
        lock.wanted,
        lambda one: api.address(line, ref.name, lock.commit, one.name) if line else "",
        lambda one: elsewhere.hub_cache(ref.name, one),
    )
