"""What is learned from rows: how some of them become a micro-batch, and its loss. One class for each kind of row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from basewright import store
from basewright.data import pack
from basewright.data.pack import Packed
from basewright.text.encode import Encoded
from basewright.train import losses


class Objective(Protocol):
    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each row."""
        ...

    @property
    def identity(self) -> str:
        """Hash of the rows as the model sees them, in order; what a certificate is about."""
        ...

    def pack(self, rows: Sequence[int]) -> Packed:
        """The rows with these numbers, end to end."""
        ...

    def loss(self, model: Any, packed: Packed) -> torch.Tensor:
        """Summed over what is supervised in `packed`, a scalar in float32."""
        ...


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

    def pack(self, rows: Sequence[int]) -> Packed:
        return pack.pack([self.rows[i] for i in rows])

    def loss(self, model: Any, packed: Packed) -> torch.Tensor:
        return losses.next_token(model, packed)
