"""Documents of a corpus, from folders, text files, JSON lines and tar archives, compressed or not; read, never run."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from basewright.errors import DataError

TEXT = (".txt", ".md", ".rst", ".py", ".text")
LINES = (".jsonl",)
ARCHIVES = (".tar", ".tar.gz", ".tar.xz", ".tgz")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
BROKEN = (OSError, EOFError, ValueError, KeyError, RecursionError, lzma.LZMAError, zlib.error, tarfile.TarError)
MAX_DOCUMENT = 64 * 2**20
MAX_ARCHIVE = 4 * 2**30


def documents(path: Path, suffixes: tuple[str, ...] = TEXT, exclude: Collection[Path] = ()) -> Iterator[str]:
    """Every document at `path` in order of name, but those at or below a path in `exclude`.

    Raises `DataError` naming the file that cannot be read.
    """
    if not path.exists():
        raise DataError(f"the corpus {path} does not exist", fix="correct [corpus].paths in the recipe")
    if path in exclude:
        return
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            if not inner.is_symlink() and (inner.is_dir() or inner.name.endswith(suffixes)):
                yield from documents(inner, suffixes, exclude)
        return
    try:
        yield from _file(path, suffixes)
    except BROKEN as error:
        raise DataError(f"{path.name} cannot be read: {error}", fix="repair or remove that file") from error


def _file(path: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    name = path.name
    if name.endswith(ARCHIVES):
        yield from _archive(path, suffixes)
        return
    with _open(path) as file:
        plain = name.removesuffix(".xz").removesuffix(".gz")
        if plain.endswith(LINES):
            for line in file:
                if line.strip():
                    yield str(json.loads(line)["text"])
        else:
            yield _text(plain, file.read(MAX_DOCUMENT))


def _open(path: Path) -> BinaryIO:
    if path.name.endswith(".xz"):
        return cast(BinaryIO, lzma.open(path, "rb"))
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _archive(path: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Members are read in memory, so no name in the archive can lead outside (H021); sizes are bounded."""
    total = 0
    with tarfile.open(path) as archive:
        for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
            if not member.name.endswith(suffixes):
                continue
            total += member.size
            if member.size > MAX_DOCUMENT or total > MAX_ARCHIVE:
                raise ValueError(f"{member.name} is larger than {MAX_DOCUMENT} bytes, or the archive too large")
            file = archive.extractfile(member)
            if file is not None:
                yield _text(member.name, file.read())


def _text(name: str, raw: bytes) -> str:
    """Of JSON, what people would read in it: each text on a line, behind its name and without tags."""
    text = raw.decode("utf-8")
    return "\n".join(_lines(json.loads(text), "")) if name.endswith(".json") else text


def _lines(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(inner, name if key == "text" else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _lines(inner, name)
    elif isinstance(value, str) and value.strip():
        yield f"{name}: {TAG.sub('', value)}".removeprefix(": ")
