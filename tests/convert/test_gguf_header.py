"""Only a whole, sound GGUF file passes; anything else is one clear line (H009, H010, H011)."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader

from basewright.convert import gguf_header
from basewright.convert.gguf_writer import to_gguf
from basewright.convert.parity import intact
from basewright.errors import ModelFileError
from tests.models import tiny_llama


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("model")
    to_gguf(tiny_llama(folder, layers=1, vocabulary=264), folder / "a.gguf", "q8_0", {"name": "a"})
    return (folder / "a.gguf").read_bytes()


def sound(path: Path, data: bytes) -> bool:
    """Whether it passes; any other exception than the one promised is the test's failure."""
    path.write_bytes(data)
    try:
        return intact(path).passed
    except ModelFileError as error:
        if "\n" in error.message or len(error.message) > 400:
            raise AssertionError(error.message) from error
        return False


def test_a_whole_file_passes_and_says_its_bytes(good: bytes, tmp_path: Path) -> None:
    assert sound(tmp_path / "a.gguf", good)
    assert intact(tmp_path / "a.gguf").value == len(good)


def test_h009_cut_anywhere_is_caught(good: bytes, tmp_path: Path) -> None:
    cuts = {*range(0, 64), *range(0, len(good), len(good) // 150), *range(len(good) - 40, len(good))}
    assert [cut for cut in sorted(cuts) if sound(tmp_path / "a.gguf", good[:cut])] == []


def test_h009_bytes_after_the_end_are_caught(good: bytes, tmp_path: Path) -> None:
    assert not sound(tmp_path / "a.gguf", good + b"\0")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "zeros"),
        (b"<!DOCTYPE html><html><title>404</title>", "web page"),
        (b"\n<html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS pointer"),
        (gzip.compress(b"GGUF"), "gzip"),
        (b"PK\x03\x04rest", "zip"),
        (b"ggml....", "b'ggml'"),
    ],
)
def test_h009_what_is_there_instead_is_named(data: bytes, named: str, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(ModelFileError, match=named):
        intact(tmp_path / "a.gguf")


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


ARCHITECTURE = pair(b"general.architecture", 8, text(b"llama"))
U32 = struct.Struct("<I").pack
TOKENS = pair(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text(b"a") + text(b"b"))


def tensor(name: bytes = b"t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def made(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    data: int = 0,
    *,
    version: int = 3,
    claimed_tensors: int | None = None,
    claimed_keys: int | None = None,
) -> bytes:
    keys = (ARCHITECTURE, *pairs)
    counts = (
        len(tensors) if claimed_tensors is None else claimed_tensors,
        len(keys) if claimed_keys is None else claimed_keys,
    )
    body = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return body + b"\0" * (-len(body) % 32 + data)


def test_a_file_made_by_hand_passes(tmp_path: Path) -> None:
    assert sound(tmp_path / "a.gguf", made((TOKENS,), (tensor(), tensor(b"u", (32, 2), 8, 128)), 128 + 96))


@pytest.mark.parametrize(
    "data",
    [
        made(version=1),
        made(version=0x03000000),
        made(claimed_tensors=2**63),
        made(claimed_keys=2**63),
        made(claimed_keys=2),
        made((ARCHITECTURE,)),
        made((pair(b"", 4, U32(1)),)),
        made((pair(b"a", 13, U32(1)),)),
        made((pair(b"a", 7, b"\x02"),)),
        made((pair(b"a", 8, struct.pack("<Q", 2**40)),)),
        made((pair(b"a", 8, text(b"\xff\xfe")),)),
        made((pair(b"a", 9, struct.pack("<IQ", 9, 1)),)),
        made((pair(b"a", 9, struct.pack("<IQ", 99, 1)),)),
        made((pair(b"a", 9, struct.pack("<IQ", 0, 2**60)),)),
        made((pair(b"a", 9, struct.pack("<IQ", 8, 2**60)),)),
        made((pair(b"general.alignment", 4, U32(0)),)),
        made((pair(b"general.alignment", 4, U32(3)),)),
        made((pair(b"general.alignment", 8, text(b"32")),)),
        made((pair(b"tokenizer.ggml.tokens", 8, text(b"a")),)),
        made((TOKENS, pair(b"tokenizer.ggml.scores", 9, struct.pack("<IQf", 6, 1, 0.0)))),
        made((TOKENS, pair(b"tokenizer.ggml.eos_token_id", 4, U32(2)))),
        made((TOKENS, pair(b"tokenizer.ggml.bos_token_id", 8, text(b"a")))),
        made((), (tensor(shape=()),)),
        made((), (tensor(shape=(2, 2, 2, 2, 2)),), 128),
        made((), (tensor(shape=(0,)),)),
        made((), (tensor(shape=(2**32, 2**32)),)),
        made((), (tensor(shape=(31,), kind=8),), 32),
        made((), (tensor(kind=4),), 128),
        made((), (tensor(kind=1000),), 128),
        made((), (tensor(offset=32),), 160),
        made((), (tensor(), tensor(offset=128)), 256),
        made((), (tensor(), tensor(b"u", offset=0)), 256),
        made((), (tensor(b"n" * 64),), 128),
        made((), (tensor(),), 96),
    ],
)
def test_h010_a_head_that_lies_is_refused(data: bytes, tmp_path: Path) -> None:
    assert not sound(tmp_path / "a.gguf", data)


def test_h010_without_an_architecture(tmp_path: Path) -> None:
    assert not sound(tmp_path / "a.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + b"\0" * 8)


def _flip(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _number(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data) - 8)
    data[at : at + 8] = struct.pack("<Q", draw.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))


def _remove(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.randint(1, 16)]


@pytest.mark.parametrize("damage", [_flip, _number, _remove])
def test_h008_h011_damage_is_one_line_or_a_file_that_others_read_alike(
    damage: Callable[[bytearray, random.Random], None], good: bytes, tmp_path: Path
) -> None:
    path, draw = tmp_path / "a.gguf", random.Random(7)
    size = good.index(b"blk.0.ffn_down.weight")
    for _ in range(150):
        head = bytearray(good[:size])
        damage(head, draw)
        if sound(path, bytes(head) + good[size:]):
            names = [tensor.name for tensor in gguf_header.read(path).tensors]
            assert [tensor.name for tensor in GGUFReader(path).tensors] == names
