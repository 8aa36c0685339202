"""The base an adapter belongs to: the very files it was trained on, known by their commit, or one line why not.

What an adapter says of its base is compared with what is here, and never followed as a path or a download.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from basewright.errors import ModelFileError
from basewright.formats import strict
from basewright.hub.adapter import CONFIG
from basewright.hub.reference import REPO
from basewright.records import Weights
from basewright.store import Store, digest, faults, load

INNER = "adapter"
SHOWN = 12
"""Digits of a commit in a message."""


class Base(NamedTuple):
    folder: Path
    commit: str


def adapter_in(path: Path) -> Path | None:
    """The adapter's own folder: `path`, or the one below it; None where neither holds one."""
    return next((each for each in (path / INNER, path) if (each / CONFIG).is_file()), None)


def alone(path: Path) -> bool:
    """Whether `path` holds an adapter and no model that it was merged into."""
    return adapter_in(path) is not None and not (path / "model").is_dir()


def of_adapter(adapter: Path, stores: Sequence[Store]) -> Base:
    """Raises `ModelFileError` for an adapter that names no base, or one that is not here, or not in those bytes."""
    config = strict.parse_object(strict.read(adapter / CONFIG, 2**20), CONFIG)
    name, commit = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not isinstance(commit, str) or len(commit) != 64:
        raise ModelFileError(
            f"the adapter does not say which weights it was trained on: {CONFIG} has no base with a commit",
            fix="use an adapter of basewright tune, or put this one on its base with peft",
            code="missing",
            file=CONFIG,
        )
    others = []
    for found in _named(name, commit, stores):
        if found.commit == commit:
            return found
        others.append(found.commit)
    if others:
        raise ModelFileError(
            f"the adapter was trained on {name} {commit[:SHOWN]}; the {name} here is {others[0][:SHOWN]}",
            fix="get the files it was trained on, or tune again on these",
            code="mismatch",
            file=CONFIG,
        )
    raise ModelFileError(
        f"the adapter's base, {name} {commit[:SHOWN]}, is not here",
        fix=f"basewright pull {name}" if REPO.fullmatch(name) else "give --runs the folder it was tuned in",
        code="missing",
        file=CONFIG,
    )


def _named(name: str, commit: str, stores: Sequence[Store]) -> Iterator[Base]:
    """Every model here that may be the base: in the stores those of its commit first, then one of the catalog."""
    for store in stores:
        kept = [store.root / stamp.id for stamp in store.all() if stamp.kind == "weights"]
        found = [(load(folder, Weights).record, folder) for folder in kept]
        for record, folder in sorted(found, key=lambda one: one[0].commit != commit):
            if commit == record.commit and not faults(folder):
                yield Base(folder / "model", commit)
            elif record.card.id == name:
                yield Base(folder / "model", record.commit)
    yield from _of_catalog(name, stores)


def _of_catalog(name: str, stores: Sequence[Store]) -> Iterator[Base]:
    from basewright.catalog import cards
    from basewright.hub import airlock, pull

    for card in cards.find():
        if card.id == name and stores and pull.is_here(card, stores[0]):
            folder = pull.locate(card, stores[0])
            yield Base(folder, digest([[entry.name, entry.sha256] for entry in airlock.inspect(folder)]))
