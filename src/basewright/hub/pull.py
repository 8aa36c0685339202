"""Bring a model through the airlock into a run folder, and find it again. Nothing here downloads."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from basewright import signals, store
from basewright.catalog import architectures
from basewright.catalog import config as configs
from basewright.errors import ModelFileError, StoreError
from basewright.formats import strict
from basewright.formats.names import check_name
from basewright.formats.safetensors import Tensor, read_header
from basewright.hub import airlock, lockfile, rows
from basewright.hub.blobs import share
from basewright.hub.reference import HUB, PACKAGE, REPO
from basewright.records import FileEntry, Made, ModelCard, Weights
from basewright.store import Store

MODEL = "model"
BLOCK = 2**20
PRECISIONS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def pull(
    card: ModelCard, work: store.Work, source: Path | None = None, revision: str = "", linked: bool = False
) -> Weights:
    """Copy the model's files into `work.out/model`, checked and hashed, and say what was found in them.

    `source` is where they lie, if not where the card says; `linked` files get a second name instead of a copy. Raises
    `ModelFileError` for a model that fails the airlock, changes meanwhile or has another shape than its card,
    `StoreError` when the disk is too small. The record names a local model's place as `model`, in its own folder, never
    as a path of this machine.
    """
    source = source or locate(card)
    entries = airlock.inspect(source)
    if not linked:
        store.reserve(work.out, sum(entry.size for entry in entries))
    target = work.out / MODEL
    target.mkdir()
    for entry in entries:
        (_link if linked else _copy)(source / entry.name, target / entry.name, entry)
    config = configs.read(target)
    _check_card(card, config)
    tensors = {name: (path, tensor) for path in target.glob("*.safetensors") for name, tensor in _header(path).items()}
    table = architectures.embedding(config, tensors)
    return Weights(
        card=card if card.location.startswith((PACKAGE, HUB)) else replace(card, location=MODEL),
        commit=store.digest([[entry.name, entry.sha256] for entry in entries]),
        files=entries,
        precision=_precision([tensor for _, tensor in tensors.values()]),
        untrained_rows=rows.untrained(*tensors[table]) if table else 0,
        revision=revision,
    )


def request(card: ModelCard, here: Store) -> tuple[dict[str, Any], Callable[[store.Work], Weights]]:
    """What the weights of a model that is here are cached by, and their maker: for `Store.make`. Raises as `pull`."""
    source, commit = locate(card, here), revision(card, here)
    return inputs(card, airlock.inspect(source), commit), lambda work: pull(card, work, source, commit)


def inputs(card: ModelCard, files: tuple[FileEntry, ...], revision: str = "") -> dict[str, Any]:
    """What a pull is cached by. Where the files lay does not matter."""
    return {"card": replace(card, location=""), "files": files} | ({"revision": revision} if revision else {})


def pulled(name: str, here: Store) -> Made[Weights] | None:
    """What `basewright pull` made of a repository; None where it has not been pulled.

    Its record is read, its files are not hashed: `locate` does that. Raises `StoreError` for a damaged record.
    """
    lock = lockfile.read(here, HUB + name) if REPO.fullmatch(name) else None
    if lock is None or not lock.result:
        return None
    return store.load(here.root / lock.result, Weights)


def card_of(name: str, here: Store) -> ModelCard | None:
    """The card of a repository that was pulled and is not in the catalog."""
    made = pulled(name.removeprefix(HUB), here)
    return made.record.card if made and not made.record.card.curated else None


def revision(card: ModelCard, here: Store) -> str:
    """The commit that a pulled model's files are of; empty for another model."""
    made = pulled(card.location.removeprefix(HUB), here) if card.location.startswith(HUB) else None
    return made.record.revision if made else ""


def is_here(card: ModelCard, here: Store) -> bool:
    """Whether a model of the package or of a hub is on this machine. Raises `StoreError` when it is damaged."""
    name = card.location.removeprefix(HUB)
    return card.location.startswith(PACKAGE) or (card.location.startswith(HUB) and pulled(name, here) is not None)


def locate(card: ModelCard, here: Store | None = None) -> Path:
    """The folder a card's location names; nothing is downloaded. Raises `ModelFileError` when it is not there."""
    if card.location.startswith(HUB):
        return _of_hub(card, here)
    if not card.location.startswith(PACKAGE):
        folder, fix = Path(card.location), "correct the path of the model"
    else:
        name = check_name(card.location.removeprefix(PACKAGE), card.id)
        folder = Path(str(files("basewright"))) / "foundlings" / name
        fix = "install basewright again, with its foundlings"
    if not folder.is_dir():
        raise ModelFileError(f"the files of {card.id} are not there", fix=fix)
    return folder


def _of_hub(card: ModelCard, here: Store | None) -> Path:
    name = card.location.removeprefix(HUB)
    made = pulled(name, here) if here else None
    if made is None:
        raise ModelFileError(f"the files of {card.id} are not on this machine", fix=f"basewright pull {name}")
    if wrong := store.faults(made.folder):
        raise StoreError(f"{name} is damaged: {wrong[0]}", fix=f"basewright pull {name}")
    return made.folder / MODEL


def _link(source: Path, target: Path, entry: FileEntry) -> None:
    """A second name for a verified file, hashed again under it (H038)."""
    share(source, target)
    if store.sha256_of(target) != entry.sha256:
        target.unlink()
        raise ModelFileError(f"{entry.name} changed while it was linked", fix="run the same command again")


def _copy(source: Path, target: Path, entry: FileEntry) -> None:
    """Copy while hashing: bytes other than those the airlock saw are never kept (H038)."""
    digest = hashlib.sha256()
    with strict.open_file(source) as reader, target.open("xb") as writer:
        while block := reader.read(BLOCK):
            signals.poll()
            digest.update(block)
            writer.write(block)
    if digest.hexdigest() != entry.sha256:
        target.unlink()
        raise ModelFileError(f"{entry.name} changed while it was copied", fix="run the same command again")


def _check_card(card: ModelCard, config: dict[str, Any]) -> None:
    """A window is no part of the tensors, and a curated card may not know it."""
    found, told = (replace(shape, window=None, windowed=0) for shape in (architectures.shape_of(config), card.shape))
    if found != told:
        raise ModelFileError(
            f"the files of {card.id} have another shape than its card: {found}", fix="use the model that the card is of"
        )


def _header(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        return read_header(file, path.stat().st_size, path.name)


def _precision(tensors: list[Tensor]) -> str:
    """The type that most values are stored in."""
    values = Counter[str]()
    for tensor in tensors:
        if tensor.dtype in PRECISIONS:
            values[PRECISIONS[tensor.dtype]] += tensor.size
    return values.most_common(1)[0][0]
