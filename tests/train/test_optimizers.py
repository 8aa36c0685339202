"""Muon: its step has singular values near 1, and only matrices between embedding and output take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from basewright.engine.torch_lm import load_model
from basewright.errors import UsageError
from basewright.records import TrainSettings
from basewright.train import optimizers, ranks
from tests.models import tiny_llama

SETTINGS = TrainSettings(
    steps=1, batch_tokens=8, micro_tokens=8, learning_rate=0.5, warmup=0, weight_decay=0.1, clip=1.0, seed=0,
    optimizer="muon",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Any:
    made = load_model(tiny_llama(tmp_path))
    torch.manual_seed(0)
    for p in made.parameters():
        p.grad = torch.randn_like(p)
    return made


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 12, 5), (2, 5, 12)])
def test_singular_values_are_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    given = torch.randn(shape)
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    made = optimizers.orthogonal(given)
    assert made.shape == given.shape
    values = torch.linalg.diagonal(left.mT @ made @ right.mT)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.allclose(left @ torch.diag_embed(values) @ right, made, atol=1e-4)


def test_only_inner_matrices_take_its_step_and_updates_are_as_large_as_adams(model: Any) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizers.of(model, SETTINGS).step()
    for name, p in model.named_parameters():
        inner = p.ndim == 2 and "embed" not in name and "lm_head" not in name
        decayed = before[name] * (1 - 0.5 * (0.1 if p.ndim > 1 else 0.0))
        moved = (p - decayed).detach() / 0.5
        if inner:
            assert p.grad is None
            largest = float(max(p.shape) / min(p.shape)) ** 0.5
            assert 0.2 * 0.6 / largest < moved.square().mean().sqrt() < 0.2 * 1.3
        else:  # Adam's first step is the sign of the gradient
            assert torch.allclose(moved.abs(), torch.ones_like(moved), atol=1e-2)


def test_its_state_is_one_matrix_of_each(model: Any) -> None:
    made = optimizers.of(model, SETTINGS)
    made.step()
    inner = model.model.layers[0].mlp.up_proj.weight
    assert set(made.state[inner]) == {"momentum"}
    assert set(made.state[model.model.embed_tokens.weight]) == {"step", "exp_avg", "exp_avg_sq"}


def test_several_processes_are_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "team", lambda: ranks.Team(0, 2))
    with pytest.raises(UsageError, match="whole matrices"):
        optimizers.of(model, SETTINGS)
