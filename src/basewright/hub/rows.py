"""Embedding rows that were never trained, seen from the weights alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright import signals
from basewright.formats.safetensors import Tensor

SMALL = 1e-6
BLOCK = 4 * 2**20
"""Bytes read at a time."""
STORED: dict[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def untrained(path: Path, table: Tensor) -> int:
    """How many rows of an embedding table (V, D) training never reached, as far as they show it."""
    return sum(flags(path, table))


def flags(path: Path, table: Tensor) -> list[bool]:
    """For each row of an embedding table (V, D), whether it shows that training never reached it.

    Those are rows whose L2 norm is below 1e-6 (left at zero, or decayed to it) and rows that equal another row
    bit for bit (filled with one value when the table was enlarged). Rows still at a random start are not told from
    trained ones.
    """
    rows, width = table.shape
    stored = STORED[table.dtype]
    step = max(1, BLOCK // (width * stored.itemsize))
    small: list[bool] = []
    prints: list[bytes] = []
    with path.open("rb") as file:
        file.seek(table.start)
        for begin in range(0, rows, step):
            signals.poll()
            count = min(step, rows - begin)
            block = np.frombuffer(file.read(count * width * stored.itemsize), dtype=stored).reshape(count, width)
            with np.errstate(all="ignore"):  # a value that is not finite makes a row that is not small
                small += (np.linalg.norm(_float64(block), axis=1) < SMALL).tolist()
            prints += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in block]
    times = Counter(prints)
    return [near_zero or times[one] > 1 for near_zero, one in zip(small, prints, strict=True)]


def _float64(block: NDArray[Any]) -> NDArray[np.float64]:
    """bfloat16, read as uint16, is the upper half of a float32."""
    if block.dtype == STORED["BF16"]:
        block = (block.astype(np.uint32) << 16).view(np.float32)
    return block.astype(np.float64)
