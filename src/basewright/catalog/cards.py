"""Find a model's card: the curated ones by name, any other model by its folder."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from basewright.catalog.shape import card_from_folder, parameters_from_shape, shape_of
from basewright.errors import UsageError, nearest
from basewright.plain import from_plain
from basewright.records import ModelCard, ModelFacts


def facts() -> list[ModelFacts]:
    """All that is known of curated models, in order of name. It is in `catalog/data`, one file a family."""
    found = []
    for path in files("basewright.catalog").joinpath("data").iterdir():
        if path.name.endswith(".toml"):
            found += [from_plain(ModelFacts, one) for one in tomllib.loads(path.read_text("utf-8"))["model"]]
    return sorted(found, key=lambda one: one.id)


def find() -> list[ModelCard]:
    """The card of every curated model whose tensors are known, in order of name."""
    return [card(one) for one in facts() if one.config.get("model_type") == "llama"]


def card(known: ModelFacts) -> ModelCard:
    """What planning and running need, from what is known of a model."""
    shape = shape_of(known.config)
    return ModelCard(
        id=known.id,
        family=known.family,
        kind=known.kind,
        nature=known.nature,
        location=known.location,
        licence=known.licence,
        parameters=parameters_from_shape(shape),
        active_parameters=parameters_from_shape(shape),
        shape=shape,
        config=known.config,
        precision=known.precision or "bfloat16",
        context=known.context or known.config["max_position_embeddings"],
        languages=known.languages,
        tokens_seen=known.tokens_seen,
        sources=known.sources,
        curated=True,
    )


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
