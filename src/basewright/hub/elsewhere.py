"""Files that other programs keep on this machine: the hub's cache, Ollama's store. Read, never written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from basewright.errors import ModelFileError, UsageError
from basewright.formats import strict
from basewright.hub.digests import Digest, Wanted

MODEL, LICENCE = "application/vnd.ollama.image.model", "application/vnd.ollama.image.license"
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_MANIFEST = 2**20
MAX_LICENCE = 2**20


def hub_cache(repo: str, wanted: Wanted) -> Path:
    """Where huggingface_hub keeps this file, if it has it: its blobs are called by their hashes."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    return cache / f"models--{repo.replace('/', '--')}" / "blobs" / wanted.digest.hex


def ollama(name: str) -> tuple[Path, list[Wanted]]:
    """The folder of Ollama's blobs, and the files of one model there: the GGUF file, then its licences.

    Raises `UsageError` for a name that is not there, `ModelFileError` for a manifest that is none.
    """
    store = Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models").expanduser()
    path = _manifest(store, name)
    if not path.is_file():
        raise UsageError(f"Ollama's store holds no {name}", fix="ollama list shows what is there; OLLAMA_MODELS where")
    layers = strict.parse_object(strict.read(path, MAX_MANIFEST), path.name).get("layers")
    found = [_layer(layer, path.name) for layer in layers] if isinstance(layers, list) else []
    models = [one for kind, one in found if kind == MODEL]
    if len(models) != 1:
        raise ModelFileError(f"{name} in Ollama's store has {len(models)} model files, not one", fix="pull another one")
    stem = re.sub("[/:]", "-", name)
    licences = [one for kind, one in found if kind == LICENCE and one.size <= MAX_LICENCE]
    named = [Wanted(f"{stem}.gguf", models[0].size, models[0].digest)]
    named += [Wanted(f"LICENSE-{i}", one.size, one.digest) for i, one in enumerate(licences, 1)]
    return store / "blobs", named


def _manifest(store: Path, name: str) -> Path:
    """[HOST/][OWNER/]NAME[:TAG]; each part is a plain name before it is part of a path."""
    before, _, tag = name.partition(":")
    parts = before.split("/")
    whole = ["registry.ollama.ai", "library"][: max(0, 3 - len(parts))] + parts
    if len(whole) != 3 or not all(PART.fullmatch(part) for part in [*whole, tag or "latest"]):
        raise UsageError(f"{name[:80]!r} is no model of Ollama's", fix="give ollama:NAME:TAG as `ollama list` shows it")
    return store.joinpath("manifests", *whole, tag or "latest")


def _layer(layer: Any, name: str) -> tuple[str, Wanted]:
    try:
        if type(layer["size"]) is not int:
            raise TypeError(layer)
        return str(layer["mediaType"]), Wanted(name, layer["size"], Digest.parse(layer["digest"]))
    except (KeyError, TypeError, AttributeError):
        raise ModelFileError(f"{name} in Ollama's store is no manifest", fix="pull it anew with Ollama") from None
