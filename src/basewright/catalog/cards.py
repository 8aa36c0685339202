"""Find a model's card: a curated one by its name or repository, any other by its folder or its config."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import tomli

from basewright.catalog import architectures
from basewright.catalog.folder import licence, nature, read_config
from basewright.errors import ModelFileError, UsageError, nearest
from basewright.plain import from_plain
from basewright.records import ModelCard, ModelFacts, Source

HUB = "hub:"
UNLIMITED = 2**24
"""The context of a model whose config sets no limit, as one that keeps a state."""


def facts() -> list[ModelFacts]:
    """All that is known of curated models, in order of name. It is in `catalog/data`, one file a family."""
    return list(_facts())


def find() -> list[ModelCard]:
    """The card of every curated model whose tensors are known, in order of name."""
    return [card(one) for one in _facts() if counted(one)]


def counted(known: ModelFacts) -> bool:
    """Whether its tensors are known, so that it can have a card."""
    return known.config.get("model_type") in architectures.FAMILIES


def card(known: ModelFacts, *, curated: bool = True) -> ModelCard:
    """What planning and running need, from what is known of a model. Raises `ModelFileError` without its config."""
    sums = architectures.count(known.config)
    return ModelCard(
        id=known.id,
        family=known.family,
        kind=known.kind,
        nature=known.nature,
        location=known.location,
        licence=known.licence,
        parameters=sums.parameters,
        active_parameters=sums.active_parameters,
        shape=sums.shape,
        config=known.config,
        precision=known.precision or "float32",
        context=known.context or sums.context or UNLIMITED,
        languages=known.languages,
        tokens_seen=known.tokens_seen,
        sources=known.sources,
        curated=curated,
    )


def get(name: str, *, folder: Path | None = None) -> ModelCard:
    """The card of a curated model, named by its id or as OWNER/NAME, or of a model's folder.

    A relative path starts from `folder`. Raises `UsageError` for a name that is none of them, `ModelFileError` for a
    folder that holds no model of a known family.
    """
    found = named(name.removeprefix(HUB))
    if found and found.id == name.lower():
        return _known(found)
    path = (folder or Path()) / Path(name).expanduser()
    if path.is_dir():
        return card_from_folder(path)
    if found:
        return _known(found)
    if "/" in name:
        raise UsageError(
            f"there is no folder {name!r}, and no such repository in the catalog",
            fix="correct the path, or name a model of the catalog",
        )
    ids = [one.id for one in _facts()]
    raise UsageError(f"no model is called {name!r}; {nearest(name, ids)}", fix="use a known name, or a model's folder")


def named(name: str) -> ModelFacts | None:
    """The curated model with that id or repository, in any case; None where there is none.

    Only files that spell it are parsed, as that is most of the time it takes.
    """
    wanted = name.lower()
    for file, text in _texts():
        if wanted in text.lower():
            for one in _parsed(file):
                if wanted in (one.id, one.location.partition(":")[2].lower()):
                    return one
    return None


def card_from_folder(folder: Path) -> ModelCard:
    """What a folder's own files say about its model. Raises `ModelFileError`."""
    return card(facts_from_folder(folder), curated=False)


def facts_from_folder(folder: Path) -> ModelFacts:
    """What a folder's own files say about its model. Raises `ModelFileError`.

    The licence is the one its README's front matter names. A chat template is taken as the sign of an instruct
    model; nothing is concluded from names.
    """
    known = facts_from_config(read_config(folder), folder.resolve().name)
    return replace(known, nature=nature(folder), location=str(folder), licence=licence(folder))


def facts_from_config(config: dict[str, Any], name: str, *, sources: tuple[Source, ...] = ()) -> ModelFacts:
    """What a config.json says of a model that is not curated, a repository of the hub. Its licence stays unknown.

    It is called a base model, as nothing in a config says otherwise; its tokenizer may. Raises `ModelFileError` for
    a family that is not known.
    """
    precision = config.get("dtype") or config.get("torch_dtype")
    return ModelFacts(
        id=name,
        family=config["model_type"],
        kind=architectures.family_of(config).kind,
        nature="base",
        location=f"{HUB}{name}",
        licence="unknown",
        sources=sources,
        config=architectures.decisive(config),
        precision=precision if isinstance(precision, str) else None,
        context=architectures.context_of(config),
    )


def _known(one: ModelFacts) -> ModelCard:
    if not counted(one):
        raise UsageError(
            f"of {one.id} only facts are known, not its tensors: it cannot be planned or run here",
            fix="name another model; basewright catalog lists them",
        )
    return card(one)


@cache
def _facts() -> tuple[ModelFacts, ...]:
    return tuple(sorted((one for file, _ in _texts() for one in _parsed(file)), key=lambda one: one.id))


@cache
def _texts() -> tuple[tuple[str, str], ...]:
    """(name, content) of every file of facts."""
    there = (Path(__file__).parent / "data").iterdir()
    return tuple((path.name, path.read_text("utf-8")) for path in there if path.name.endswith(".toml"))


@cache
def _parsed(file: str) -> tuple[ModelFacts, ...]:
    return tuple(parse(file, dict(_texts())[file]))


def parse(name: str, text: str) -> list[ModelFacts]:
    """The models of a file of facts. Raises `ModelFileError` that says which of them has which mistake."""
    try:
        stanzas = tomli.loads(text)["model"]
    except (tomli.TOMLDecodeError, KeyError) as error:
        raise _mistake(name, f"holds no models: {error}") from error
    found = []
    for stanza in stanzas:
        try:
            found.append(from_plain(ModelFacts, stanza))
        except (TypeError, KeyError, ValueError) as error:
            key = _wrong_key(stanza)
            raise _mistake(name, f"{stanza.get('id', 'a model without id')}: {key}{error}") from error
    return found


def _wrong_key(stanza: dict[str, Any]) -> str:
    """The key whose value has another form than its field, as far as it is one key's fault."""
    kinds = get_type_hints(ModelFacts)
    for key in stanza.keys() & kinds.keys():
        try:
            from_plain(kinds[key], stanza[key])
        except (TypeError, KeyError, ValueError):
            return f"{key}: "
    return ""


def _mistake(name: str, what: str) -> ModelFileError:
    return ModelFileError(f"catalog/data/{name}: {what}", fix="correct that file", code="malformed", file=name)
