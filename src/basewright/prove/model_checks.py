"""Checks that run the model: packed neighbours do not see each other, and accumulation changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from basewright.checks import at_most
from basewright.data import pack as packing
from basewright.data.pack import IGNORE, Packed
from basewright.records import Check
from basewright.text.encode import Encoded
from basewright.train import losses

SAMPLE = 8
"""Rows the model checks look at."""


def model_checks(model: Any, rows: Sequence[Encoded]) -> list[Check]:
    """On the shortest rows, which are as good as any for it and cost the least."""
    sample = sorted(rows, key=lambda row: len(row.ids))[:SAMPLE]
    return [labels(sample), isolation(model, sample, model.config.vocab_size), *accumulation(model, sample)]


def labels(rows: Sequence[Encoded]) -> Check:
    """Packed, each row predicts what it predicts by itself, from positions that begin at 0."""
    packed = packing.pack(rows)
    wrong, start = 0, 0
    for row in rows:
        part = slice(start, start + len(row.ids))
        expected = [i if counts else IGNORE for i, counts in zip(row.ids[1:], row.mask[1:], strict=True)]
        right = (
            np.array_equal(packed.ids[part], row.ids)
            and np.array_equal(packed.labels[part], [*expected, IGNORE])
            and np.array_equal(packed.positions[part], range(len(row.ids)))
        )
        wrong += not right
        start += len(row.ids)
    return at_most(
        "packed rows keep their labels and positions",
        float(wrong),
        0.0,
        f"of {len(rows)} packed rows, those with labels other than their next tokens, or positions not from 0",
    )


def isolation(model: Any, rows: Sequence[Encoded], vocabulary: int) -> Check:
    """Change every token of one packed row; the loss of its neighbours must not move (H070)."""
    sample = list(rows[:SAMPLE])
    at = len(sample) // 2  # it has neighbours before and after
    silenced = Encoded(sample[at].ids, (False,) * len(sample[at].ids))
    other = Encoded(tuple((i + 1) % vocabulary for i in silenced.ids), silenced.mask)
    with torch.no_grad():
        before, after = (
            losses.next_token(model, packing.pack([*sample[:at], one, *sample[at + 1 :]])).item()
            for one in (silenced, other)
        )
    moved = abs(after - before) / max(1.0, abs(before))
    return at_most(
        "packed rows do not see each other",
        moved,
        1e-6,
        f"relative change of the loss of {len(sample) - 1} packed rows when a neighbour's tokens are all changed",
    )


def accumulation(model: Any, rows: Sequence[Encoded]) -> list[Check]:
    """Loss and gradient of one batch of 8 rows equal those of 8 batches of one (H054)."""
    sample = list(rows[:SAMPLE])
    loss, together = _gradient(model, [packing.pack(sample)])
    loss_apart, apart = _gradient(model, [packing.pack([row]) for row in sample])
    form = f"1 x {len(sample)} rows and {len(sample)} x 1 rows, float32"
    return [
        at_most(
            "accumulation does not change the loss",
            abs(loss - loss_apart) / max(abs(loss), 1e-9),
            1e-5,
            f"relative distance of the loss of {form}",
        ),
        at_most(
            "accumulation does not change the gradient",
            float((together - apart).norm() / together.norm()),
            1e-4,
            f"relative distance of the gradient of {form}",
        ),
    ]


def _gradient(model: Any, micro: Sequence[Packed]) -> tuple[float, torch.Tensor]:
    """(nats per supervised token, its gradient over all parameters) of one step."""
    supervised = sum(row.supervised for row in micro)
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    loss = 0.0
    for row in micro:
        nats = losses.next_token(model, row) / supervised
        loss += nats.item()
        for slot, grad in zip(total, torch.autograd.grad(nats, parameters, allow_unused=True), strict=True):
            if grad is not None:
                slot += grad
    return loss, torch.cat([slot.flatten() for slot in total])
