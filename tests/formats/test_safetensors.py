from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
import safetensors as library
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.errors import ModelFileError
from basewright.formats import safetensors as headers
from basewright.formats.safetensors import Tensor, read_header
from tests.hub.folders import random_tensors, safetensors, weights


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}


def read(blob: bytes) -> dict[str, Tensor]:
    return read_header(io.BufferedReader(io.BytesIO(blob)), len(blob), "model.safetensors")


def refused(blob: bytes) -> str:
    with pytest.raises(ModelFileError) as caught:
        read(blob)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_tensors_of_a_good_file_are_found_where_they_lie() -> None:
    values = random_tensors()
    blob = weights(values, "F32")
    found = read(blob)
    assert set(found) == set(values)
    for name, value in values.items():
        tensor = found[name]
        assert (tensor.dtype, tensor.shape) == ("F32", value.shape)
        assert blob[tensor.start : tensor.start + tensor.size] == value.tobytes()


def test_padding_scalars_and_empty_tensors_are_good() -> None:
    raw = json.dumps({"a": entry(shape=[]), "b": entry(shape=[0, 3], data_offsets=[4, 4])}).encode()
    assert set(read(safetensors(raw + b"   ", b"1234"))) == {"a", "b"}


@pytest.mark.parametrize(
    ("blob", "told"),
    [
        (safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), b"1234"), "twice"),
        (safetensors({"a": entry(), "b": entry(data_offsets=[2, 6])}, b"123456"), "overlaps"),
        (safetensors({"a": entry(), "b": entry()}, b"1234"), "overlaps"),
        (safetensors({"a": entry(), "b": entry(data_offsets=[5, 9])}, b"123456789"), "hole"),
        (safetensors({"a": entry(data_offsets=[4, 8])}, b"12345678"), "hole"),
        (safetensors({"a": entry()}, b"12345"), "after its last tensor"),
        (safetensors({"a": entry()}, b"123"), "cut off"),
        (safetensors({"a": entry(shape=[2])}, b"1234"), "4 bytes for"),
        (safetensors({"a": entry(data_offsets=[4, 0])}, b"1234"), "-4 bytes"),
        (safetensors({"a": entry(shape=[-1])}, b"1234"), "shape"),
        (safetensors({"a": entry(shape=[1.0])}, b"1234"), "shape"),
        (safetensors({"a": entry(shape=[True])}, b"1234"), "shape"),
        (safetensors({"a": entry(shape=None)}, b"1234"), "shape"),
        (safetensors({"a": entry(shape=[2**40, 2**40, 0], data_offsets=[0, 0])}), "more values"),
        (safetensors({"a": entry(data_offsets=[0, 4, 8])}, b"1234"), "place"),
        (safetensors({"a": entry(dtype="F128")}, b"1234"), "unknown type 'F128'"),
        (safetensors({"a": entry(dtype=["F32"])}, b"1234"), "unknown type"),
        (safetensors({"a": entry(more=1)}, b"1234"), "other facts"),
        (safetensors({"a": ["F32", [1], [0, 4]]}, b"1234"), "other facts"),
        (safetensors({"a\n": entry()}, b"1234"), "names a tensor"),
        (safetensors({"": entry()}, b"1234"), "names a tensor"),
        (safetensors({"a" * 513: entry()}, b"1234"), "names a tensor"),
        (safetensors({"__metadata__": {"a": 1}}), "not text"),
        (safetensors({"__metadata__": None}), "not text"),
        (safetensors(b'{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}', b"1234"), "strict JSON"),
        (safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}', b"1234"), "strict JSON"),
        (safetensors(b" {}"), "begin like safetensors"),
        (safetensors(b"[]"), "begin like safetensors"),
        (b"\x01", "cut off"),
    ],
)
def test_h008_what_another_reader_might_read_differently_is_refused(blob: bytes, told: str) -> None:
    assert told in refused(blob)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_h008_what_we_accept_the_library_reads_the_same(data: st.DataObject) -> None:
    """Mutants of a good file: by bytes of the header, or by its facts."""
    facts: dict[str, Any] = {
        "a": entry(shape=[2, 3], data_offsets=[0, 24]),
        "b": entry(dtype="BF16", shape=[4], data_offsets=[24, 32]),
        "c": entry(dtype="U8", shape=[], data_offsets=[32, 33]),
    }
    if data.draw(st.booleans()):
        number = st.sampled_from([0, 1, 2, 3, 4, 8, 24, 32, 33, 2**31, 2**63, 2**64])
        target = facts[data.draw(st.sampled_from(["a", "b", "c"]))]
        target[data.draw(st.sampled_from(["shape", "data_offsets"]))] = data.draw(st.lists(number, max_size=3))
        target["dtype"] = data.draw(st.sampled_from(["F32", "BF16", "U8", "F64", "F4", ""]))
        blob = safetensors(facts, bytes(33))
    else:
        raw = bytearray(safetensors(facts, bytes(33)))
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
                st.sampled_from(b'\x00\x01 "{}[]:,-.0129aeF3\\u\xff')
            )
        blob = bytes(raw)
    try:
        ours = read(blob)
    except ModelFileError:
        return
    theirs = dict(library.deserialize(blob))  # type: ignore[no-untyped-call]
    assert {name: (t.dtype, list(t.shape), t.size) for name, t in ours.items()} == {
        name: (t["dtype"], t["shape"], len(t["data"])) for name, t in theirs.items()
    }


def test_h007_hostile_headers_are_refused_fast() -> None:
    many = {f"t{i}": entry(shape=[0], data_offsets=[0, 0]) for i in range(headers.MAX_TENSORS + 3)}
    blobs = {
        "16 MiB": safetensors(b"{" + b" " * headers.MAX_HEADER + b"}"),
        f"more than {headers.MAX_TENSORS} tensors": safetensors(many),
        "shape that is none": safetensors({"a": entry(shape=[1] * 9)}, b"1234"),
        "of metadata": safetensors({"__metadata__": {"a": "x" * 2**20}}),
        "more than": safetensors(b'{"a":[' + b"[]," * 2_000_000 + b"[]]}"),
        "cut off inside its header": safetensors(b"{}" * 100)[:100],
    }
    for told, blob in blobs.items():
        started = time.process_time()
        assert told in refused(blob)
        assert time.process_time() - started < 1.0


def test_h007_the_worst_header_that_is_accepted_is_read_in_time() -> None:
    many = {f"t{i:06d}": entry(shape=[0], data_offsets=[0, 0]) for i in range(headers.MAX_TENSORS)}
    blob = safetensors(many)
    started = time.process_time()
    assert len(read(blob)) == headers.MAX_TENSORS
    assert time.process_time() - started < 3.0


def test_h009_a_file_cut_anywhere_is_refused() -> None:
    blob = weights(random_tensors())
    for end in sorted({*range(0, len(blob), len(blob) // 100), 0, 7, 8, 9, len(blob) - 1}):
        assert "model.safetensors" in refused(blob[:end])


@pytest.mark.parametrize(
    ("blob", "told"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 99\n", "Git-LFS pointer of 65 bytes"),
        (b"\x1f\x8b" + bytes(20), "archive"),
        (bytes(4096), "zeros"),
        (b"\x80\x04\x95 a pickle in disguise", "begin like safetensors"),
    ],
)
def test_h009_another_kind_of_file_is_named(blob: bytes, told: str) -> None:
    assert told in refused(blob)
