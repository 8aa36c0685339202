"""GGUF files made by hand, byte by byte, so that any fault can be put in."""

from __future__ import annotations

import struct

U32 = struct.Struct("<I").pack
MOST = 2**64 - 1


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def texts(key: bytes, *values: bytes) -> bytes:
    return pair(key, 9, struct.pack("<IQ", 8, len(values)) + b"".join(map(text, values)))


ARCHITECTURE = pair(b"general.architecture", 8, text(b"llama"))
TOKENS = texts(b"tokenizer.ggml.tokens", b"a", b"b")


def tensor(
    name: bytes = b"t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0, rank: int | None = None
) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape) if rank is None else rank, *shape, kind, offset)


def made(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    data: int = 0,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    claimed_tensors: int | None = None,
    claimed_keys: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A file with an architecture, `pairs`, `tensors`, and `data` bytes of zeros after the padding."""
    keys = (ARCHITECTURE, *pairs)
    counts = (
        len(tensors) if claimed_tensors is None else claimed_tensors,
        len(keys) if claimed_keys is None else claimed_keys,
    )
    body = magic + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return body + b"\0" * (-len(body) % alignment + data)


FACTS = (
    pair(b"llama.context_length", 4, U32(32)),
    pair(b"llama.embedding_length", 4, U32(32)),
    pair(b"llama.block_count", 4, U32(1)),
)
EMBEDDING = tensor(b"token_embd.weight", (32, 4), 8)
MODEL = made((*FACTS, TOKENS), (EMBEDDING,), 34 * 4 + 24)
"""A whole model, as far as a gate can see."""
