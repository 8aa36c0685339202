"""Bytes of a data file as text: unpacked by what they are, decoded as UTF-8; every fault names the file and place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import Any

from basewright.errors import DataError

MAX_BYTES = 4 * 2**30
"""Of a file once unpacked; all of it is held in memory."""
OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
OTHERS = {
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself",
}


def head(path: Path) -> bytes:
    """The first bytes of a file. Raises `DataError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", fix="correct the path of the data") from error


def text(path: Path) -> str:
    """The whole file as text. Raises `DataError`."""
    raw = _unpacked(path)
    for start, what in OTHERS.items():
        if raw.startswith(start):
            reason, _, fix = what.partition("; ")
            raise DataError(f"{path.name} is {reason}", fix=fix)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path.name} line {line} is not UTF-8 (byte {error.start})", fix="save the file as UTF-8"
        ) from error


def _unpacked(path: Path) -> bytes:
    start = head(path)
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)
    try:
        with opener(path, "rb") as file:
            raw: bytes = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path.name} is damaged: {error}", fix="copy the file again") from error
    if len(raw) > MAX_BYTES:
        raise DataError(f"{path.name} is larger than {MAX_BYTES // 2**30} GiB", fix="divide it into several files")
    return raw
