"""Segments into rows of a fixed budget of tokens, in an order that is a pure function of (seed, step).

A segment (an example, or a window of a document) stays whole and keeps its own positions; the attention never
crosses its border (H070), so packing changes the speed and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from basewright.errors import DataError
from basewright.text.encode import Encoded

IGNORE = -100
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Packed:
    """Segments laid end to end. N tokens, S segments."""

    ids: Ints
    """(N,) token ids."""
    labels: Ints
    """(N,) the id that position must predict, or IGNORE."""
    positions: Ints
    """(N,) position inside its own segment."""
    lengths: tuple[int, ...]
    """(S,) tokens of each segment."""
    weight: float = 1.0
    """Of its loss against that of others in the same step."""
    replayed: bool = False
    """Whether it is general text beside the rows."""

    @property
    def supervised(self) -> int:
        """What the loss of a step is divided by, summed over its rows: here the tokens that are predicted."""
        return int((self.labels != IGNORE).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPairs(Packed):
    """Segments that are two answers to each prompt, and what the reference says of them. P pairs."""

    chosen: Ints
    """(P,) number of the segment with the better answer."""
    rejected: Ints
    """(P,)"""
    reference: Floats
    """(S,) log-likelihood of each answer under the model before the first step, in nats."""

    @property
    def supervised(self) -> int:
        """Pairs."""
        return len(self.chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRatings(Packed):
    """Segments that are rated answers, in groups; and prompts of each group with answers to its other prompts."""

    weights: Floats
    """(S,) what each answer counts, below 0 where it is not wanted."""
    reference: Floats
    """(S,) log-likelihood of each answer under the model before the first step, in nats."""
    strangers: Packed
    """S segments too, in the same groups."""
    strangers_reference: Floats
    """(S,)"""
    groups: tuple[int, ...]
    """Segments of each group."""

    @property
    def supervised(self) -> int:
        """Answers."""
        return len(self.weights)


def pack(examples: Sequence[Encoded]) -> Packed:
    """Lay examples end to end; the label of a position is the next id of the same example where its mask says so."""
    return joined([_next_token(one) for one in examples])


def judged(examples: Sequence[Encoded], classes: Sequence[int]) -> Packed:
    """Likewise, but the label of the position that a mask names is the example's class."""
    rows = []
    for one, number in zip(examples, classes, strict=True):
        labels = [number if m else IGNORE for m in one.mask]
        rows.append(segment(np.array(one.ids, dtype=np.int64), np.array(labels, dtype=np.int64)))
    return joined(rows)


def _next_token(one: Encoded) -> Packed:
    shifted = [i if m else IGNORE for i, m in zip(one.ids[1:], one.mask[1:], strict=True)]
    return segment(np.array(one.ids, dtype=np.int64), np.array([*shifted, IGNORE], dtype=np.int64))


def segment(ids: Ints, labels: Ints) -> Packed:
    """One segment by itself."""
    return Packed(ids=ids, labels=labels, positions=np.arange(len(ids)), lengths=(len(ids),))


def joined(rows: Sequence[Packed]) -> Packed:
    """Packed rows laid end to end as one."""
    return Packed(
        ids=np.concatenate([row.ids for row in rows]),
        labels=np.concatenate([row.labels for row in rows]),
        positions=np.concatenate([row.positions for row in rows]),
        lengths=tuple(length for row in rows for length in row.lengths),
    )


def windowed(row: Packed, window: int) -> Packed:
    """The same tokens to predict, each from at most `window` tokens: segments are cut, their labels stay."""
    lengths = tuple(min(window, length - begin) for length in row.lengths for begin in range(0, length, window))
    positions = np.concatenate([np.arange(length) for length in lengths])
    return Packed(ids=row.ids, labels=row.labels, positions=positions, lengths=lengths)


@dataclass(frozen=True, slots=True)
class Order:
    """Which segments each optimizer step sees. Holds no position: step k is computed, never continued to."""

    lengths: tuple[int, ...]
    micro_tokens: int
    batch_tokens: int
    seed: int

    def __post_init__(self) -> None:
        longest = max(self.lengths, default=0)
        if not self.lengths or longest > self.micro_tokens:
            raise DataError(
                f"a segment of {longest} tokens does not fit a micro-batch of {self.micro_tokens}",
                fix="raise [tune].micro_tokens, or shorten the rows",
            )

    def step(self, step: int) -> list[list[int]]:
        """The micro-batches of optimizer step `step` (from 0): lists of segment numbers."""
        epoch = 0
        while True:
            batches = self.epoch(epoch)
            if step < len(batches):
                return batches[step]
            step -= len(batches)
            epoch += 1

    def epoch(self, epoch: int) -> list[list[list[int]]]:
        """All steps of one epoch; every segment is seen exactly once in it."""
        return _epoch(self, epoch)


@lru_cache(maxsize=2)
def _epoch(order: Order, epoch: int) -> list[list[list[int]]]:
    """Kept, because each step asks for it again."""
    shuffled = np.random.Generator(np.random.Philox(key=[order.seed, epoch])).permutation(len(order.lengths))
    micro = _fill([int(i) for i in shuffled], order.lengths, order.micro_tokens)
    per_step = max(1, order.batch_tokens // order.micro_tokens)
    return [micro[i : i + per_step] for i in range(0, len(micro), per_step)]


def in_turn(lengths: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """All segments once, without chance: the shortest first."""
    return _fill(sorted(range(len(lengths)), key=lambda segment: lengths[segment]), lengths, micro_tokens)


def _fill(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows in order, each within the budget; in a row the shortest first, so that equal ones share a call."""
    rows: list[list[int]] = []
    used = budget + 1
    for segment in order:
        if used + lengths[segment] > budget:
            rows.append([])
            used = 0
        rows[-1].append(segment)
        used += lengths[segment]
    return [sorted(row, key=lambda segment: lengths[segment]) for row in rows]
