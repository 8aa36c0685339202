"""Only a whole, sound GGUF file passes; anything else is one clear line (H009, H010, H011)."""

from __future__ import annotations

import gzip
import random
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGML_QUANT_SIZES, GGUFReader

from basewright.convert.gguf_writer import to_gguf
from basewright.errors import ModelFileError
from basewright.formats import gguf
from tests.formats.ggufs import ARCHITECTURE, MOST, TOKENS, U32, made, pair, tensor, text, texts
from tests.models import tiny_llama


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("model")
    to_gguf(tiny_llama(folder, layers=1, vocabulary=264), folder / "a.gguf", "q8_0", {"name": "a"})
    return (folder / "a.gguf").read_bytes()


def refused(path: Path, data: bytes) -> ModelFileError | None:
    """Why it does not pass; any other exception than the one promised is the test's failure."""
    path.write_bytes(data)
    try:
        gguf.read(path)
    except ModelFileError as error:
        if "\n" in error.message or len(error.message) > 400 or error.file != path.name or error.code == "unusable":
            raise AssertionError((error.message, error.code, error.file)) from error
        return error
    return None


def test_a_whole_file_passes_and_says_its_bytes(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(good)
    head = gguf.read(tmp_path / "a.gguf")
    assert head.end == len(good)
    theirs = GGUFReader(tmp_path / "a.gguf")
    assert [(t.name, t.kind, head.start + t.offset, t.size) for t in head.tensors] == [
        (t.name, int(t.tensor_type), int(t.data_offset), int(t.n_bytes)) for t in theirs.tensors
    ]
    assert list(head.metadata) == [name for name in theirs.fields if not name.startswith("GGUF.")]
    assert all(theirs.fields[key].contents() == value for key, value in head.metadata.items())


def test_types_of_tensors_are_gguf_pys() -> None:
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert gguf.KINDS.items() <= theirs.items()


def test_h009_cut_anywhere_is_caught(good: bytes, tmp_path: Path) -> None:
    cuts = {*range(0, 64), *range(0, len(good), len(good) // 150), *range(len(good) - 40, len(good))}
    assert [cut for cut in sorted(cuts) if not refused(tmp_path / "a.gguf", good[:cut])] == []


def test_only_the_last_padding_may_be_left_out(tmp_path: Path) -> None:
    two = (tensor(), tensor(b"u", (33,), 0, 128))
    whole = made((), two, 128 + 132 + 28)
    assert not refused(tmp_path / "a.gguf", whole)
    assert not refused(tmp_path / "a.gguf", whole[:-28])
    assert refused(tmp_path / "a.gguf", whole[:-29])


def test_h009_bytes_after_the_end_are_caught(good: bytes, tmp_path: Path) -> None:
    error = refused(tmp_path / "a.gguf", good + b"\0")
    assert error
    assert "1 bytes after" in error.message


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "zeros"),
        (b"<!DOCTYPE html><html><title>404</title>", "web page"),
        (b"\n<html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git-LFS pointer"),
        (gzip.compress(b"GGUF"), "archive"),
        (b"PK\x03\x04rest", "archive"),
        (b"ggml....", "b'ggml'"),
    ],
)
def test_h009_what_is_there_instead_is_named(data: bytes, named: str, tmp_path: Path) -> None:
    error = refused(tmp_path / "a.gguf", data)
    assert error
    assert named in error.message
    assert error.offset == 0


def test_a_file_made_by_hand_passes(tmp_path: Path) -> None:
    assert not refused(tmp_path / "a.gguf", made((TOKENS,), (tensor(), tensor(b"u", (32, 2), 8, 128)), 128 + 96))


ALIGNMENT = b"general.alignment"
CLASSES = {
    # as in llama.cpp's tests/test-gguf.cpp
    "HEADER_BAD_MAGIC": made(magic=b"FUGG"),
    "HEADER_BAD_VERSION_0": made(version=0),
    "HEADER_BAD_VERSION_1": made(version=1),
    "HEADER_BAD_VERSION_FUTURE": made(version=4),
    "HEADER_BAD_N_TENSORS": made(claimed_tensors=MOST),
    "HEADER_BAD_N_KV": made(claimed_keys=MOST),
    "KV_BAD_KEY_SIZE": made((struct.pack("<Q", MOST) + b"my_key" + U32(4) + U32(1),)),
    "KV_EMPTY_KEY": made((pair(b"", 4, U32(1)),)),
    "KV_BAD_TYPE": made((pair(b"my_key", 13, U32(1)),)),
    "KV_BAD_VALUE_SIZE": made((pair(b"my_key", 8, struct.pack("<Q", 2**40)),)),
    "KV_DUPLICATE_KEY": made((pair(b"my_key", 4, U32(1)), pair(b"my_key", 4, U32(1)))),
    "KV_BAD_ALIGN": made((pair(ALIGNMENT, 4, U32(13)),)),
    "KV_WRONG_TYPE_ALIGN": made((pair(ALIGNMENT, 5, U32(32)),)),
    "TENSORS_BAD_NAME_SIZE": made((), (tensor(b"n" * 64),), 128),
    "TENSORS_BAD_N_DIMS": made((), (tensor(shape=(2, 2, 2, 2, 2)),), 128),
    "TENSORS_BAD_SHAPE": made((), (tensor(shape=(2**63,)),), 128),
    "TENSORS_ZERO_DIM": made((), (tensor(shape=(0,)),)),
    "TENSORS_NE_TOO_BIG": made((), (tensor(shape=(2**32, 2**32)),)),
    "TENSORS_NBYTES_TOO_BIG": made((), (tensor(shape=(2**60,), kind=27),), 128),
    "TENSORS_BAD_TYPE": made((), (tensor(kind=1000),), 128),
    "TENSORS_BAD_OFFSET": made((), (tensor(offset=32),), 160),
    "TENSORS_DUPLICATE_NAME": made((), (tensor(), tensor(offset=128)), 256),
    "TENSORS_BAD_ALIGN": made((pair(ALIGNMENT, 4, U32(13)),), (tensor(),), 128, alignment=13),
    "TENSORS_INCONSISTENT_ALIGN": made((), (tensor(shape=(33,)), tensor(b"u", offset=132)), 260),
    "DATA_NOT_ENOUGH_DATA": made((), (tensor(),), 127),
    "DATA_BAD_ALIGN": made((pair(ALIGNMENT, 4, U32(3)),), (tensor(),), 128, alignment=3),
    "DATA_INCONSISTENT_ALIGN": made((pair(ALIGNMENT, 4, U32(64)),), (tensor(shape=(8,)), tensor(b"u", offset=32)), 160),
    "DATA_MEM_SIZE_OVERFLOW": made((), tuple(tensor(n, (2**63 - 64,), 24, 0) for n in (b"t", b"u")), 128),
    # and others
    "version of the other byte order": made(version=0x03000000),
    "more keys claimed than there are": made(claimed_keys=2),
    "a key twice, the architecture": made((ARCHITECTURE,)),
    "a key of gguf-py's own": made((pair(b"GGUF.version", 4, U32(3)),)),
    "a key that is not plain": made((pair(b"my key\n", 4, U32(3)),)),
    "neither true nor false": made((pair(b"a", 7, b"\x02"),)),
    "a text that is not UTF-8": made((pair(b"a", 8, text(b"\xff\xfe")),)),
    "an array of arrays": made((pair(b"a", 9, struct.pack("<IQ", 9, 1)),)),
    "an array of an unknown type": made((pair(b"a", 9, struct.pack("<IQ", 99, 1)),)),
    "an array beyond the file": made((pair(b"a", 9, struct.pack("<IQ", 0, 2**60)),)),
    "an array of many bytes beyond the file": made((pair(b"a", 9, struct.pack("<IQ", 0, 2**20)),)),
    "texts beyond the file": made((pair(b"a", 9, struct.pack("<IQ", 8, 2**60)),)),
    "alignment 0": made((pair(ALIGNMENT, 4, U32(0)),)),
    "an alignment that is text": made((pair(ALIGNMENT, 8, text(b"32")),)),
    "tokens that are one text": made((pair(b"tokenizer.ggml.tokens", 8, text(b"a")),)),
    "tokens that are numbers": made((pair(b"tokenizer.ggml.tokens", 9, struct.pack("<IQI", 4, 1, 0)),)),
    "scores that are no floats": made((TOKENS, pair(b"tokenizer.ggml.scores", 9, struct.pack("<IQII", 4, 2, 0, 0)))),
    "a score for one of two": made((TOKENS, pair(b"tokenizer.ggml.scores", 9, struct.pack("<IQf", 6, 1, 0.0)))),
    "an id beyond the tokens": made((TOKENS, pair(b"tokenizer.ggml.eos_token_id", 4, U32(2)))),
    "an id that is text": made((TOKENS, pair(b"tokenizer.ggml.bos_token_id", 8, text(b"a")))),
    "a context that is text": made((pair(b"llama.context_length", 8, text(b"a")),)),
    "a template that is a number": made((pair(b"tokenizer.chat_template", 4, U32(1)),)),
    "no dimensions": made((), (tensor(shape=()),)),
    "fewer dimensions than announced": made((), (tensor(rank=2),), 128),
    "part of a block": made((), (tensor(shape=(31,), kind=8),), 32),
    "a type that is gone": made((), (tensor(kind=4),), 128),
    "a hole": made((), (tensor(), tensor(b"u", offset=160)), 320),
    "an overlap": made((), (tensor(), tensor(b"u", offset=0)), 256),
    "a tensor's name that is not plain": made((), (tensor(b"../t \n"),), 128),
    "no architecture": b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + b"\0" * 8,
}


@pytest.mark.parametrize("name", CLASSES)
def test_h010_a_head_that_lies_is_refused(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path / "a.gguf", CLASSES[name])


def test_an_alignment_of_its_own_passes(tmp_path: Path) -> None:
    for alignment in (1, 8, 64, 4096):
        pairs = (pair(ALIGNMENT, 4, U32(alignment)),)
        assert not refused(tmp_path / "a.gguf", made(pairs, (tensor(),), 128, alignment=alignment))


def test_an_error_says_where(tmp_path: Path) -> None:
    error = refused(tmp_path / "a.gguf", made((pair(b"my_key", 13, U32(1)),)))
    assert error
    assert error.code == "malformed"
    assert error.offset == 24 + len(ARCHITECTURE) + 8 + len(b"my_key") + 4


def test_h010_claims_cost_nothing_and_the_largest_head_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    claims = made((pair(b"a", 9, struct.pack("<IQ", 8, gguf.MAX_ITEMS)),))
    largest = made((texts(b"a", *[b"word %d" % (i % 1000) for i in range(gguf.MAX_ITEMS)]),))
    for data, seconds in ((claims, 0.05), (largest, 4.0)):
        path.write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        error = refused(path, data)
        assert time.process_time() - start < seconds
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
        assert (error is None) == (data is largest)


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
        if not refused(path, bytes(head) + good[size:]):
            names = [tensor.name for tensor in gguf.read(path).tensors]
            assert [tensor.name for tensor in GGUFReader(path).tensors] == names
