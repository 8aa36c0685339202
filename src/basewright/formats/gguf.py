"""The head of a GGUF file, read by our own bounded reader before any library opens the file (H010).

Versions 2 and 3, little-endian: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What it accepts is a subset
of what llama.cpp and gguf-py accept, and they read it alike (H008): counts are held against the file before anything is
allocated, no key or tensor is there twice, tensors lie in order, aligned, without overlap or hole, and fill the file.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from basewright.errors import FileCode, ModelFileError
from basewright.formats import strict

MAX_HEAD = 64 * 2**20
MAX_KEYS = 2**14
MAX_TENSORS = 2**16
MAX_ITEMS = 2**21
"""Values in all arrays together; the largest vocabularies with their merges have 1.3 million."""
MAX_ALIGNMENT = 2**16
STEP = 2**18
"""Bytes read at a time."""
KEY = re.compile(r"(?!GGUF\.)[\x21-\x7e]{1,256}")
"""Names that begin with GGUF. are gguf-py's own."""
NAME = re.compile(r"[\x21-\x7e]{1,63}")
"""63 bytes are ggml's own limit for a tensor's name."""
BOOL, STRING, ARRAY = 7, 8, 9
UINT32, INT32, FLOAT32 = 4, 5, 6
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
KINDS = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}  # fmt: skip
"""Name, values in a block and bytes of a block of each type of tensor."""
_WHOLE, _WHOLES = (UINT32,), (UINT32, (ARRAY, UINT32), (ARRAY, INT32))
KNOWN: dict[str, tuple[int | tuple[int, int], ...]] = {
    "general.architecture": (STRING,),
    "general.name": (STRING,),
    "general.license": (STRING,),
    "general.alignment": _WHOLE,
    "general.file_type": _WHOLE,
    "general.quantization_version": _WHOLE,
    ".context_length": _WHOLE,
    ".embedding_length": _WHOLE,
    ".block_count": _WHOLE,
    ".feed_forward_length": _WHOLES,
    ".attention.head_count": _WHOLES,
    ".attention.head_count_kv": _WHOLES,
    ".attention.layer_norm_epsilon": (FLOAT32,),
    ".attention.layer_norm_rms_epsilon": (FLOAT32,),
    ".rope.dimension_count": _WHOLE,
    ".rope.freq_base": (FLOAT32,),
    "tokenizer.ggml.model": (STRING,),
    "tokenizer.ggml.pre": (STRING,),
    "tokenizer.ggml.tokens": ((ARRAY, STRING),),
    "tokenizer.ggml.merges": ((ARRAY, STRING),),
    "tokenizer.ggml.scores": ((ARRAY, FLOAT32),),
    "tokenizer.ggml.token_type": ((ARRAY, INT32),),
    "tokenizer.chat_template": (STRING,),
}
"""The types that llama.cpp expects of keys it reads; a name that begins with a dot stands behind an architecture's."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """Slowest dimension first, as in a model's folder; the file has it the other way round."""
    kind: int
    offset: int
    """From the start of the data."""
    size: int
    """In bytes, without padding."""


@dataclass(frozen=True, slots=True)
class Head:
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    start: int
    """Where the data begins: offsets of tensors count from here."""
    end: int
    """How many bytes a file has whose last tensor is padded like the others."""


def read(path: Path) -> Head:
    """The head of a whole, sound GGUF file. Raises `ModelFileError` for anything else."""
    with strict.open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        return read_head(file, size, path.name)


def read_head(file: BufferedReader, size: int, name: str) -> Head:
    """The head of a GGUF file of `size` bytes, which its tensors must fill. Raises `ModelFileError` (H009, H010)."""
    return _Reading(file, size, name).head()


class _Reading:
    """A cursor that never goes beyond the file, nor further into it than a head may reach."""

    def __init__(self, file: BufferedReader, size: int, name: str) -> None:
        self.file, self.size, self.name = file, size, name
        self.limit = min(size, MAX_HEAD)
        self.data = bytearray()
        self.at = 0
        self.items = 0

    def head(self) -> Head:
        self._magic()
        version, tensors, keys = self._unpack("IQQ")
        if version not in (2, 3):
            raise self._bad(f"is GGUF of version {version}; 2 and 3 are read", "unsupported")
        if tensors > MAX_TENSORS or keys > MAX_KEYS:
            raise self._bad(f"claims {tensors} tensors and {keys} keys", "too-large")
        metadata = self._metadata(keys)
        alignment = metadata.get("general.alignment", 32)
        found = self._tensors(tensors, alignment)
        start = _padded(self.at, alignment)
        if not found:
            self._check_end(self.at, start)
            return Head(metadata=metadata, tensors=(), start=start, end=start)
        last = start + found[-1].offset + found[-1].size
        end = _padded(last, alignment)
        self._check_end(last, end)
        return Head(metadata=metadata, tensors=found, start=start, end=end)

    def _magic(self) -> None:
        strict.refuse_mistaken(bytes(self._peek(512)), self.size, self.name)
        if (magic := self._take(4)) != b"GGUF":
            self.at = 0
            raise self._bad(f"is no GGUF file: it starts with {bytes(magic)!r}", "mistaken")

    def _check_end(self, least: int, most: int) -> None:
        """The last padding may be left out; nothing else may be missing, and nothing may follow."""
        if self.size < least:
            raise self._bad(f"is cut off: it announces {least} bytes and has {self.size}", "cut-off")
        if self.size > most:
            raise self._bad(f"holds {self.size - most} bytes after its last tensor")

    # --- keys ---

    def _metadata(self, keys: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(keys):
            key = self._text(KEY, "a key")
            if key in found:
                raise self._bad(f"has the key {key} twice", "name")
            found[key] = self._value(key)
        alignment = found.get("general.alignment", 32)
        if alignment <= 0 or alignment & (alignment - 1) or alignment > MAX_ALIGNMENT:
            raise self._bad(f"has the alignment {alignment}")
        if not found.get("general.architecture"):
            raise self._bad("names no architecture", "missing")
        self._check_tokens(found)
        return found

    def _value(self, key: str) -> Any:
        (kind,) = self._unpack("I")
        if kind != ARRAY:
            self._check_type(key, kind)
            return self._scalar(key, kind)
        kind, count = self._unpack("IQ")
        self._check_type(key, (ARRAY, kind))
        self.items += count
        if self.items > MAX_ITEMS:
            raise self._bad(f"has more than {MAX_ITEMS} values in its arrays, {key} among them", "too-large")
        if kind == STRING:
            self._need(8 * count)
            return [self._text(None, key) for _ in range(count)]
        if kind not in _SCALARS:
            raise self._bad(f"has {key} as an array of the unknown type {kind}")
        return self._bools(key, kind, list(self._unpack(f"{count}{_SCALARS[kind]}")))

    def _check_type(self, key: str, kind: int | tuple[int, int]) -> None:
        known = KNOWN.get(key) or KNOWN.get(key[key.find(".") :])
        if _is_id(key):
            known = _WHOLE
        if known is not None and kind not in known:
            raise self._bad(f"has {key} as a value of type {kind}, not {known[0]}")

    def _scalar(self, key: str, kind: int) -> Any:
        if kind == STRING:
            return self._text(None, key)
        if kind not in _SCALARS:
            raise self._bad(f"has {key} as a value of the unknown type {kind}")
        return self._bools(key, kind, list(self._unpack(_SCALARS[kind])))[0]

    def _bools(self, key: str, kind: int, values: list[Any]) -> list[Any]:
        if kind != BOOL:
            return values
        if not set(values) <= {0, 1}:
            raise self._bad(f"has {key} neither true nor false")
        return [bool(value) for value in values]

    def _check_tokens(self, metadata: dict[str, Any]) -> None:
        """What is said of the tokens is said of each, and the ids that keys name are among them."""
        tokens = metadata.get("tokenizer.ggml.tokens", [])
        for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
            if len(metadata.get(key, tokens)) != len(tokens):
                raise self._bad(f"has {len(tokens)} tokens, and {key} for {len(metadata[key])}", "mismatch")
        for key, value in metadata.items():
            if _is_id(key) and value >= len(tokens):
                raise self._bad(f"has {key} {value}, of {len(tokens)} tokens", "mismatch")

    # --- tensors ---

    def _tensors(self, count: int, alignment: int) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        expected = 0
        for _ in range(count):
            tensor = self._tensor()
            if tensor.name in found:
                raise self._bad(f"has the tensor {tensor.name} twice", "name")
            if tensor.offset != expected:
                raise self._bad(f"has {tensor.name} at {tensor.offset}, not at {expected}")
            found[tensor.name] = tensor
            expected = _padded(tensor.offset + tensor.size, alignment)
        return tuple(found.values())

    def _tensor(self) -> Tensor:
        name = self._text(NAME, "a tensor")
        (dimensions,) = self._unpack("I")
        if not 1 <= dimensions <= 4:
            raise self._bad(f"gives {name} {dimensions} dimensions")
        shape = self._unpack(f"{dimensions}Q")
        kind, offset = self._unpack("IQ")
        if kind not in KINDS:
            raise self._bad(f"has {name} in the unknown type {kind}", "unsupported")
        _, values, size = KINDS[kind]
        if 0 in shape or math.prod(shape) >= 2**56 or shape[0] % values:
            raise self._bad(f"gives {name} the shape {list(shape)}, impossible in its type")
        return Tensor(name, tuple(reversed(shape)), kind, offset, math.prod(shape) // values * size)

    # --- bytes ---

    def _text(self, plain: re.Pattern[str] | None, what: str) -> str:
        self._need(8)
        self.at += 8
        length = int.from_bytes(self.data[self.at - 8 : self.at], "little")
        try:
            text = self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._bad(f"has a text that is not UTF-8, in {what}") from error
        if plain is not None and not plain.fullmatch(text):
            raise self._bad(f"names {what} {text[:40]!r}", "name")
        return text

    def _unpack(self, codes: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{codes}")
        self._need(size)
        self.at += size
        return struct.unpack_from(f"<{codes}", self.data, self.at - size)

    def _take(self, size: int) -> bytearray:
        self._need(size)
        self.at += size
        return self.data[self.at - size : self.at]

    def _peek(self, size: int) -> bytearray:
        self._need(min(size, self.limit))
        return self.data[:size]

    def _need(self, size: int) -> None:
        """Have `size` bytes after the cursor in memory. Nothing is allocated for bytes that are not in the file."""
        missing = self.at + size - len(self.data)
        if missing <= 0:
            return
        if self.at + size > self.limit:
            if self.size > self.limit:
                raise self._bad(f"has a head of more than {MAX_HEAD // 2**20} MiB", "too-large")
            raise self._bad("ends inside its head", "cut-off")
        read = self.file.read(max(missing, min(STEP, self.limit - len(self.data))))
        if len(read) < missing:
            raise self._bad("changed while it was read", "changed")
        self.data += read

    def _bad(self, what: str, code: FileCode = "malformed") -> ModelFileError:
        return ModelFileError(
            f"{self.name} {what}", fix=strict.AGAIN, code=code, file=self.name, offset=min(self.at, self.size)
        )


def _is_id(key: str) -> bool:
    return key.startswith("tokenizer.ggml.") and key.endswith("_token_id")


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
