"""From a name or a folder to an engine that answers: a release, a model's folder, one of the catalog or pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from basewright.engine.lm import LM
from basewright.errors import ModelFileError, StoreError, UsageError, nearest
from basewright.plain import from_plain
from basewright.records import Layout, Release
from basewright.store import MANIFEST, Store, digest, faults, load, read_json

Engine = Literal["torch", "llama_cpp", "vllm"]
FACTS = "basewright.json"
"""What a release says of itself; written by the room `release`."""


def find(what: str, store: Store) -> Path:
    """The folder of a model: `what` is its path, the name of a release (the newest is taken), a curated model's id, or
    what was given to `basewright pull`.

    Nothing is downloaded. Raises `UsageError` when it is none of them, `ModelFileError` when it has yet to be pulled.
    """
    from basewright.catalog import cards
    from basewright.hub import pull, pulling

    path = Path(what).expanduser()
    if _is_release(path) or (path / "config.json").is_file():
        return path
    releases = _releases(store)
    if what in releases:
        return releases[what]
    curated = {card.id: card for card in cards.find()}
    if what in curated:
        return pull.locate(curated[what], store)
    if (folder := pulling.find(what, store)) is not None:
        return folder
    if path.is_dir():
        raise UsageError(
            f"{path} holds neither a release nor a model", fix="give the folder that has config.json in it"
        )
    raise UsageError(
        f"no model is called {what!r}; {nearest(what, [*releases, *curated])}",
        fix="basewright runs lists what has been made; a model's folder can be given too",
    )


class Opened(NamedTuple):
    lm: LM
    name: str
    weights: str
    """Hash over the names and hashes of all files that make up the model (`Weights.commit` of a plain folder)."""


def open_artifact(path: Path, engine: Engine = "torch", precision: str = "float32") -> Opened:
    """The engine over a release or a model's folder, after every file has been checked.

    Raises `StoreError` for a damaged folder, `ModelFileError` for files that do not pass the airlock, `UsageError`
    for an encoder and for an engine that cannot run the model.
    """
    from basewright.catalog.folder import require_decoder
    from basewright.hub import airlock, pulling

    if (path / MANIFEST).is_file() and (wrong := faults(path)):
        raise StoreError(f"{path.name} is damaged: {wrong[0]}", fix="make it again with basewright build")
    model = path / "model" if _is_release(path) else path
    name = str(_facts(path)["name"]) if _is_release(path) else pulling.name_of(path) or path.absolute().name
    if not _is_release(path) and (gguf := pulling.gguf_in(path)):
        from basewright.engine import llama_cpp_lm

        checked, _ = airlock.inspect_gguf(gguf)
        hashed = digest([[checked.name, checked.sha256]])
        return Opened(llama_cpp_lm.open_lm(gguf, gguf, name), name, hashed)
    hashes = [[entry.name, entry.sha256] for entry in airlock.inspect(model)]
    require_decoder(model)
    if engine == "llama_cpp":
        from basewright.engine import llama_cpp_lm

        gguf = _gguf(path)
        checked, _ = airlock.inspect_gguf(gguf)  # only what was checked reaches native code (H010)
        return Opened(llama_cpp_lm.open_lm(gguf, model, name), name, digest([*hashes, [checked.name, checked.sha256]]))
    if engine == "vllm":
        from basewright.engine import vllm_lm

        return Opened(vllm_lm.open_lm(model, name, precision), name, digest(hashes))
    from basewright.engine import torch_lm

    return Opened(torch_lm.open_lm(model, name, precision), name, digest(hashes))


def layout(path: Path) -> Layout | None:
    """How the prompts looked that a release was tuned on; None for a model that is no release."""
    if not _is_release(path):
        return None
    try:
        found: Layout = from_plain(Layout, _facts(path)["layout"])
    except (KeyError, TypeError) as error:
        raise _unreadable(path) from error
    return found


def _is_release(path: Path) -> bool:
    return (path / FACTS).is_file()


def _facts(path: Path) -> dict[str, Any]:
    facts = read_json(path / FACTS)
    if not isinstance(facts, dict) or not isinstance(facts.get("name"), str):
        raise _unreadable(path)
    return facts


def _unreadable(path: Path) -> ModelFileError:
    return ModelFileError(f"{FACTS} in {path.name} cannot be read", fix="make the release again with basewright build")


def _gguf(path: Path) -> Path:
    best = str(_facts(path).get("best", "")) if _is_release(path) else ""
    found = path / best
    if found.suffix != ".gguf" or found.parent != path / "gguf" or not found.is_file():
        raise UsageError(f"{path.name} holds no GGUF file for llama.cpp", fix="use --engine torch")
    return found


def _releases(store: Store) -> dict[str, Path]:
    """The newest release of each name."""
    found: dict[str, Path] = {}
    for stamp in store.all():
        if stamp.kind == "release":
            folder = store.root / stamp.id
            found.setdefault(load(folder, Release).record.name, folder)
    return found
