"""Bring a model through the airlock into a run folder: shipped with the package, or in a local folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from basewright import signals, store
from basewright.catalog import config as configs
from basewright.catalog import shape as shapes
from basewright.errors import ModelFileError
from basewright.formats import strict
from basewright.formats.names import check_name
from basewright.formats.safetensors import Tensor, read_header
from basewright.hub import airlock, rows
from basewright.records import FileEntry, ModelCard, Weights

PACKAGE = "package:"
MODEL = "model"
BLOCK = 2**20
PRECISIONS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def pull(card: ModelCard, work: store.Work) -> Weights:
    """Copy the model's files into `work.out/model`, checked and hashed, and say what was found in them.

    Raises `ModelFileError` for a model that fails the airlock, changes meanwhile or has another shape than its
    card, `StoreError` when the disk is too small. The record names a local model's place as `model`, in its own
    folder, never as a path of this machine.
    """
    source = locate(card)
    entries = airlock.inspect(source)
    store.reserve(work.out, sum(entry.size for entry in entries))
    target = work.out / MODEL
    target.mkdir()
    for entry in entries:
        _copy(source / entry.name, target / entry.name, entry)
    _check_card(card, target)
    tensors = {name: (path, tensor) for path in target.glob("*.safetensors") for name, tensor in _header(path).items()}
    return Weights(
        card=card if card.location.startswith(PACKAGE) else replace(card, location=MODEL),
        commit=store.digest([[entry.name, entry.sha256] for entry in entries]),
        files=entries,
        precision=_precision([tensor for _, tensor in tensors.values()]),
        untrained_rows=rows.untrained(*tensors[shapes.EMBEDDING]),
    )


def locate(card: ModelCard) -> Path:
    """The folder a card's location names. Raises `ModelFileError` when it is not there."""
    if not card.location.startswith(PACKAGE):
        folder, fix = Path(card.location), "correct the path of the model"
    else:
        name = check_name(card.location.removeprefix(PACKAGE), card.id)
        folder = Path(str(files("basewright"))) / "foundlings" / name
        fix = "install basewright again, with its foundlings"
    if not folder.is_dir():
        raise ModelFileError(f"the files of {card.id} are not there", fix=fix)
    return folder


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


def _check_card(card: ModelCard, folder: Path) -> None:
    found = shapes.shape_of(configs.read(folder))
    if found != card.shape:
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
