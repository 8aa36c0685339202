"""`pull`: from what a person names to a result in the store, whatever it is and wherever it lies.

A model in safetensors becomes `Weights`, one in a single GGUF file `OneFile`; both only through the airlock's readers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from basewright import store as stores
from basewright.catalog import cards
from basewright.errors import ModelFileError, StoreError, UsageError
from basewright.formats.names import check_name
from basewright.hub import airlock, blobs, elsewhere, lockfile, lookalike, reference, remote
from basewright.hub import pull as local
from basewright.hub.digests import Wanted
from basewright.hub.lockfile import Lock
from basewright.hub.reference import HUB, Reference
from basewright.hub.remote import Ask, Bytes
from basewright.records import FileEntry, Made, ModelCard, Weights, record
from basewright.store import Store, Work

GGUF = "gguf"
"""The kind of a model in one file, and its folder in the result."""


@record
class OneFile:
    """A model in one GGUF file, with the licences that came along."""

    ref: str
    revision: str
    """Commit of the repository; empty for a file from elsewhere."""
    file: FileEntry
    licences: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Pulled:
    ref: str
    made: Made[Weights] | Made[OneFile]
    found: bool
    """Whether it was here already, whole."""
    fetched: int
    reused: int
    notes: tuple[str, ...]


def pull(ref: Reference, ask: Ask, work: Bytes) -> Pulled:
    """The model that `ref` names, in the store. Raises the errors of this room, `BasewrightError` for the network."""
    made, found = _WAYS[ref.kind](ref, ask, work)
    return Pulled(ref.given, made, found, work.fetched, work.reused, tuple(work.notes))


def find(what: str, here: Store) -> Path | None:
    """The folder of what was pulled as `what`; None where nothing was. Raises `StoreError` when it is damaged.

    Raises `ModelFileError` for what could be pulled and has not been.
    """
    try:
        ref = reference.parse(what)
    except UsageError:
        return None
    if ref.kind in ("folder", "package"):
        return None
    lock = lockfile.read(here, str(ref))
    if lock is None or not lock.result:
        raise ModelFileError(f"{ref.given} is not on this machine", fix=f"basewright pull {ref.given}")
    folder = here.root / lock.result
    if wrong := stores.faults(folder):
        raise StoreError(f"{ref.given} is damaged: {wrong[0]}", fix=f"basewright pull {ref.given}")
    return folder / (GGUF if folder.name.startswith(f"{GGUF}-") else local.MODEL)


def name_of(folder: Path) -> str:
    """What a pulled model is called, of the folder with its files; empty for another folder."""
    kind = folder.absolute().parent.name.partition("-")[0]
    with suppress(StoreError):
        if folder.name == local.MODEL and kind == "weights":
            return stores.load(folder.absolute().parent, Weights).record.card.id
        if folder.name == GGUF and kind == GGUF:
            return stores.load(folder.absolute().parent, OneFile).record.ref.removeprefix(reference.HUB)
    return ""


def gguf_in(folder: Path) -> Path | None:
    """The one GGUF file in a folder that holds no other model; whoever opens it takes it through the airlock (H010)."""
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1 or (folder / "config.json").exists():
        return None
    return found[0]


# --- a repository ---------------------------------------------------------------------------------


def _hub(ref: Reference, ask: Ask, work: Bytes) -> tuple[Made[Any], bool]:
    old = lockfile.read(work.store, str(ref))
    if old is None and work.line is not None:
        lookalike.refuse(ref.name, ask.revision)
    lock = remote.lock_for(ref, ask, work)
    if (made := _whole(lock, work)) is not None:
        lockfile.write(work.store, lock)
        return made, True
    lockfile.write(work.store, lock)  # before the first byte: a pull that was stopped goes on with the same commit
    remote.bring(ref, lock, work)
    make = _file if ref.file else _weights
    made = make(ref, lock, work)
    lockfile.write(work.store, replace(lock, result=made.id))
    return made, False


def _whole(lock: Lock, work: Bytes) -> Made[Any] | None:
    folder = work.store.root / lock.result
    if not lock.result or stores.faults(folder):
        return None
    with suppress(StoreError):
        return stores.load(folder, OneFile if lock.result.startswith(f"{GGUF}-") else Weights)
    return None


def _weights(ref: Reference, lock: Lock, work: Bytes) -> Made[Weights]:
    with work.folder(check_name(ref.name.partition("/")[2], ref.name), lock.wanted) as folder:
        inputs = local.inputs(card := _card(ref, folder), airlock.inspect(folder), lock.commit)
        made, _ = work.store.make(
            "weights", inputs, Weights, lambda job: local.pull(card, job, folder, lock.commit, linked=True)
        )
    return made


def _card(ref: Reference, folder: Path) -> ModelCard:
    """The curated card of a repository, or what its own files say."""
    for card in cards.find():
        if card.location == HUB + ref.name:
            return card
    return replace(cards.card_from_folder(folder), id=ref.name, location=HUB + ref.name)


# --- one file -------------------------------------------------------------------------------------


def _file(ref: Reference, lock: Lock, work: Bytes) -> Made[OneFile]:
    return _one_file(str(ref), lock.wanted, lock.commit, work)


def _url(ref: Reference, ask: Ask, work: Bytes) -> tuple[Made[OneFile], bool]:
    """The size is asked of the server, and the hash is given: nothing else of what it says is believed."""
    found = lockfile.read(work.store, str(ref))
    return _locked_file(ref, found, lambda: _of_url(ref, work), work, lambda _: ref.name)


def _of_url(ref: Reference, work: Bytes) -> tuple[tuple[Wanted, ...], Callable[[Wanted], Path]]:
    from basewright.hub import transfer

    assert ref.digest is not None
    if work.line is None:
        raise UsageError(f"{ref.given} has not been pulled", fix="run the same command without --offline")
    name = check_name(ref.name.rpartition("/")[2], "the address")
    return (Wanted(name, transfer.size_of(work.line, ref.name, name), ref.digest),), lambda _: Path()


def _local_file(ref: Reference, ask: Ask, work: Bytes) -> tuple[Made[OneFile], bool]:
    assert ref.digest is not None
    path, digest = Path(ref.name), ref.digest

    def files() -> tuple[tuple[Wanted, ...], Callable[[Wanted], Path]]:
        if not path.is_file():
            raise ModelFileError(f"there is no file {path.name}", fix="correct the path")
        wanted = Wanted(check_name(path.name, "the address"), path.stat().st_size, digest)
        if not digest.matches(path, wanted.size):
            raise ModelFileError(f"{path.name} is not the file that its hash names", fix="get the file again")
        return (wanted,), lambda _: path

    return _locked_file(ref, lockfile.read(work.store, str(ref)), files, work)


def _ollama(ref: Reference, ask: Ask, work: Bytes) -> tuple[Made[OneFile], bool]:
    def files() -> tuple[tuple[Wanted, ...], Callable[[Wanted], Path]]:
        folder, wanted = elsewhere.ollama(ref.name)
        for one in wanted:
            if not one.digest.matches(one.digest.below(folder), one.size):
                raise ModelFileError(
                    f"{one.name} in Ollama's store is damaged or not there", fix=f"ollama pull {ref.name}"
                )
        return tuple(wanted), lambda one: one.digest.below(folder)

    lock = lockfile.read(work.store, str(ref))
    now, there = files() if lock is None or ask.update or _whole(lock, work) is None else (lock.wanted, None)
    if lock and not ask.update and now != lock.wanted:
        raise UsageError(
            f"{ref.given} is another model than on {lock.seen}", fix=f"basewright pull {ref.given} --update"
        )
    return _locked_file(ref, None if ask.update else lock, lambda: (now, there or (lambda _: Path())), work)


def _locked_file(
    ref: Reference,
    lock: Lock | None,
    files: Callable[[], tuple[tuple[Wanted, ...], Callable[[Wanted], Path]]],
    work: Bytes,
    url: Callable[[Wanted], str] = lambda _: "",
) -> tuple[Made[OneFile], bool]:
    """A file whose hash is known beforehand: found whole, or brought from where `files` says it lies."""
    if lock and (made := _whole(lock, work)) is not None:
        return made, True
    wanted, there = files()
    day = lockfile.today()
    lock = Lock(
        ref=str(ref),
        revision="",
        commit="",
        owner_id="",
        files=lockfile.locked(wanted),
        first_seen=lock.first_seen if lock else day,
        seen=day,
    )
    lockfile.write(work.store, lock)
    work.bring(wanted, url, there)
    made = _one_file(str(ref), wanted, "", work)
    lockfile.write(work.store, replace(lock, result=made.id))
    return made, False


def _one_file(ref: str, wanted: tuple[Wanted, ...], revision: str, work: Bytes) -> Made[OneFile]:
    """A GGUF file that our own reader has read whole, before any library opens it (H010)."""
    with work.folder(GGUF, wanted) as folder:
        model = next(one for one in wanted if one.name.lower().endswith(".gguf"))
        airlock.inspect_gguf(folder / model.name)
        entries = stores.entries(folder)

        def made(job: Work) -> OneFile:
            (job.out / GGUF).mkdir()
            for entry in entries:
                blobs.share(folder / entry.name, job.out / GGUF / entry.name)
            if tuple(stores.entries(job.out / GGUF)) != entries:
                raise ModelFileError(f"{model.name} changed while it was linked", fix="run the same command again")
            main = next(entry for entry in entries if entry.name == model.name)
            return OneFile(
                ref=ref, revision=revision, file=main, licences=tuple(one for one in entries if one is not main)
            )

        return work.store.make(GGUF, {"ref": ref, "revision": revision, "files": entries}, OneFile, made)[0]


# --- what is on this machine ----------------------------------------------------------------------


def _folder(ref: Reference, ask: Ask, work: Bytes) -> tuple[Made[Weights], bool]:
    return _here(cards.get(str(Path(ref.name).expanduser().absolute())), work)


def _package(ref: Reference, ask: Ask, work: Bytes) -> tuple[Made[Weights], bool]:
    return _here(cards.get(ref.name), work)


def _here(card: ModelCard, work: Bytes) -> tuple[Made[Weights], bool]:
    files = airlock.inspect(local.locate(card))
    return work.store.make("weights", local.inputs(card, files), Weights, lambda job: local.pull(card, job))


_WAYS: dict[str, Callable[[Reference, Ask, Bytes], tuple[Made[Any], bool]]] = {
    "hub": _hub,
    "package": _package,
    "folder": _folder,
    "url": _url,
    "file": _local_file,
    "ollama": _ollama,
}
