"""What turns gradients into steps: AdamW, its moments in 8 bits if asked, or Muon for matrices and AdamW elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import torch

from basewright.errors import UsageError
from basewright.records import TrainSettings
from basewright.train import ranks

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients whose iteration lifts small singular values fastest; it ends near 1, within 0.7 to 1.2 (Jordan 2024)."""
CODES = ("qmap1", "qmap2")
ITERATIONS = 5
RMS = 0.2
"""Of an update's entries, at a learning rate of 1: what AdamW's come to, so that one rate serves both (Liu et al. 2025,
arXiv:2502.16982, section 2.2)."""


def of(model: Any, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of the parameters of `model` that require gradients; vectors (norms) do not decay, as in GPT-3.

    Raises `UsageError` where several processes would share out what 8 bits need whole, and for 8 bits without
    bitsandbytes.
    """
    if settings.optimizer == "adamw-8bit" and ranks.team().count > 1:
        raise UsageError(
            "moments in 8 bits need whole tensors, and several processes share them out",
            fix="run one process, or --optimizer adamw",
        )
    parameters = [p for p in model.parameters() if p.requires_grad]
    inner = _inner(model) if settings.optimizer == "muon" else set()
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [
        {"params": [p for p in matrices if p in inner], "weight_decay": settings.weight_decay, "orthogonal": True},
        {"params": [p for p in matrices if p not in inner], "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    kinds = {"adamw": lambda: torch.optim.AdamW, "muon": lambda: Muon, "adamw-8bit": _adamw_8bit}
    kind = kinds[settings.optimizer]()
    made: torch.optim.Optimizer = kind(
        [g for g in groups if g["params"]], lr=settings.learning_rate, betas=settings.betas
    )
    return made


def slots(optimizer: torch.optim.Optimizer, p: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    """What an optimizer knows of a parameter, each a tensor of its own: bitsandbytes counts steps in a plain number,
    and all parameters have one table of codes."""
    state = optimizer.state[p]
    return {name: one.clone() if name in CODES else torch.as_tensor(one) for name, one in state.items()}


def take(optimizer: torch.optim.Optimizer, p: torch.nn.Parameter, found: dict[str, torch.Tensor]) -> None:
    """Set it again: torch counts steps in float32."""
    optimizer.state[p] = {
        name: one.item() if name == "step" and one.dtype == torch.int64 else one for name, one in found.items()
    }


def _adamw_8bit() -> Any:
    """Moments in blocks of 256 with a scale each; tensors of fewer than 4,096 values keep them in float32 (Dettmers et
    al. 2022, "8-bit Optimizers via Block-wise Quantization")."""
    if find_spec("bitsandbytes") is None:
        raise UsageError("bitsandbytes is not installed", fix="pip install 'basewright[qlora]', or --optimizer adamw")
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


def _inner(model: Any) -> set[torch.nn.Parameter]:
    """Matrices between the embedding and the output projection. A row of those two is a token, not a direction."""
    outer = {part.weight for part in (model.get_input_embeddings(), model.get_output_embeddings()) if part is not None}
    return {p for p in model.parameters() if p.ndim == 2} - outer


class Muon(torch.optim.AdamW):
    """AdamW, but for groups marked `orthogonal`: their step is the momentum with all its singular values near 1
    (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon)."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            if group.get("orthogonal"):
                self._step_orthogonal(group["params"], group["lr"], group["weight_decay"])
        super().step(closure)

    def _step_orthogonal(self, parameters: Iterable[torch.nn.Parameter], rate: float, decay: float) -> None:
        """Matrices of one shape go through the iteration together, whole; of several processes, each does the same and
        keeps its part. AdamW passes over what has no gradient left."""
        by_shape = sorted((p for p in parameters if p.grad is not None), key=lambda p: tuple(p.shape))
        for shape, group in groupby(by_shape, key=lambda p: p.shape):
            same = list(group)
            updates = orthogonal(torch.stack([ranks.whole(self._momentum(p)) for p in same]))
            for p, update in zip(same, updates, strict=True):
                p.mul_(1 - rate * decay).add_(ranks.like(p, update), alpha=-rate * RMS * max(shape) ** 0.5)
                p.grad = None

    def _momentum(self, p: torch.nn.Parameter) -> torch.Tensor:
        """Nesterov's: the mean of past gradients, looked at one step ahead."""
        assert p.grad is not None
        mean = self.state[p].setdefault("momentum", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - MOMENTUM)
        return p.grad.lerp(mean, MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Each of `matrices` (S, rows, columns) with its singular values moved near 1, by Newton and Schulz' iteration."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
