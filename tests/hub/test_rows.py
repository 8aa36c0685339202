from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from basewright.formats.safetensors import read_header
from basewright.hub import rows
from tests.hub.folders import bf16, weights

NAME = "model.embed_tokens.weight"


def count(folder: Path, table: NDArray[np.float32], dtype: str) -> int:
    blob = weights({"first": np.ones(3, dtype=np.float32), NAME: table}, dtype)
    (folder / "x.safetensors").write_bytes(blob)
    found = read_header(io.BufferedReader(io.BytesIO(blob)), len(blob), "x")
    return rows.untrained(folder / "x.safetensors", found[NAME])


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_zero_tiny_and_repeated_rows_are_counted_once_each(tmp_path: Path, dtype: str) -> None:
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert count(tmp_path, table, dtype) == 0
    table[3] = 0.0
    table[7] = 2e-7
    table[[10, 20, 30]] = table[40]
    assert count(tmp_path, table, dtype) == 2 + 4


def test_rows_are_the_same_whatever_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    table[90] = table[5]
    monkeypatch.setattr(rows, "BLOCK", 7 * 16)
    assert count(tmp_path, table, "BF16") == 2


def test_values_that_are_not_finite_are_no_untrained_rows(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    table[0, 0], table[1, 0], table[2, 0] = np.nan, np.inf, 3e38
    assert count(tmp_path, table, "BF16") == 0


def test_bfloat16_is_read_as_torch_reads_it() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    raw = bf16(values)
    theirs = torch.frombuffer(bytearray(raw), dtype=torch.bfloat16).double().numpy()
    assert np.array_equal(rows._float64(np.frombuffer(raw, dtype="<u2")), theirs)
