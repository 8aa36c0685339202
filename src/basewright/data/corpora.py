"""Documents of a corpus, from folders, text files, JSON lines and tar archives, compressed or not; read, never run."""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from basewright.errors import DataError

TEXT = (".txt", ".md", ".rst", ".py", ".text")
LINES = (".jsonl",)
ARCHIVES = (".tar", ".tar.gz", ".tar.xz", ".tgz")
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
    except (OSError, EOFError, ValueError, KeyError, lzma.LZMAError, zlib.error, tarfile.TarError) as error:
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
            yield file.read(MAX_DOCUMENT).decode("utf-8")


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
                yield file.read().decode("utf-8")
