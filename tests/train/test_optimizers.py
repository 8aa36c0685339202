"""Muon: its step has singular values near 1, and only matrices between embedding and output take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from basewright.data.pack import Packed
from basewright.engine.torch_lm import load_model
from basewright.errors import UsageError
from basewright.records import TrainSettings, silent
from basewright.train import loop, losses, optimizers, ranks
from tests.models import tiny_llama
from tests.train.test_loop import Setup, settings, train

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


def test_moments_in_8_bits_are_refused_in_several_processes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "team", lambda: ranks.Team(0, 2))
    with pytest.raises(UsageError, match="whole tensors"):
        optimizers.of(model, settings(optimizer="adamw-8bit"))


@pytest.mark.qlora
def test_h045_moments_in_8_bits_are_resumed_to_the_bit(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the qlora extra is not installed")
    chosen = settings(optimizer="adamw-8bit", ema=0.5)
    setup = Setup(tmp_path / "m", chosen)
    whole, state = train(setup, chosen, tmp_path / "whole")
    assert state.last_loss < state.first_loss
    tensors = load_file(sorted((tmp_path / "whole").glob("step-*"))[-1] / "tensors.safetensors")
    assert {tensor.dtype for name, tensor in tensors.items() if name.startswith("state1/")} == {
        torch.uint8, torch.float32
    }  # fmt: skip

    class Killed(Exception):
        pass

    for dies in (3, 5, 7):

        def rows(step: int, dies: int = dies) -> list[Packed]:
            if step == dies:
                raise Killed
            return setup.rows(step)

        (tmp_path / "cut").mkdir(exist_ok=True)
        with pytest.raises(Killed):
            loop.run(setup.model(), rows, losses.next_token, chosen, tmp_path / "cut", silent, identity="test")
    assert train(setup, chosen, tmp_path / "cut") == (whole, state)


def test_8_bits_without_bitsandbytes_are_refused_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda _: None)
    chosen = settings(optimizer="adamw-8bit")
    with pytest.raises(UsageError, match="bitsandbytes is not installed"):
        train(Setup(tmp_path / "m", chosen), chosen, tmp_path / "s")
