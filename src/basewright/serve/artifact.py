"""From a name or a folder to an engine that answers: a release, what a tuning made, a model's folder, one of the
catalog or pulled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from basewright.engine.lm import LM
from basewright.errors import ModelFileError, StoreError, UsageError, nearest
from basewright.hub.adapter import CONFIG
from basewright.plain import from_plain
from basewright.records import Adapter, Checkpoint, Layout, Release
from basewright.serve import bases
from basewright.store import MANIFEST, RECORD, Store, digest, faults, load, read_json

if TYPE_CHECKING:
    from basewright.text.chat import Chat

Engine = Literal["torch", "llama_cpp", "vllm"]
FACTS = "basewright.json"
"""What a release or a tuned model says of itself; written by the room `release`."""
TUNED = ("tuned", "adapter", "checkpoint")
"""Kinds of results that are a model to be asked."""


def find(what: str, store: Store) -> Path:
    """The folder of a model: `what` is its path, the id of a tuning's result, the name of a release (the newest is
    taken), a curated model's id, or what was given to `basewright pull`.

    Nothing is downloaded. Raises `UsageError` when it is none of them, `ModelFileError` when it has yet to be pulled.
    """
    from basewright.catalog import cards
    from basewright.hub import pull, pulling

    path = Path(what).expanduser()
    if _is_release(path) or (path / "config.json").is_file() or bases.adapter_in(path):
        return path
    if what.startswith(tuple(f"{kind}-" for kind in TUNED)) and (store.root / what / RECORD).is_file():
        return store.root / what
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
            f"{path} holds neither a release nor a model",
            fix="give the folder that has config.json or adapter_config.json in it",
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


def open_artifact(
    path: Path, engine: Engine = "torch", precision: str = "float32", store: Store | None = None
) -> Opened:
    """The engine over a release, an adapter or a model's folder, after every file has been checked.

    The base of an adapter is looked for in `store`, beside the adapter, and in the catalog. Raises `StoreError` for a
    damaged folder, `ModelFileError` for files that do not pass the airlock or a base that is not here, `UsageError` for
    an encoder and for an engine that cannot run the model.
    """
    from basewright.catalog.folder import require_decoder
    from basewright.hub import airlock, pulling

    if (path / MANIFEST).is_file() and (wrong := faults(path)):
        raise StoreError(f"{path.name} is damaged: {wrong[0]}", fix="make it again with basewright build")
    if not _is_release(path) and (adapter := bases.adapter_in(path)):
        return _adapted(path, adapter, engine, precision, store)
    model = path / "model" if _is_release(path) else path
    name = str(_facts(path)["name"]) if _is_release(path) else pulling.name_of(path) or path.absolute().name
    if not _is_release(path) and (gguf := pulling.gguf_in(path)):
        from basewright.engine import llama_cpp_lm

        checked, _ = airlock.inspect_gguf(gguf)
        hashed = digest([[checked.name, checked.sha256]])
        return Opened(llama_cpp_lm.open_lm(gguf, gguf, name), name, hashed)
    if _has_head(model):
        raise _classifies(path)
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


def _adapted(path: Path, adapter: Path, engine: Engine, precision: str, store: Store | None) -> Opened:
    from basewright.engine import torch_lm
    from basewright.hub import airlock

    if engine != "torch":
        raise UsageError(
            f"an adapter is not run by {engine}", fix="--engine torch, or basewright tune --export and its folder"
        )
    files = airlock.inspect_adapter(adapter)
    if read_json(adapter / CONFIG).get("task_type") == "SEQ_CLS":
        raise _classifies(path)
    places = [each for each in (store, Store(path.absolute().parent)) if each is not None]
    base = bases.of_adapter(adapter, places)
    name = path.absolute().name
    weights = digest([base.commit, *([entry.name, entry.sha256] for entry in files)])
    return Opened(torch_lm.open_tuned(base.folder, adapter, name, precision), name, weights)


def layout(path: Path) -> Layout | None:
    """How the prompts looked that a model was tuned on; None for a model that does not say."""
    beside = bases.adapter_in(path) if bases.alone(path) else path
    if beside is None or not (beside / FACTS).is_file():
        return _of_record(path)
    try:
        found: Layout = from_plain(Layout, _facts(beside)["layout"])
    except (KeyError, TypeError) as error:
        raise _unreadable(path) from error
    return found


def chat(lm: LM, learned: Layout | None) -> Chat | None:
    """What writes conversations for a model that was tuned with a chat template; None for any other."""
    from basewright.text import chat as chats

    return None if learned is None or learned.chat is None else chats.open_chat(learned.chat, lm.tokenizer, lm.name)


def _has_head(model: Path) -> bool:
    """Asked before the airlock, which would only say that this is another architecture; a config that cannot be read
    is for the airlock to name."""
    try:
        config = read_json(model / "config.json")
    except StoreError:
        return False
    named = config.get("architectures") if isinstance(config, dict) else None
    return isinstance(named, list) and any(str(one).endswith("ForSequenceClassification") for one in named)


def _classifies(path: Path) -> UsageError:
    return UsageError(f"{path.name} has a classification head and writes nothing", fix="basewright classify")


def _of_record(path: Path) -> Layout | None:
    """Of a tuning's result that has no folder of its own yet."""
    if not path.name.startswith(TUNED) or not (path / RECORD).is_file():
        return None
    if bases.adapter_in(path):
        return load(path, Adapter).record.layout
    tuning = load(path, Checkpoint).record.tuning
    return tuning.layout if tuning else None


def _is_release(path: Path) -> bool:
    """A release has its model in a folder below; what a tuning made says as much of itself, beside its own files."""
    return (path / FACTS).is_file() and not (path / "config.json").is_file() and not bases.alone(path)


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
