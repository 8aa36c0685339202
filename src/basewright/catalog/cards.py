"""Find a model's card: the curated ones by name, any other model by its folder."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from basewright.catalog.shape import card_from_folder
from basewright.errors import UsageError, nearest
from basewright.plain import from_plain
from basewright.records import ModelCard


def find() -> list[ModelCard]:
    """Every curated card, in order of name. The facts are in `catalog/data`, one file a family."""
    cards = []
    for path in files("basewright.catalog").joinpath("data").iterdir():
        if path.name.endswith(".toml"):
            for stanza in tomllib.loads(path.read_text("utf-8"))["model"]:
                cards.append(from_plain(ModelCard, {**stanza, "curated": True}))
    return sorted(cards, key=lambda card: card.id)


def get(name: str, *, folder: Path | None = None) -> ModelCard:
    """The card of a curated model, or of a model's folder, which a relative path names from `folder`.

    Raises `UsageError` for a name that is neither, `ModelFileError` for a folder that holds no supported model.
    """
    known = {card.id: card for card in find()}
    if name in known:
        return known[name]
    path = (folder or Path()) / Path(name).expanduser()
    if path.is_dir():
        return card_from_folder(path)
    if "/" in name:
        raise UsageError(f"there is no folder {name!r}", fix="correct the path, or name a model of the catalog")
    raise UsageError(
        f"no model is called {name!r}; {nearest(name, known)}", fix="use a known name, or a model's folder"
    )
