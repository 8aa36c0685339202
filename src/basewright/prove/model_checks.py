"""Checks that run the model: packed neighbours do not see each other, and accumulation changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from basewright.checks import at_most
from basewright.data.pack import IGNORE
from basewright.records import Check
from basewright.train.losses import told
from basewright.train.objectives import Labelled, Objective
from basewright.train.opened import light, widened

SAMPLE = 8
"""Rows the model checks look at."""


def model_checks(model: Any, objective: Objective) -> list[Check]:
    """On the shortest rows, which are as good as any for it and cost the least."""
    shortest = sorted(range(len(objective.lengths)), key=objective.lengths.__getitem__)[:SAMPLE]
    with widened(model):
        sample = objective.only(shortest).begin(model)
        return [labels(sample), isolation(model, sample, model.config.vocab_size), *accumulation(model, sample)]


def labels(sample: Objective) -> Check:
    """Packed, each row teaches what it teaches by itself, at positions that begin at 0."""
    packed, rows = sample.pack(_all(sample)), sample.texts(_all(sample))
    wrong, start = 0, 0
    for row, expected in zip(rows, _expected(sample), strict=True):
        part = slice(start, start + len(row.ids))
        right = (
            np.array_equal(packed.ids[part], row.ids)
            and np.array_equal(packed.labels[part], expected)
            and np.array_equal(packed.positions[part], range(len(row.ids)))
        )
        wrong += not right
        start += len(row.ids)
    return at_most(
        "packed rows keep their labels and positions",
        float(wrong),
        0.0,
        f"of {len(rows)} packed rows, with labels other than their next tokens or class, or positions not from 0",
    )


def _expected(sample: Objective) -> list[list[int]]:
    """What each text teaches at each of its tokens."""
    rows = sample.texts(_all(sample))
    if isinstance(sample, Labelled):
        numbered = zip(rows, sample.classes, strict=True)
        return [[number if read else IGNORE for read in row.mask] for row, number in numbered]
    return [
        [*(i if counts else IGNORE for i, counts in zip(row.ids[1:], row.mask[1:], strict=True)), IGNORE]
        for row in rows
    ]


def isolation(model: Any, sample: Objective, vocabulary: int) -> Check:
    """Change every token of one packed row; the loss of its neighbours must not move (H070)."""
    packed = sample.pack(_all(sample))
    at = len(packed.lengths) // 2  # it has neighbours before and after
    begin = sum(packed.lengths[:at])
    here = slice(begin, begin + packed.lengths[at])
    ids, targets = packed.ids.copy(), packed.labels.copy()
    ids[here] = (ids[here] + 1) % vocabulary
    targets[here] = IGNORE
    with torch.no_grad():
        before, after = (
            told(sample.loss(model, replace(packed, ids=one, labels=targets))).loss.item() for one in (packed.ids, ids)
        )
    moved = abs(after - before) / max(1.0, abs(before))
    return at_most(
        "packed rows do not see each other",
        moved,
        1e-6,
        f"relative change of the loss of {len(packed.lengths) - 1} packed rows when a neighbour's tokens all change",
    )


def accumulation(model: Any, sample: Objective) -> list[Check]:
    """Loss and gradient of one batch of 8 rows equal those of 8 batches of one (H054)."""
    loss, together = _gradient(model, sample, [_all(sample)])
    loss_apart, apart = _gradient(model, sample, [[row] for row in _all(sample)])
    form = f"1 x {len(_all(sample))} rows and {len(_all(sample))} x 1 rows, float32"
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
            f"relative distance of the gradient, where it passes norms and biases, of {form}",
        ),
    ]


def _all(sample: Objective) -> list[int]:
    return list(range(len(sample.lengths)))


def _gradient(model: Any, sample: Objective, micro: Sequence[Sequence[int]]) -> tuple[float, torch.Tensor]:
    """(loss per supervised token or pair, its gradient) of one step. It is that of what is `light`, which has come
    through all of the model: those of all parameters would be three models more in memory."""
    packs = [sample.pack(rows) for rows in micro]
    supervised = sum(packed.supervised for packed in packs)
    parameters = [getattr(part, name) for part, name in light(model)]
    total = [torch.zeros_like(p) for p in parameters]
    loss = 0.0
    for packed in packs:
        part = told(sample.loss(model, packed)).loss / supervised
        loss += part.item()
        for slot, grad in zip(total, torch.autograd.grad(part, parameters, allow_unused=True), strict=True):
            if grad is not None:
                slot += grad
    return loss, torch.cat([slot.flatten() for slot in total])
