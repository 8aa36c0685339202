"""Other readers of the same formats: what we let in, they read, and read alike (H008)."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from safetensors import deserialize

from basewright.errors import ModelFileError
from basewright.formats import gguf, strict
from basewright.formats.safetensors import read_header
from tests.formats.ggufs import made, tensor


def warm(folder: Path) -> None:
    """Late imports of the other readers happen here."""
    logging.getLogger("gguf.gguf_reader").setLevel(logging.ERROR)
    path = folder / "warm.gguf"
    path.write_bytes(made((), (tensor(),), 128))
    differ(path, path.read_bytes())
    path.unlink()


def differ(path: Path, data: bytes) -> str | None:
    """How another reader takes a file that ours takes; None when alike, or when ours refuses."""
    try:
        if path.suffix == ".safetensors":
            return _safetensors(data)
        if path.suffix == ".gguf":
            return _gguf(path)
        if path.suffix == ".json":
            return _json(data)
    except ModelFileError:
        return None
    return None


def _safetensors(data: bytes) -> str | None:
    ours = read_header(io.BufferedReader(io.BytesIO(data)), len(data), "x")
    try:
        theirs = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - that it refuses is the finding
        return f"safetensors refuses it: {error}"
    for name, one in ours.items():
        other = theirs.pop(name, None)
        if other is None or (list(one.shape), one.dtype) != (other["shape"], other["dtype"]):
            return f"safetensors reads {name} otherwise"
        if bytes(other["data"]) != data[one.start : one.start + one.size]:
            return f"safetensors reads other bytes of {name}"
    return f"safetensors reads more: {sorted(theirs)[0]}" if theirs else None


def _gguf(path: Path) -> str | None:
    head = gguf.read(path)
    try:
        theirs = GGUFReader(path)
        values = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    except Exception as error:  # noqa: BLE001 - that it refuses is the finding
        return f"gguf-py refuses it: {type(error).__name__}: {error}"
    if list(values) != list(head.metadata) or any(not _same(head.metadata[key], values[key]) for key in values):
        return "gguf-py reads other keys"
    for one, other in zip(head.tensors, theirs.tensors, strict=True):
        shape = tuple(int(length) for length in reversed(other.shape))
        place = (int(other.data_offset), int(other.n_bytes))
        if (one.name, one.kind, one.shape) != (other.name, int(other.tensor_type), shape):
            return f"gguf-py reads {one.name} otherwise"
        if (head.start + one.offset, one.size) != place:
            return f"gguf-py reads {one.name} elsewhere"
    return None


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(_same(a, b) for a, b in zip(ours, theirs, strict=True))
    return bool(ours == theirs or (ours != ours and theirs != theirs))


def _json(data: bytes) -> str | None:
    ours = strict.parse(data, "x")
    return None if ours == json.loads(data) else "json reads another value"
