"""General text beside the rows of a tuning, so that it forgets less: an exact share of each step's tokens and loss.

Experience replay for language models: a few per cent of the text of before keep most of what it taught (Ibrahim et
al. 2024, arXiv:2403.08763, section 6). Which text a step sees is a pure function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from basewright import store
from basewright.data.pack import Order, Packed, in_turn, pack
from basewright.errors import DataError
from basewright.records import TrainSettings
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer
from basewright.train import losses
from basewright.train.objectives import Objective

Ids = tuple[int, ...]
STREAM = 2**32
"""Added to the seed: general text is shuffled by other numbers than rows are."""


@dataclass(frozen=True, slots=True)
class General:
    """Windows of general text. A round shows each of them once, in an order of its own."""

    windows: Sequence[Ids]

    @classmethod
    def of(cls, texts: Iterable[str], tokenizer: Tokenizer, window: int, most: int) -> General:
        """The first `most` tokens of the texts, cut into windows of at most `window` tokens. Raises `DataError`."""
        found: list[Ids] = []
        left = most
        for text in texts:
            ids = encode.document(tokenizer, text)[:left]
            found += [tuple(ids[i : i + window]) for i in range(0, len(ids), window)]
            left -= len(ids)
            if left <= 0:
                break
        if not any(len(one) > 1 for one in found):
            raise DataError("there is no text to replay", fix="give a file or folder of plain text: --replay-text")
        return cls(found)

    @property
    def identity(self) -> str:
        return store.digest(self.windows)

    @property
    def tokens(self) -> int:
        return sum(len(one) for one in self.windows)

    def stretch(self, begin: int, end: int, seed: int) -> list[Ids]:
        """The tokens from `begin` up to `end` of all rounds laid end to end; a window at the border is cut there."""
        found: list[Ids] = []
        for number in range(begin // self.tokens, -(-end // self.tokens)):
            place = number * self.tokens
            draw = np.random.Generator(np.random.Philox(key=[seed + STREAM, number]))
            for i in draw.permutation(len(self.windows)):
                one = self.windows[i][max(0, begin - place) : max(0, end - place)]
                place += len(self.windows[i])
                if one:
                    found.append(one)
        return found


class Mixture:
    """The micro-batches of each step: rows, and the share of general text that goes with them. Where that is one
    token, it teaches nothing."""

    def __init__(self, objective: Objective, order: Order, general: General | None, settings: TrainSettings) -> None:
        self._objective = objective
        self._order = order
        self._general = general
        self._settings = settings
        self._ends = [0]
        """Tokens of rows seen before each step; more of them as steps are asked for."""
        self._epochs = 0

    def rows(self, step: int) -> list[Packed]:
        packed = [self._objective.pack(micro) for micro in self._order.step(step)]
        return packed if self._general is None else packed + self._replay(self._general, step, packed)

    def loss(self, model: Any, packed: Packed) -> torch.Tensor | losses.Told:
        return losses.next_token(model, packed) if packed.replayed else self._objective.loss(model, packed)

    def replayed(self, steps: int) -> int:
        """Tokens of general text in so many steps: the share of all tokens, to less than one."""
        if self._general is None:
            return 0
        while len(self._ends) <= steps:
            batches = [sum(self._order.lengths[i] for micro in batch for i in micro) for batch in self._next()]
            self._ends += list(accumulate(batches, initial=self._ends.pop()))
        share = self._settings.replay
        return int(self._ends[steps] * share / (1 - share))

    def _next(self) -> list[list[list[int]]]:
        self._epochs += 1
        return self._order.epoch(self._epochs - 1)

    def _replay(self, general: General, step: int, beside: Sequence[Packed]) -> list[Packed]:
        """As micro-batches, with the weight that makes their share of the loss that of their tokens: where only
        answers are learned, each token of general text would otherwise count as much as one of those few."""
        settings = self._settings
        pieces = general.stretch(self.replayed(step), self.replayed(step + 1), settings.seed)
        micro = in_turn([len(ids) for ids in pieces], settings.micro_tokens)
        packed = [pack([Encoded(pieces[i], (True,) * len(pieces[i])) for i in rows]) for rows in micro]
        learned = sum(row.supervised for row in packed)
        share = settings.replay / (1 - settings.replay)
        weight = share * sum(row.supervised for row in beside) / learned if learned else 0.0
        return [replace(row, weight=weight, replayed=True) for row in packed]
