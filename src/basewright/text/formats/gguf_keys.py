"""The keys at the head of a GGUF file, read in bounded plain Python (H010).

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from basewright.text.formats.shared import refuse

MAX_HEAD = 2**28
MAX_KEYS = 2**16
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def read_keys(path: Path, prefix: str) -> dict[str, Any]:
    """The keys that begin with `prefix`. Raises `ModelFileError`."""
    try:
        with path.open("rb") as file:
            return _keys(_Head(file, min(path.stat().st_size, MAX_HEAD)), prefix)
    except OSError as error:
        raise refuse(path.name, error.strerror or str(error)) from error
    except ValueError as error:
        raise refuse(path.name, f"it is not a sound GGUF file: {error}") from error


class _Head:
    """A cursor that stays inside the file, and inside what a head may be."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self.file, self.left = file, left

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("it ends, or its head has no end")
        self.left -= size
        return self.file.read(size)

    def unpack(self, codes: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{codes}", self.take(struct.calcsize(f"<{codes}")))

    def text(self) -> str:
        (size,) = self.unpack("Q")
        return self.take(size).decode("utf-8")

    def value(self) -> Any:
        (kind,) = self.unpack("I")
        if kind != _ARRAY:
            return self.scalar(kind)
        kind, count = self.unpack("IQ")
        if kind == _STRING and 8 * count <= self.left:
            return [self.text() for _ in range(count)]
        if kind not in _SCALARS or count > self.left:
            raise ValueError(f"an array of {count} values of type {kind}")
        return list(self.unpack(f"{count}{_SCALARS[kind]}"))

    def scalar(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind not in _SCALARS:
            raise ValueError(f"a value of the unknown type {kind}")
        return self.unpack(_SCALARS[kind])[0]


def _keys(head: _Head, prefix: str) -> dict[str, Any]:
    if head.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, _tensors, count = head.unpack("IQQ")
    if version not in (2, 3) or count > MAX_KEYS:
        raise ValueError(f"version {version} with {count} keys")
    found: dict[str, Any] = {}
    for _ in range(count):
        key, value = head.text(), head.value()
        if key in found:
            raise ValueError(f"the key {key[:80]!r} is there twice")
        found[key] = value
    return {key: value for key, value in found.items() if key.startswith(prefix)}
