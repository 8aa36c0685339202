"""What is learned from rows that say which answer is better, or whether one is wanted: pairs (DPO) and ratings (KTO).

Both are told against the model as it was before the first step (`reference`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basewright import store
from basewright.data import pack
from basewright.data.pack import Floats, Order, Packed, PackedPairs, PackedRatings
from basewright.records import Progress, TrainSettings, silent
from basewright.text.encode import Encoded
from basewright.train import losses, reference

BETA = 0.1
"""In the experiments of Rafailov et al. 2023 (appendix B, but for summaries) and of Ethayarajh et al. 2024."""
GROUP = 8
"""Rated answers that are compared with what the model gives to answers of other prompts; at most."""
GROUP_TOKENS = 2048


class Pair(NamedTuple):
    """Two answers to one prompt, each behind it."""

    chosen: Encoded
    rejected: Encoded


@dataclass(frozen=True, slots=True)
class Preferences:
    """Prefer each pair's chosen answer to the rejected one, more than the model did before the first step (DPO)."""

    rows: Sequence[Pair]
    beta: float = BETA
    reference: Floats | None = None
    """(pairs, 2) log-likelihoods of the answers under the model before the first step, once `begin` was called."""

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(len(pair.chosen.ids) + len(pair.rejected.ids) for pair in self.rows)

    @property
    def identity(self) -> str:
        return store.digest([[[answer.ids, answer.mask] for answer in pair] for pair in self.rows])

    def only(self, rows: Sequence[int]) -> Preferences:
        return Preferences([self.rows[i] for i in rows], self.beta)

    def texts(self, rows: Sequence[int]) -> list[Encoded]:
        return [self.rows[row][answer] for row, answer in self._places(rows)]

    def pack(self, rows: Sequence[int]) -> PackedPairs:
        places = self._places(rows)
        known = np.zeros((len(self.rows), 2), np.float32) if self.reference is None else self.reference
        packed = pack.pack(self.texts(rows))
        chosen, rejected = ([places.index((row, answer)) for row in rows] for answer in (0, 1))
        return PackedPairs(
            ids=packed.ids,
            labels=packed.labels,
            positions=packed.positions,
            lengths=packed.lengths,
            chosen=np.array(chosen),
            rejected=np.array(rejected),
            reference=np.array([known[place] for place in places]),
        )

    def begin(
        self,
        model: Any,
        settings: TrainSettings | None = None,
        keep: Path | None = None,
        progress: Progress = silent,
    ) -> Preferences:
        """Without settings: in float32, each pair by itself, with the beta that is there."""
        reference.without_dropout(model)
        texts = [answer for pair in self.rows for answer in pair]
        packs = [[2 * row + answer for row, answer in self._places(rows)] for rows in _first(self.lengths, settings)]
        nats = reference.of(model, texts, packs, _precision(settings), keep, progress)
        return replace(self, beta=_beta(self.beta, settings), reference=nats.reshape(-1, 2))

    def loss(self, model: Any, packed: Packed) -> losses.Told:
        assert isinstance(packed, PackedPairs)
        assert self.reference is not None, "begin comes before the first step"
        return losses.dpo(model, packed, self.beta)

    def _places(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        """(row, 0 for chosen or 1) of each segment: the shortest first, so that equal ones share a call."""
        return sorted(product(rows, (0, 1)), key=lambda place: len(self.rows[place[0]][place[1]].ids))


@dataclass(frozen=True, slots=True)
class Ratings:
    """Make answers that are wanted likelier than the model did before the first step, and others less likely (KTO).

    How much likelier is measured from what the model gives to answers in general, asked with the answers of other
    prompts. In the paper those are the answers of a batch; here of a group, drawn once and packed together, so that
    no loss depends on how a batch is divided.
    """

    rows: Sequence[Encoded]
    wanted: Sequence[bool]
    groups: Sequence[Sequence[int]]
    """Numbers of rows. What stands for a row everywhere else (`lengths`, `pack`) is here a group."""
    beta: float = BETA
    reference: Floats | None = None
    """(2, rows) log-likelihoods before the first step: of the answers, and of each `stranger`."""

    @classmethod
    def grouped(cls, rows: Sequence[Encoded], wanted: Sequence[bool]) -> Ratings:
        return cls(rows, wanted, list(_groups([len(row.ids) for row in rows])))

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(sum(len(self.rows[i].ids) for i in group) for group in self.groups)

    @property
    def identity(self) -> str:
        rows = [[row.ids, row.mask, wanted] for row, wanted in zip(self.rows, self.wanted, strict=True)]
        return store.digest([rows, self.groups])

    def only(self, rows: Sequence[int]) -> Ratings:
        return replace(self, groups=[self.groups[i] for i in rows], reference=None)

    def texts(self, rows: Sequence[int]) -> list[Encoded]:
        return [self.rows[i] for i in self._members(rows)]

    def pack(self, rows: Sequence[int]) -> PackedRatings:
        members = self._members(rows)
        packed, strangers = pack.pack(self.texts(rows)), pack.pack(self._strangers(rows))
        known = np.zeros((2, len(self.rows)), np.float32) if self.reference is None else self.reference
        return PackedRatings(
            ids=packed.ids,
            labels=packed.labels,
            positions=packed.positions,
            lengths=packed.lengths,
            weights=np.array([self._weight(self.wanted[i]) for i in members], np.float32),
            reference=known[0, members],
            strangers=strangers,
            strangers_reference=known[1, members],
            groups=tuple(len(self.groups[i]) for i in rows),
        )

    def begin(
        self,
        model: Any,
        settings: TrainSettings | None = None,
        keep: Path | None = None,
        progress: Progress = silent,
    ) -> Ratings:
        """As `Preferences.begin`."""
        reference.without_dropout(model)
        texts, packs = [*self.rows, *self.rows], []
        for rows in _first(self.lengths, settings):
            members = self._members(rows)
            others = [len(self.rows) + i for i in members]
            packs += [members, others]
            for number, stranger in zip(others, self._strangers(rows), strict=True):
                texts[number] = stranger
        nats = reference.of(model, texts, packs, _precision(settings), keep, progress)
        return replace(self, beta=_beta(self.beta, settings), reference=nats.reshape(2, -1))

    def loss(self, model: Any, packed: Packed) -> losses.Told:
        assert isinstance(packed, PackedRatings)
        assert self.reference is not None, "begin comes before the first step"
        return losses.kto(model, packed, self.beta)

    def _members(self, groups: Sequence[int]) -> list[int]:
        """Rows of these groups, in each the shortest first."""
        return [i for group in groups for i in sorted(self.groups[group], key=lambda i: len(self.rows[i].ids))]

    def _strangers(self, groups: Sequence[int]) -> list[Encoded]:
        """Each member's prompt with the answer of the next in its group, ended where the longest row there ends."""
        found = []
        for group in groups:
            members = self._members([group])
            longest = len(self.rows[members[-1]].ids)
            for i, other in zip(members, [*members[1:], members[0]], strict=True):
                asked, answer = self.rows[i].mask.index(True), self.rows[other].mask.index(True)
                ids = (*self.rows[i].ids[:asked], *self.rows[other].ids[answer:])[:longest]
                found.append(Encoded(ids, tuple(at >= asked for at in range(len(ids)))))
        return found

    def _weight(self, wanted: bool) -> float:
        """Positive for wanted. The rarer kind weighs more, so that both count the same: the paper's range of
        n_wanted weight / (n_unwanted weight) begins at 1 and ends at 4/3."""
        yes = sum(self.wanted)
        no = len(self.wanted) - yes
        mine, other = (yes, no) if wanted else (no, yes)
        return (1.0 if wanted else -1.0) * max(1.0, other / mine)


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(lengths))
    group: list[int] = []
    for i in map(int, order):
        if group and (len(group) == GROUP or sum(lengths[j] for j in group) + lengths[i] > GROUP_TOKENS):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _first(lengths: Sequence[int], settings: TrainSettings | None) -> list[list[int]]:
    """The micro-batches of the first epoch, or each row by itself."""
    if settings is None:
        return [[row] for row in range(len(lengths))]
    order = Order(tuple(lengths), settings.micro_tokens, settings.batch_tokens, settings.seed)
    return [micro for batch in order.epoch(0) for micro in batch]


def _precision(settings: TrainSettings | None) -> str:
    return "float32" if settings is None else settings.precision


def _beta(own: float, settings: TrainSettings | None) -> float:
    return own if settings is None or settings.beta is None else settings.beta
