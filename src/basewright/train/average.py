"""An exponential moving average of trained weights: smoother than the last step's, and part of every checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

Trained = dict[str, torch.nn.Parameter]


class Average:
    """One tensor for each of `trained`, in its precision; none for a decay of 0."""

    def __init__(self, trained: Trained, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: p.detach().clone() for name, p in trained.items()} if decay else {}

    @torch.no_grad()
    def update(self, trained: Trained, step: int) -> None:
        """After step `step`, counted from 1.

        The decay starts small, (1 + step) / (10 + step), so that a short run is no average of its start (as in
        TensorFlow's ExponentialMovingAverage with num_updates).
        """
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, mean in self.tensors.items():
            mean.lerp_(trained[name], 1 - kept)

    @contextmanager
    def shown(self, trained: Trained) -> Iterator[None]:
        """The model with the average in place of its weights, if there is one."""
        self._swap(trained)
        try:
            yield
        finally:
            self._swap(trained)

    @torch.no_grad()
    def keep(self, trained: Trained) -> None:
        """Leave the average in the model."""
        for name, mean in self.tensors.items():
            trained[name].copy_(mean)

    def slot(self, name: str) -> dict[str, torch.Tensor]:
        """What a checkpoint holds for a weight beside it."""
        return {"average": self.tensors[name]} if self.tensors else {}

    @torch.no_grad()
    def _swap(self, trained: Trained) -> None:
        """In place and one by one: a weight may be this rank's part of one, and memory is what there is least of."""
        for name, mean in self.tensors.items():
            weight = trained[name].detach().clone()
            trained[name].copy_(mean)
            mean.copy_(weight)
