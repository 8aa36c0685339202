"""Read the head of a GGUF file in bounded plain Python, trusting nothing in it, before any library opens it (H010).

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

from gguf import GGML_QUANT_SIZES

from basewright.errors import ModelFileError
from basewright.records import record

MAX_HEAD = 2**28
MAX_COUNT = 2**16
"""Keys, or tensors."""
MAX_NAME = 63
"""Bytes of a tensor's name, ggml's own limit."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY, _UINT32 = 7, 8, 9, 4
_BLOCKS = {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
_LOOKALIKES = {
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for",
    b"<": "a web page",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"\x00\x00\x00\x00": "zeros",
}


@record
class TensorHead:
    name: str
    shape: tuple[int, ...]
    """Slowest dimension first, as in the model folder."""
    kind: int
    offset: int
    """From the start of the data."""
    size: int


@record
class Head:
    metadata: dict[str, Any]
    tensors: tuple[TensorHead, ...]
    end: int
    """How many bytes the file must have, padding of the last tensor included."""


def read(path: Path) -> Head:
    """The head of the file. Raises `ModelFileError` with one line for anything that is not a sound one."""
    try:
        with path.open("rb") as file:
            return _Reading(path.name, file, path.stat().st_size).head()
    except OSError as error:
        raise _unsound(path.name, error.strerror or str(error)) from error


def _unsound(name: str, why: str) -> ModelFileError:
    return ModelFileError(f"{name} is not a sound GGUF file: {why}", fix="remove it and run the same command again")


class _Reading:
    """A cursor that never reads beyond the file, nor more of it than a head may be."""

    def __init__(self, name: str, file: BinaryIO, size: int) -> None:
        self.name, self.file, self.at = name, file, 0
        self.limit = min(size, MAX_HEAD)

    def head(self) -> Head:
        self._magic()
        version, tensors, keys = self._unpack("IQQ")
        if version not in (2, 3):
            raise self._bad(f"version {version}")
        if tensors > MAX_COUNT or keys > MAX_COUNT:
            raise self._bad(f"it claims {tensors} tensors and {keys} keys")
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self._text()
            if not key or key in metadata:
                raise self._bad(f"the key {key!r} is empty or there twice")
            metadata[key] = self._value(key)
        alignment = metadata.get("general.alignment", 32)
        self._check_metadata(metadata, alignment)
        found = self._tensors(tensors, alignment)
        data = _padded(self.at, alignment)
        end = data + (_padded(found[-1].offset + found[-1].size, alignment) if found else 0)
        return Head(metadata=metadata, tensors=found, end=end)

    def _magic(self) -> None:
        start = self.file.read(24)
        self.file.seek(0)
        if start.startswith(b"GGUF"):
            self._take(4)
            return
        what = next((what for sign, what in _LOOKALIKES.items() if start.lstrip(b" \r\n").startswith(sign)), None)
        raise self._bad("it is empty" if not start else f"it is {what}" if what else f"it starts with {start[:4]!r}")

    # --- keys ---

    def _value(self, key: str) -> Any:
        kind = self._number("I")
        if kind != _ARRAY:
            return self._scalar(key, kind)
        kind, count = self._unpack("IQ")
        if kind == _STRING:
            self._room(8 * count)
            return [self._text() for _ in range(count)]
        if kind not in _SCALARS:
            raise self._bad(f"{key} is an array of the unknown type {kind}")
        self._room(struct.calcsize(_SCALARS[kind]) * count)
        return self._bools(key, kind, list(self._unpack(f"{count}{_SCALARS[kind]}")))

    def _scalar(self, key: str, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind not in _SCALARS:
            raise self._bad(f"{key} has the unknown type {kind}")
        return self._bools(key, kind, [self._number(_SCALARS[kind])])[0]

    def _bools(self, key: str, kind: int, values: list[Any]) -> list[Any]:
        if kind != _BOOL:
            return values
        if not set(values) <= {0, 1}:
            raise self._bad(f"{key} is neither true nor false")
        return [bool(value) for value in values]

    def _check_metadata(self, metadata: dict[str, Any], alignment: Any) -> None:
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1) or alignment > 2**16:
            raise self._bad(f"alignment {alignment!r}")
        if not isinstance(metadata.get("general.architecture"), str):
            raise self._bad("it names no architecture")
        tokens = metadata.get("tokenizer.ggml.tokens", [])
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise self._bad("its tokens are not a list of texts")
        for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
            values = metadata.get(key, [0] * len(tokens))
            if not isinstance(values, list) or len(values) != len(tokens) or any(isinstance(v, str) for v in values):
                raise self._bad(f"{key} does not fit its {len(tokens)} tokens")
        for key, value in metadata.items():
            in_range = type(value) is int and 0 <= value < len(tokens)
            if key.startswith("tokenizer.ggml.") and key.endswith("_token_id") and not in_range:
                raise self._bad(f"{key} is {value!r}, of {len(tokens)} tokens")

    # --- tensors ---

    def _tensors(self, count: int, alignment: int) -> tuple[TensorHead, ...]:
        found: dict[str, TensorHead] = {}
        expected = 0
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in found:
                raise self._bad(f"the tensor {tensor.name} is there twice")
            if tensor.offset != expected:
                raise self._bad(f"{tensor.name} lies at {tensor.offset}, not at {expected}")
            found[tensor.name] = tensor
            expected = _padded(tensor.offset + tensor.size, alignment)
        return tuple(found.values())

    def _tensor(self) -> TensorHead:
        name = self._text(MAX_NAME)
        dimensions = self._number("I")
        if not 1 <= dimensions <= 4:
            raise self._bad(f"{name} has {dimensions} dimensions")
        shape = self._unpack(f"{dimensions}Q")
        kind, offset = self._unpack("IQ")
        if kind not in _BLOCKS:
            raise self._bad(f"{name} has the unknown type {kind}")
        elements, size = _BLOCKS[kind]
        if math.prod(shape) >= 2**63 or 0 in shape or shape[0] % elements:
            raise self._bad(f"{name} has the impossible shape {shape}")
        bytes_ = math.prod(shape) // elements * size
        return TensorHead(name=name, shape=tuple(reversed(shape)), kind=kind, offset=offset, size=bytes_)

    # --- bytes ---

    def _text(self, longest: int = MAX_HEAD) -> str:
        length = self._number("Q")
        if length > longest:
            raise self._bad(f"a name of {length} bytes")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._bad("a text in it is not UTF-8") from error

    def _number(self, code: str) -> Any:
        return self._unpack(code)[0]

    def _unpack(self, codes: str) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{codes}")
        return layout.unpack(self._take(layout.size))

    def _take(self, size: int) -> bytes:
        self._room(size)
        self.at += size
        return self.file.read(size)

    def _room(self, size: int) -> None:
        if size > self.limit - self.at:
            raise self._bad(f"it ends, or its head has no end, after {self.limit} bytes")

    def _bad(self, why: str) -> ModelFileError:
        return _unsound(self.name, why)


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
