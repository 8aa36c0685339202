"""A stranger's files: opened without following links, bounded, named when they are something else, strict JSON.

The first gate of everything that is read from a model's folder (H009, H011, H022, H023); every fault is one
`ModelFileError`.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter
from io import BufferedReader
from pathlib import Path
from typing import Any

from basewright.errors import FileCode, ModelFileError

AGAIN = "copy the file again from where it came from"
DEPTH = 64
DIGITS = 19
"""Of the longest integer: what fits 64 bits."""
NO_LIMIT = "1000000000000000019884624838656"
"""The one longer integer: how transformers spells that a text may have any length, in most tokenizers' configs."""
MAX_MARKS = 3 * 2**20
"""Commas, colons and opening brackets, wherever they stand; the largest tokenizers have two million. It is what
bounds memory: an empty list is three bytes in a file and sixty in Python."""


def open_file(path: Path) -> BufferedReader:
    """A regular file, itself and not a link to another, open for reading. Raises `ModelFileError`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # not blocking: a pipe must not hang us
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path.parent.name} holds no {path.name}",
            fix=f"add {path.name} to that folder",
            code="missing",
            file=path.name,
        ) from error
    except OSError as error:
        reason = "is a link" if path.is_symlink() else f"cannot be opened: {error.strerror}"
        raise ModelFileError(
            f"{path.name} in {path.parent.name} {reason}",
            fix="copy the folder with its links resolved (cp -rL) and use the copy",
            code="unreadable",
            file=path.name,
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise fault(path.name, f"in {path.parent.name} is not a regular file", "unreadable")
    return os.fdopen(handle, "rb")


def read(path: Path, limit: int) -> bytes:
    """All bytes of a regular file of at most `limit` bytes. Raises `ModelFileError`."""
    with open_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise fault(path.name, f"is larger than {limit / 2**20:.0f} MiB", "too-large")
    return data


def refuse_mistaken(head: bytes, size: int, name: str) -> None:
    """Say what a file is when it is not what its name says (H009). `head`: its first bytes. Raises `ModelFileError`."""
    start = head.lstrip().lower()
    if size == 0:
        what, fix = "is empty", AGAIN
    elif head.startswith(b"version https://git-lfs"):
        what, fix = f"is a Git-LFS pointer of {size} bytes, not the file itself", "run `git lfs pull` in that folder"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml")):
        what, fix = "is a web page, not the file itself", "download the file itself, not the page that shows it"
    elif head.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"7z\xbc\xaf")):
        what, fix = "is a compressed archive", "unpack it first"
    elif not head.strip(b"\0"):
        what, fix = "holds only zeros where it should begin", AGAIN
    else:
        return
    raise ModelFileError(f"{name} {what}", fix=fix, code="mistaken" if size else "cut-off", file=name, offset=0)


def parse(data: bytes, name: str) -> Any:
    """Strict JSON: UTF-8, no key twice, finite numbers, integers of 64 bits in their one spelling, depth <= 64.

    Raises `ModelFileError`, which says what the file is when it is no JSON at all.
    """
    refuse_mistaken(data[:512], len(data), name)
    if sum(data.count(mark) for mark in (b",", b":", b"[", b"{")) > MAX_MARKS:
        raise fault(name, "holds too many values", "too-large", 0)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        _check(value)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise fault(name, f"is not strict JSON: {reason}", "malformed", _offset(error)) from error
    return value


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """`parse` for a file whose JSON must be an object."""
    value = parse(data, name)
    if not isinstance(value, dict):
        raise fault(name, f"holds a {type(value).__name__}, not an object", "malformed", 0)
    return value


def text(data: bytes, name: str) -> str:
    """UTF-8, strictly. Raises `ModelFileError`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(name, "is not UTF-8", "malformed", error.start) from error


def fault(name: str, what: str, code: FileCode, offset: int | None = None) -> ModelFileError:
    """The error for a file that only another copy mends."""
    return ModelFileError(f"{name} {what}", fix=AGAIN, code=code, file=name, offset=offset)


def _offset(error: Exception) -> int | None:
    """Where JSON stopped making sense, in characters before it, which are bytes in all that is ASCII."""
    if isinstance(error, UnicodeDecodeError):
        return error.start
    return error.pos if isinstance(error, json.JSONDecodeError) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"the key {twice[:80]!r} appears twice")
    return found


def _integer(text: str) -> int:
    if (len(text) > DIGITS and text != NO_LIMIT) or text == "-0":
        raise ValueError(f"the number {text[:24]} is out of range")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:24]} is out of range")
    return value


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _check(value: Any) -> None:
    """Depth, and text that is Unicode: half a surrogate pair is refused by other readers (H008)."""
    level = [value]
    for _ in range(DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode()
            elif isinstance(item, dict):
                below += [*item, *item.values()]
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise ValueError(f"nested deeper than {DEPTH}")
