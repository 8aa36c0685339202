"""Attention that never crosses the border of a segment, and pays next to nothing for padding, on any device.

Registered with transformers under a name, so every architecture that uses its attention interface can run packed
rows. A packed row is (1, N) tokens with the segments' lengths; neighbours of about the same length share one call,
padded on the right. Causality hides what is padded: it sees, and is not seen. An encoder's attention hides nothing, so
there a mask does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from basewright.train import kernels

NAME = "basewright_segments"
BUCKET = 16
"""Lengths that differ by less share a call: a call costs as much as some hundred short tokens."""
PADDED_UP_TO = 128
"""Longer segments are never padded: their call costs little beside what it computes."""


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

    A token sees `sliding_window` tokens to its left, itself among them, and in an encoder as many to its right;
    `softcap` bounds the scores. What else an architecture asks for is not known here: `opened.open_model` finds out.
    """
    causal = getattr(module, "is_causal", True)
    runs = _runs(tuple(segment_lengths))
    sizes = [run.tokens for run in runs]
    parts = zip(runs, *(x.squeeze(0).split(sizes, dim=1) for x in (query, key, value)), strict=True)
    out = []
    for run, *qkv in parts:
        q, k, v = (_segments(x, run) for x in qkv)
        window = sliding_window if sliding_window is not None and run.longest > sliding_window else None
        if softcap is not None:
            seen = _seen(run, window, causal, q.device)
            attended = _capped(q, k, v, seen, scaling or q.shape[3] ** -0.5, softcap)
        elif window is not None or not (causal or run.even):
            attended = _seen_only(q, k, v, _seen(run, window, causal, q.device), scaling, dropout)
        else:
            attended = kernels.attention(q, k, v, scaling, dropout, causal=causal)
        out.append(_joined(attended, run))
    return torch.cat(out, dim=0)[None], None


@lru_cache(maxsize=64)
def _seen(run: Run, window: int | None, causal: bool, device: torch.device) -> torch.Tensor:
    """True where a row of a run's segments may see a column; (L, L) where that is the same for all of them, (1, L) of
    each segment where it is the same for all of its rows, else (L, L) of each."""
    at = torch.arange(run.longest, device=device)
    behind = at[:, None] - at[None]
    seen = torch.ones(1, run.longest, dtype=torch.bool, device=device)
    if window is not None:
        seen = behind.abs() < window
    if causal:
        return seen & (behind >= 0)
    return seen if run.even else seen & (at < torch.tensor(run.lengths, device=device)[:, None, None, None])


def _seen_only(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: torch.Tensor, scaling: float | None, dropout: float
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=seen, scale=scaling, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
    )


def _capped(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: torch.Tensor, scaling: float, softcap: float
) -> torch.Tensor:
    """Attention whose scores are bounded by a tanh, which no fused kernel of torch has: written out (Gemma 2)."""
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    scores = softcap * torch.tanh(q @ k.transpose(2, 3) * scaling / softcap)
    scores = scores.masked_fill(~seen, -torch.inf)
    return functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v


class Run(NamedTuple):
    """Lengths of neighbouring segments that share a call."""

    lengths: tuple[int, ...]

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def even(self) -> bool:
        return len(set(self.lengths)) == 1


def _segments(x: torch.Tensor, run: Run) -> torch.Tensor:
    """(heads, tokens, head_dim) → (segments, heads, longest, head_dim), shorter ones padded on the right."""
    if run.even:
        return x.view(x.shape[0], len(run.lengths), run.longest, x.shape[2]).transpose(0, 1)
    padded: torch.Tensor = _Padded.apply(x, run)  # type: ignore[no-untyped-call]
    return padded


def _joined(attended: torch.Tensor, run: Run) -> torch.Tensor:
    """(segments, heads, longest, head_dim) → (tokens, heads, head_dim), without what was padded."""
    flat = attended.transpose(1, 2).flatten(0, 1)
    return flat if run.even else flat.index_select(0, _places(run, flat.device)[1])


class _Padded(torch.autograd.Function):
    """Behind a shorter segment its last token is repeated; what comes back from there is zero, since nobody saw it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, run: Run) -> torch.Tensor:
        ctx.run = run
        padded = x.index_select(1, _places(run, x.device)[0])
        return padded.view(x.shape[0], len(run.lengths), run.longest, x.shape[2]).transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        flat = grads[0].transpose(0, 1).flatten(1, 2)
        return flat.index_select(1, _places(ctx.run, flat.device)[1]), None


@lru_cache(maxsize=64)
def _places(run: Run, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each place in the padded segments, its token, (S * L,); of each token, its place there, (tokens,)."""
    lengths_S1 = torch.tensor(run.lengths, device=device)[:, None]
    at_L = torch.arange(run.longest, device=device)
    starts_S1 = lengths_S1.cumsum(0) - lengths_S1
    tokens_SL = starts_S1 + torch.minimum(at_L, lengths_S1 - 1)
    return tokens_SL.flatten(), (at_L < lengths_S1).flatten().nonzero()[:, 0]


@lru_cache(maxsize=64)
def _runs(lengths: tuple[int, ...]) -> tuple[Run, ...]:
    return tuple(_grouped(lengths))


def _grouped(lengths: tuple[int, ...]) -> Iterator[Run]:
    """Runs of equal lengths, and of short ones that fall into one bucket."""
    group = list(lengths[:1])
    for length in lengths[1:]:
        if length != group[0] and not (_bucket(length) == _bucket(group[0]) and length <= PADDED_UP_TO):
            yield Run(tuple(group))
            group = []
        group.append(length)
    yield Run(tuple(group))


def _bucket(length: int) -> int:
    return (length - 1) // BUCKET
