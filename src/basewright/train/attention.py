"""Attention that never crosses the border of a segment, and pays nothing for padding, on any device.

Registered with transformers under a name, so every architecture that uses its attention interface can run packed
rows. A packed row is (1, N) tokens with the segments' lengths; each segment is one causal call of
scaled_dot_product_attention, and equal neighbours share one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

NAME = "basewright_segments"


def install() -> None:
    """Make `NAME` known to transformers. Safe to call again."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_args: Any, **_kwargs: Any) -> None:
    return None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    segment_lengths: Sequence[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    **_kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query (1, heads, N, head_dim), key and value (1, kv_heads, N, head_dim) → (1, N, heads, head_dim)."""
    out = []
    for start, count, length in _runs(segment_lengths):
        q, k, v = (_segments(x, start, count, length) for x in (query, key, value))
        attended = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
        )
        out.append(attended.transpose(1, 2).reshape(1, count * length, q.shape[1], q.shape[3]))
    return torch.cat(out, dim=1), None


def _segments(x: torch.Tensor, start: int, count: int, length: int) -> torch.Tensor:
    """(1, heads, N, head_dim) → (count, heads, length, head_dim) for `count` equal segments from `start`."""
    heads, dim = x.shape[1], x.shape[3]
    return x[0, :, start : start + count * length].reshape(heads, count, length, dim).transpose(0, 1)


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start, how many, length) of neighbouring segments of equal length."""
    start = 0
    for length, group in groupby(lengths):
        count = len(list(group))
        yield start, count, length
        start += count * length
