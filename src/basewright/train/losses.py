"""One loss function per method. Each returns the sum over its supervised tokens; the loop divides once (H054)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from basewright.data.pack import IGNORE, Packed

CHUNK = 2048
"""Positions whose logits exist at a time: vocabulary x CHUNK values, never vocabulary x N."""


def next_token(model: Any, row: Packed) -> torch.Tensor:
    """Cross-entropy in nats, summed over the supervised positions of a packed row; a scalar in float32.

    Only supervised positions reach the output projection.
    """
    device = next(model.parameters()).device
    ids, labels, positions = (torch.from_numpy(a).to(device) for a in (row.ids, row.labels, row.positions))
    decoder = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_1ND = decoder.base_model(
        input_ids=ids[None], position_ids=positions[None], use_cache=False, segment_lengths=row.lengths
    ).last_hidden_state
    keep = labels != IGNORE
    hidden_KD, target_K = hidden_1ND[0, keep], labels[keep]
    total = torch.zeros((), dtype=torch.float32, device=device)
    chunks = list(zip(hidden_KD.split(CHUNK), target_K.split(CHUNK), strict=True))
    for hidden_CD, target_C in chunks:
        if len(chunks) > 1:
            total = total + checkpoint(_cross_entropy, decoder, hidden_CD, target_C, use_reentrant=False)
        else:
            total = total + _cross_entropy(decoder, hidden_CD, target_C)
    return total


def _cross_entropy(decoder: Any, hidden_CD: torch.Tensor, target_C: torch.Tensor) -> torch.Tensor:
    logits_CV = decoder.get_output_embeddings()(hidden_CD).float()
    cap = getattr(decoder.config, "final_logit_softcapping", None)
    if cap is not None:
        logits_CV = cap * torch.tanh(logits_CV / cap)
    return functional.cross_entropy(logits_CV, target_C, reduction="sum")
