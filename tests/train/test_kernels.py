"""Hand-written gradients are those that autograd finds for the plain formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch.nn import functional

from basewright.train import kernels

LIMIT = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Relative distance from the formula in float64; bfloat16 rounds to 2^-8 at each operation."""


def tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def compare(
    ours: Callable[..., torch.Tensor],
    plain: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor],
    kinds: Sequence[torch.dtype],
    limit: float,
) -> None:
    """Output and the gradient of every input, ours in `kinds` against the formula in float64."""
    given = [x.to(kind) for x, kind in zip(inputs, kinds, strict=True)]
    own = [x.clone().requires_grad_() for x in given]
    reference = [x.double().requires_grad_() for x in given]
    outputs = ours(*own), plain(*reference)
    slope = torch.randn(outputs[1].shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    outputs[0].backward(slope.to(outputs[0].dtype))
    outputs[1].backward(slope)
    for found, wanted in [(outputs[0], outputs[1]), *((a.grad, b.grad) for a, b in zip(own, reference, strict=True))]:
        if found is not None and wanted is not None:
            assert float((found.detach().double() - wanted.detach()).norm() / wanted.detach().norm()) < limit


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk", [3, 7, 64])
def test_cross_entropy(kind: torch.dtype, chunk: int) -> None:
    hidden, weight = tensors((21, 16), (50, 16))
    target = torch.arange(21) * 2
    compare(
        lambda h, w: kernels.cross_entropy(h, w, target, chunk),
        lambda h, w: functional.cross_entropy(h @ w.T, target, reduction="sum"),
        [hidden, weight],
        [kind, kind],
        LIMIT[kind],
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk", [7, 64])
@pytest.mark.parametrize("frozen", [True, False])
def test_nats_of_each_position(kind: torch.dtype, chunk: int, frozen: bool) -> None:
    hidden, weight = tensors((21, 16), (50, 16))
    target = torch.arange(21) * 2
    weight = weight.to(kind).double()
    compare(
        lambda h, *w: kernels.nats(h, w[0] if w else weight.to(kind), target, chunk),
        lambda h, *w: functional.cross_entropy(h @ (w[0] if w else weight).T, target, reduction="none"),
        [hidden] if frozen else [hidden, weight],
        [kind] if frozen else [kind, kind],
        LIMIT[kind],
    )


def test_cross_entropy_of_what_is_never_predicted_is_finite() -> None:
    """A probability that float32 cannot hold has a logarithm that it can."""
    hidden, weight = torch.tensor([[300.0]]), torch.tensor([[1.0], [-1.0]])
    assert kernels.cross_entropy(hidden, weight, torch.tensor([1]), 8).item() == pytest.approx(600.0)


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_lora_linears(monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, pays: bool) -> None:
    monkeypatch.setattr(kernels, "bfloat16_pays", lambda: pays)
    x, *weights = tensors((2, 9, 16), (24, 16), (8, 16))
    weights = [weight.to(kind).double() for weight in weights]

    def ours(x: torch.Tensor, *learned: torch.Tensor) -> torch.Tensor:
        pairs = zip(weights, learned[::2], learned[1::2], strict=True)
        maps = [kernels.Map(weight.to(kind), down, up) for weight, down, up in pairs]
        return torch.cat(kernels.lora_linears(x, maps, 0.5), dim=-1)

    def plain(x: torch.Tensor, *learned: torch.Tensor) -> torch.Tensor:
        pairs = zip(weights, learned[::2], learned[1::2], strict=True)
        return torch.cat([x @ weight.T + 0.5 * (x @ down.T) @ up.T for weight, down, up in pairs], dim=-1)

    learned = tensors((4, 16), (24, 4), (3, 16), (8, 3))
    compare(ours, plain, [x, *learned], [kind, *[torch.float32] * 4], LIMIT[kind])


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rotary(kind: torch.dtype) -> None:
    from transformers.models.llama.modeling_llama import rotate_half

    (angles,) = tensors((1, 1, 9, 4))
    cos, sin = (torch.cat([part, part], dim=-1).to(kind).double() for part in (angles.cos(), angles.sin()))
    compare(
        lambda x: kernels.rotary(x, cos.to(kind), sin.to(kind)),
        lambda x: x * cos + rotate_half(x) * sin,
        tensors((1, 2, 9, 8)),
        [kind],
        LIMIT[kind],
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_swiglu(kind: torch.dtype) -> None:
    compare(
        kernels.swiglu,
        lambda gate, up: functional.silu(gate) * up,
        tensors((5, 16), (5, 16)),
        [kind, kind],
        LIMIT[kind],
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rms_norm(kind: torch.dtype) -> None:
    compare(
        lambda x, weight: kernels.rms_norm(x, weight, 1e-3),
        lambda x, weight: weight * x * (x.pow(2).mean(-1, keepdim=True) + 1e-3).rsqrt(),
        tensors((2, 5, 16), (16,)),
        [kind, kind],
        LIMIT[kind],
    )


@pytest.mark.parametrize("pays", [True, False])
def test_attention_in_float32_of_what_is_kept_in_bfloat16(monkeypatch: pytest.MonkeyPatch, pays: bool) -> None:
    monkeypatch.setattr(kernels, "bfloat16_pays", lambda: pays)
    compare(
        lambda q, k, v: kernels.attention(q, k, v, 0.3, 0.0, causal=True),
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True),
        tensors((2, 4, 9, 8), (2, 2, 9, 8), (2, 2, 9, 8)),
        [torch.bfloat16] * 3,
        LIMIT[torch.bfloat16],
    )


def test_under_autocast_the_weights_may_be_float32() -> None:
    x, weight, down, up = (t.float() for t in tensors((9, 16), (24, 16), (4, 16), (24, 4)))
    down.requires_grad_(), up.requires_grad_(), x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (out,) = kernels.lora_linears(x, [kernels.Map(weight, down, up)], 1.0)
        nats = kernels.cross_entropy(out, torch.eye(24), torch.arange(9), 4)
    nats.backward()
    assert out.dtype == torch.bfloat16
    assert nats.dtype == down.grad.dtype == x.grad.dtype == torch.float32  # type: ignore[union-attr]
