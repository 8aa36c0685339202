"""What is learned from rows: how some of them become a micro-batch, and its loss. One class for each kind of row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from basewright import store
from basewright.data import pack, prepare
from basewright.data.pack import Packed
from basewright.data.prepare import Prepared, Taught
from basewright.records import Classified, Head, Preference, Progress, Rated, TrainSettings, silent
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer
from basewright.train import losses
from basewright.train.preferences import Pair, Preferences, Ratings


class Objective(Protocol):
    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each row."""
        ...

    @property
    def identity(self) -> str:
        """Hash of the rows as the model sees them, in order; what a certificate is about."""
        ...

    def only(self, rows: Sequence[int]) -> Objective:
        """The same about these rows alone."""
        ...

    def texts(self, rows: Sequence[int]) -> list[Encoded]:
        """What of these rows stands before the model, in the order in which it is packed."""
        ...

    def pack(self, rows: Sequence[int]) -> Packed:
        """The rows with these numbers, end to end."""
        ...

    def begin(
        self,
        model: Any,
        settings: TrainSettings | None = None,
        keep: Path | None = None,
        progress: Progress = silent,
    ) -> Objective:
        """The same, knowing `model`, which is as it is before the first step.

        What is computed of it is kept in the folder `keep`, whose name stands for all that it depends on.
        """
        ...

    def loss(self, model: Any, packed: Packed) -> torch.Tensor | losses.Told:
        """Summed over what is supervised in `packed`, a scalar in float32."""
        ...


def taught(data: Prepared, tokenizer: Tokenizer, head: Head | None = None) -> Objective:
    """What prepared rows teach; `head` is that of the training rows, where these are others."""
    head = head or data.head(tokenizer)
    if head is not None:
        return labelled(data.classified, tokenizer, head)
    return of(data.taught, prepare.encoded(data.taught, tokenizer))


def of(taught: Sequence[Taught], texts: Sequence[Encoded]) -> Objective:
    """What rows of one shape call for; `texts` are what `prepare.encoded` makes of them."""
    if all(isinstance(one, Preference) for one in taught):
        return Preferences([Pair(*two) for two in zip(texts[::2], texts[1::2], strict=True)])
    ratings = [one.desirable for one in taught if isinstance(one, Rated)]
    return Ratings.grouped(texts, ratings) if ratings else NextToken(texts)


@dataclass(frozen=True, slots=True)
class NextToken:
    """Write each row's supervised tokens."""

    rows: Sequence[Encoded]

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(len(row.ids) for row in self.rows)

    @property
    def identity(self) -> str:
        return store.digest([[row.ids, row.mask] for row in self.rows])

    def only(self, rows: Sequence[int]) -> NextToken:
        return NextToken(self.texts(rows))

    def texts(self, rows: Sequence[int]) -> list[Encoded]:
        return [self.rows[i] for i in rows]

    def pack(self, rows: Sequence[int]) -> Packed:
        return pack.pack(self.texts(rows))

    def begin(self, *_: Any, **__: Any) -> NextToken:
        return self

    def loss(self, model: Any, packed: Packed) -> torch.Tensor:
        return losses.next_token(model, packed)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Give each row its class by a head. `classes` are numbers of `head.labels`."""

    rows: Sequence[Encoded]
    classes: Sequence[int]
    head: Head

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(len(row.ids) for row in self.rows)

    @property
    def identity(self) -> str:
        rows = [[row.ids, row.mask, number] for row, number in zip(self.rows, self.classes, strict=True)]
        return store.digest([rows, self.head])

    def only(self, rows: Sequence[int]) -> Labelled:
        return replace(self, rows=self.texts(rows), classes=[self.classes[i] for i in rows])

    def texts(self, rows: Sequence[int]) -> list[Encoded]:
        return [self.rows[i] for i in rows]

    def begin(self, *_: Any, **__: Any) -> Labelled:
        return self

    def pack(self, rows: Sequence[int]) -> Packed:
        return pack.judged(self.texts(rows), [self.classes[i] for i in rows])

    def loss(self, model: Any, packed: Packed) -> torch.Tensor:
        return losses.labels(model, packed)


def labelled(items: Sequence[Classified], tokenizer: Tokenizer, head: Head) -> Labelled:
    """Raises `KeyError` for a label that the head does not have."""
    numbers = {label: number for number, label in enumerate(head.labels)}
    rows = [encode.judged(tokenizer, item.text, head.pools) for item in items]
    return Labelled(rows, [numbers[item.label] for item in items], head)
