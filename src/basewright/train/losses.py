"""One loss function per method. Each returns the sum over its supervised tokens; the loop divides once (H054)."""

from __future__ import annotations

from typing import Any

import torch

from basewright.data.pack import IGNORE, Packed
from basewright.train import kernels

CHUNK = 2048
"""Positions whose logits exist at a time, at most: never vocabulary x N values."""
LOGITS = 2**22
"""Logits that exist at a time, about: 16 MiB stay in a processor's last cache."""


def next_token(model: Any, row: Packed) -> torch.Tensor:
    """Cross-entropy in nats, summed over the supervised positions of a packed row; a scalar in float32.

    Only supervised positions reach the output projection.
    """
    device = next(model.parameters()).device
    ids, labels, positions = (torch.from_numpy(a).to(device) for a in (row.ids, row.labels, row.positions))
    decoder = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_1ND = decoder.model(
        input_ids=ids[None], position_ids=positions[None], use_cache=False, segment_lengths=row.lengths
    ).last_hidden_state
    keep = labels != IGNORE
    weight_VD = decoder.lm_head.weight
    chunk = min(CHUNK, max(64, LOGITS // len(weight_VD)))
    return kernels.cross_entropy(hidden_1ND[0, keep], weight_VD, labels[keep], chunk)
