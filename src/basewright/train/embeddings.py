"""Embeddings of tokens that a base never trained: what they begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

SPREAD = 0.1
"""Of the table's own, around its mean: enough to tell tokens apart, and no stronger than a word."""


def fresh(table_VD: torch.Tensor, tokens: Sequence[int], seed: int) -> torch.Tensor:
    """Rows (T, D) in float32 for `tokens`: the mean of all others and, from `seed`, some of their spread.

    A row of zeros would leave a norm's input empty and its gradient some thousand times too large; equal rows could
    not be told apart. transformers begins with the mean too where it enlarges a table (Hewitt 2021).
    """
    others = torch.ones(len(table_VD), dtype=torch.bool)
    others[list(tokens)] = False
    known_KD = table_VD.detach()[others.to(table_VD.device)].float()
    noise_TD = torch.randn(len(tokens), table_VD.shape[1], generator=torch.Generator().manual_seed(seed))
    return known_KD.mean(0) + SPREAD * known_KD.std(0) * noise_TD.to(known_KD)


def unpad(model: Any, tokens: Sequence[int]) -> None:
    """Let the row that pads be trained, if it is one of these: torch gives a table's `padding_idx` no gradient."""
    read = model.get_input_embeddings()
    if getattr(read, "padding_idx", None) in tokens:
        read.padding_idx = None


def begin(model: Any, tokens: Sequence[int], seed: int) -> None:
    """Set them in a model whose weights are all trained, in every table that it reads or writes tokens with."""
    if not tokens:
        return
    unpad(model, tokens)
    read, written = model.get_input_embeddings(), model.get_output_embeddings()
    tables = [read.weight] if written is None or written.weight is read.weight else [read.weight, written.weight]
    with torch.no_grad():
        for table_VD in tables:
            table_VD[list(tokens)] = fresh(table_VD, tokens, seed).to(table_VD)
