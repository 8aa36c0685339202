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
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query (1, heads, N, head_dim), key and value (1, kv_heads, N, head_dim) → (1, N, heads, head_dim).

    A token sees `sliding_window` tokens, itself among them; `softcap` bounds the scores. What else an architecture
    asks for is not known here: `opened.open_model` finds out.
    """
    out = []
    for start, count, length in _runs(segment_lengths):
        q, k, v = (_segments(x, start, count, length) for x in (query, key, value))
        near = (
            _near(length, sliding_window, q.device) if sliding_window is not None and length > sliding_window else None
        )
        if softcap is None:
            attended = functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=near,
                is_causal=near is None,
                scale=scaling,
                dropout_p=dropout,
                enable_gqa=q.shape[1] != k.shape[1],
            )
        else:
            attended = _capped(q, k, v, near, scaling or q.shape[3] ** -0.5, softcap)
        out.append(attended.transpose(1, 2).reshape(1, count * length, q.shape[1], v.shape[3]))
    return torch.cat(out, dim=1), None


def _near(length: int, window: int, device: torch.device) -> torch.Tensor:
    """(length, length), true where a row may see a column."""
    at = torch.arange(length, device=device)
    behind = at[:, None] - at[None]
    return (behind >= 0) & (behind < window)


def _capped(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, near: torch.Tensor | None, scaling: float, softcap: float
) -> torch.Tensor:
    """Attention whose scores are bounded by a tanh, which no fused kernel of torch has: written out (Gemma 2)."""
    groups, length = q.shape[1] // k.shape[1], q.shape[2]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    near = _near(length, length, q.device) if near is None else near
    scores = softcap * torch.tanh(q @ k.transpose(2, 3) * scaling / softcap)
    scores = scores.masked_fill(~near, -torch.inf)
    return functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v


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
