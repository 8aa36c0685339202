"""Faults put into a GGUF file in place, as a wrong conversion would have written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader


def set_key(path: Path, key: str, value: float | bytes) -> None:
    """Replace a number, or a text by one of the same length."""
    field = GGUFReader(path, "r+").fields[key]
    part: Any = field.parts[field.data[0]]
    if isinstance(value, bytes):
        part[:] = np.frombuffer(value, dtype=np.uint8)
    else:
        part[0] = value


def set_text(path: Path, key: str, index: int, value: str) -> None:
    """Replace one text of a list by one of the same length in bytes."""
    field = GGUFReader(path, "r+").fields[key]
    part: Any = field.parts[field.data[index]]
    part[:] = np.frombuffer(value.encode(), dtype=np.uint8)


def texts(path: Path, key: str) -> list[str]:
    found: list[str] = GGUFReader(path).fields[key].contents()
    return found


def tensor(path: Path, name: str) -> Any:
    """The stored values of a tensor, to be changed in place."""
    return next(each.data for each in GGUFReader(path, "r+").tensors if each.name == name)
