"""The header of a safetensors file, read by our own bounded reader before any library opens the file.

What it accepts is a subset of what the safetensors library accepts (H008): no key twice, no hole or overlap between
tensors, nothing before or after them, integers in one spelling. Tensor names never become paths.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from basewright.errors import FileCode, ModelFileError
from basewright.formats import strict

MAX_HEADER = 16 * 2**20
MAX_TENSORS = 100_000
MAX_RANK = 8
MAX_METADATA = 2**20
NAME = re.compile(r"[\x21-\x7e]{1,512}")
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of one value of each type."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Of its bytes in the file; they are row-major and little-endian."""
    size: int


def read_header(file: BufferedReader, size: int, name: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file of `size` bytes, by name. Raises `ModelFileError` on any fault (H007, H009)."""
    head = file.read(512)
    strict.refuse_mistaken(head, size, name)
    if size < 8:
        raise _fault(name, f"is cut off: {size} bytes", "cut-off", size)
    (length,) = struct.unpack("<Q", head[:8])
    if length > MAX_HEADER:
        raise _fault(
            name, f"does not begin like safetensors, or its header is over {MAX_HEADER // 2**20} MiB", "too-large", 0
        )
    if 8 + length > size:
        raise _fault(
            name, f"is cut off inside its header: {8 + length} bytes are announced, {size} are there", "cut-off", size
        )
    file.seek(8)
    raw = file.read(length)
    if not raw.startswith(b"{"):
        raise _fault(name, "does not begin like safetensors", "mistaken", 8)
    if raw.count(b"{") > MAX_TENSORS + 2 or raw.count(b"[") > 2 * MAX_TENSORS + 2:
        raise _fault(name, f"has a header of more than {MAX_TENSORS} tensors", "too-large", 8)
    entries = strict.parse_object(raw, name)
    _check_metadata(entries.pop("__metadata__", {}), name)
    if len(entries) > MAX_TENSORS:
        raise _fault(name, f"holds more than {MAX_TENSORS} tensors", "too-large", 8)
    tensors = [_tensor(key, entry, 8 + length, name) for key, entry in entries.items()]
    _check_layout(tensors, 8 + length, size, name)
    return {tensor.name: tensor for tensor in tensors}


def _tensor(key: str, entry: Any, data: int, name: str) -> Tensor:
    if not NAME.fullmatch(key):
        raise _fault(name, f"names a tensor {key[:40]!r}", "name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _fault(name, f"describes {key[:80]} by other facts than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise _fault(name, f"has {key[:80]} in the unknown type {str(dtype)[:20]!r}")
    if not _naturals(shape) or len(shape) > MAX_RANK:
        raise _fault(name, f"gives {key[:80]} a shape that is none")
    if not _naturals(offsets) or len(offsets) != 2:
        raise _fault(name, f"gives {key[:80]} a place that is none")
    values = 1
    for length in shape:  # multiplied as other readers do: a zero does not hide an overflow before it
        values *= length
        if values > 2**60:
            raise _fault(name, f"gives {key[:80]} more values than a file can hold", "too-large")
    if offsets[1] - offsets[0] != values * SIZES[dtype]:
        raise _fault(name, f"gives {key[:80]} {offsets[1] - offsets[0]} bytes for {shape} values of {dtype}")
    return Tensor(key, dtype, tuple(shape), data + offsets[0], offsets[1] - offsets[0])


def _check_layout(tensors: list[Tensor], data: int, size: int, name: str) -> None:
    """Tensors lie end to end and fill the file."""
    end = data
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.size)):
        if tensor.start != end:
            wrong = "leaves a hole before" if tensor.start > end else "overlaps another tensor with"
            raise _fault(name, f"{wrong} {tensor.name[:80]}", offset=tensor.start)
        end += tensor.size
    if end > size:
        raise _fault(name, f"is cut off: {end} bytes are announced, {size} are there", "cut-off", size)
    if end < size:
        raise _fault(name, f"holds {size - end} bytes after its last tensor", offset=end)


def _check_metadata(metadata: Any, name: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _fault(name, "has metadata that is not text")
    if sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA:
        raise _fault(name, f"has more than {MAX_METADATA // 2**20} MiB of metadata", "too-large", 8)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _fault(name: str, what: str, code: FileCode = "malformed", offset: int | None = None) -> ModelFileError:
    return strict.fault(name, what, code, offset)
