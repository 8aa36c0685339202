"""Checks that run the model: packed neighbours do not see each other, and accumulation changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from basewright.checks import at_most
from basewright.data.pack import Packed, pack
from basewright.records import Check
from basewright.text.encode import Encoded
from basewright.train import losses

SAMPLE = 8
"""Rows the model checks look at."""


def isolation(model: Any, rows: Sequence[Encoded], vocabulary: int) -> Check:
    """Change every token of one packed row; the loss of its neighbours must not move (H070)."""
    sample = list(rows[:SAMPLE])
    other = Encoded(tuple((i + 1) % vocabulary for i in sample[0].ids), (False,) * len(sample[0].ids))
    silenced = Encoded(sample[0].ids, (False,) * len(sample[0].ids))
    with torch.no_grad():
        before = losses.next_token(model, pack([silenced, *sample[1:]])).item()
        after = losses.next_token(model, pack([other, *sample[1:]])).item()
    moved = abs(after - before) / max(1.0, abs(before))
    return at_most(
        "packed rows do not see each other",
        moved,
        1e-6,
        f"relative change of the loss of {len(sample) - 1} packed rows when a neighbour's tokens are all changed",
    )


def accumulation(model: Any, rows: Sequence[Encoded]) -> Check:
    """The gradient of one batch of 8 rows equals that of 8 batches of one (H054)."""
    sample = list(rows[:SAMPLE])
    together = _gradient(model, [pack(sample)])
    apart = _gradient(model, [pack([row]) for row in sample])
    error = float((together - apart).norm() / together.norm())
    return at_most(
        "accumulation does not change the gradient",
        error,
        1e-4,
        f"relative distance of the gradient of 1 x {len(sample)} rows and {len(sample)} x 1 rows, float32",
    )


def _gradient(model: Any, micro: Sequence[Packed]) -> torch.Tensor:
    supervised = sum(row.supervised for row in micro)
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for row in micro:
        nats = losses.next_token(model, row) / supervised
        for slot, grad in zip(total, torch.autograd.grad(nats, parameters, allow_unused=True), strict=True):
            if grad is not None:
                slot += grad
    return torch.cat([slot.flatten() for slot in total])
