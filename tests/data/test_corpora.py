"""Documents out of files, archives and folders; hostile or broken ones are named."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from pathlib import Path

import pytest

from basewright.data.corpora import documents
from basewright.errors import DataError


def test_the_same_documents_from_every_container(tmp_path: Path) -> None:
    lines = b'{"text": "one"}\n{"text": "two"}\n'
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "c.jsonl.xz").write_bytes(lzma.compress(lines))
    with tarfile.open(tmp_path / "d.tar.xz", "w:xz") as archive:
        for name, text in (("2.md", b"two"), ("1.md", b"one"), ("skip.png", b"\x89PNG")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    folder = tmp_path / "e"
    folder.mkdir()
    (folder / "1.txt").write_text("one")
    (folder / "2.txt").write_text("two")
    (folder / "3.bin").write_bytes(b"\xff")
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.xz", "d.tar.xz", "e"):
        assert list(documents(tmp_path / name)) == ["one", "two"], name


def test_held_out_paths_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert list(documents(tmp_path, exclude={tmp_path / "in"})) == ["b"]
    assert list(documents(tmp_path, exclude={tmp_path / "b.txt"})) == ["a"]


def test_h063_every_cut_of_a_compressed_file_is_a_typed_error(tmp_path: Path) -> None:
    whole = lzma.compress(b'{"text": "one"}\n' * 50)
    path = tmp_path / "x.jsonl.xz"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"x\.jsonl\.xz cannot be read"):
            list(documents(path))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"x\.txt cannot be read"):
        list(documents(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        list(documents(tmp_path / "none"))


def test_of_json_the_texts_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"Area": {"text": "<b>small</b>", "note": ["one", "two"]}, "rank": 3, "empty": ""}'
    )
    assert list(documents(tmp_path / "a.json")) == ["Area: small\nnote: one\nnote: two"]
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"a\.json cannot be read"):
        list(documents(tmp_path / "a.json"))
