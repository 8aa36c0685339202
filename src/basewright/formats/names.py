"""File names that mean the same single file on every system."""

from __future__ import annotations

import re

from basewright.errors import ModelFileError

SAFE = re.compile(r"[A-Za-z0-9._-]{1,255}")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Devices of Windows, whatever the extension."""


def check_name(name: str, where: str) -> str:
    """A basename under POSIX and Windows rules alike (H006, H022). Raises `ModelFileError` naming `where`."""
    if not SAFE.fullmatch(name) or name.startswith("..") or name.endswith(".") or RESERVED.fullmatch(name):
        raise ModelFileError(
            f"{where} names the file {name[:80]!r}, which is not a plain file name",
            fix="give it a plain name of letters, digits, '.', '_' and '-', without folders",
            code="name",
            file=where,
        )
    return name
