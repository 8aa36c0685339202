from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import ModelFileError
from basewright.formats import strict

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_h023_strict_json_reads_what_json_writes(value: Any) -> None:
    assert strict.parse(json.dumps(value, ensure_ascii=False).encode(), "x.json") == value


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": -0}',
        b'{"a": 01}',
        b'{"a": 12345678901234567890123}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b'{"a": 1} x',
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"{'a': 1}",
        b'{"a": 1,}',
        b"",
    ],
)
def test_h023_lenient_json_is_refused_with_the_one_error(text: bytes) -> None:
    with pytest.raises(ModelFileError) as caught:
        strict.parse(text, "x.json")
    assert "x.json" in caught.value.message
    assert "\n" not in caught.value.message


def told(data: bytes) -> str:
    """The message of the one error, or nothing when the bytes are JSON."""
    try:
        strict.parse(data, "x.json")
    except ModelFileError as error:
        return error.message
    return ""


@given(st.binary(max_size=200))
def test_h011_any_bytes_give_a_value_or_the_one_error(data: bytes) -> None:
    assert "\n" not in told(data)


def test_a_key_that_comes_twice_is_named() -> None:
    with pytest.raises(ModelFileError, match="'b' appears twice"):
        strict.parse(b'{"a": 1, "b": 2, "c": 3, "b": 4}', "x.json")


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git-LFS pointer of"),
        (b"  \n<!DOCTYPE html><title>404</title>", "web page"),
        (b"<html><body>Sign in", "web page"),
        (b"\x1f\x8b\x08rest", "archive"),
        (b"PK\x03\x04rest", "archive"),
        (bytes(64), "zeros"),
    ],
)
def test_h009_what_is_something_else_is_named_as_what_it_is(head: bytes, named: str) -> None:
    with pytest.raises(ModelFileError, match=named):
        strict.parse(head, "config.json")


def test_h022_links_pipes_and_folders_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert strict.read(tmp_path / "real", 10) == b"{}"
    for name in ("link", "broken", "folder", "pipe", "absent"):
        with pytest.raises(ModelFileError, match=name):
            strict.read(tmp_path / name, 10)


def test_a_file_over_its_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert strict.read(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ModelFileError, match="larger"):
        strict.read(tmp_path / "x", 4)


def test_transformers_word_for_no_limit_is_a_number() -> None:
    assert strict.parse(b"[1000000000000000019884624838656]", "x") == [int(1e30)]
    with pytest.raises(ModelFileError, match="out of range"):
        strict.parse(b"[1000000000000000019884624838657]", "x")
