"""Embedding rows that were never trained, seen from the weights alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright import signals
from basewright.formats.safetensors import Tensor

SMALL = 1e-6
NEAR = 0.01
"""Of the usual distance to the mean of a table: transformers enlarges one by the mean and 3e-5 of the spread around it,
which bfloat16 rounds to some thousandths."""
BLOCK = 4 * 2**20
"""Bytes read at a time."""
STORED: dict[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def untrained(path: Path, table: Tensor) -> int:
    """How many rows of an embedding table (V, D) training never reached, as far as they show it."""
    return sum(flags(path, table))


def flags(path: Path, table: Tensor) -> list[bool]:
    """For each row of an embedding table (V, D), whether it shows that training never reached it.

    Those are rows whose L2 norm is below 1e-6 (left at zero, or decayed to it), rows that equal another row bit for bit
    (filled with one value when the table was enlarged) and rows at the mean of all (the same, as transformers does
    it). Rows still at a random start are not told from trained ones.
    """
    small: list[bool] = []
    prints: list[bytes] = []
    total_D = np.zeros(table.shape[1])
    for block_RD, stored in _blocks(path, table):
        with np.errstate(all="ignore"):  # a value that is not finite makes a row that is not small
            small += (np.linalg.norm(block_RD, axis=1) < SMALL).tolist()
            total_D += block_RD.sum(axis=0)
        prints += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in stored]
    times = Counter(prints)
    mean = _at_mean(path, table, total_D / max(1, table.shape[0]))
    return [near_zero or at or times[one] > 1 for near_zero, at, one in zip(small, mean, prints, strict=True)]


def _at_mean(path: Path, table: Tensor, mean_D: NDArray[np.float64]) -> list[bool]:
    """Rows much nearer to the mean than rows are."""
    with np.errstate(all="ignore"):
        parts = [np.linalg.norm(block_RD - mean_D, axis=1) for block_RD, _ in _blocks(path, table)]
        apart_V = np.concatenate(parts) if parts else np.zeros(0)
        found: list[bool] = (apart_V < NEAR * np.median(apart_V)).tolist() if len(apart_V) else []
    return found


def _blocks(path: Path, table: Tensor) -> Iterator[tuple[NDArray[np.float64], NDArray[Any]]]:
    """(rows as numbers, rows as they are stored), some at a time."""
    rows, width = table.shape
    stored = STORED[table.dtype]
    step = max(1, BLOCK // (width * stored.itemsize))
    with path.open("rb") as file:
        file.seek(table.start)
        for begin in range(0, rows, step):
            signals.poll()
            count = min(step, rows - begin)
            block = np.frombuffer(file.read(count * width * stored.itemsize), dtype=stored).reshape(count, width)
            yield _float64(block), block


def _float64(block: NDArray[Any]) -> NDArray[np.float64]:
    """bfloat16, read as uint16, is the upper half of a float32."""
    if block.dtype == STORED["BF16"]:
        block = (block.astype(np.uint32) << 16).view(np.float32)
    return block.astype(np.float64)
