"""Pieces of a model with their gradients written out: less is kept for the way back, and less is computed twice.

Each is the same function as the plain modules compute, to rounding; tests/train/test_kernels.py holds them to it.
N tokens · D width · F feed-forward · K supervised tokens · V vocabulary · R rank · O outputs of a map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def _apply(function: Any, *inputs: Any) -> torch.Tensor:
    out: torch.Tensor = function.apply(*inputs)
    return out


def cross_entropy(hidden_KD: torch.Tensor, weight_VD: torch.Tensor, target_K: torch.Tensor, chunk: int) -> torch.Tensor:
    """Sum of the targets' nats under softmax(hidden weight^T), as a float32 scalar.

    The logits of `chunk` positions exist at a time, once: the gradient is made from them on the way forth.
    """
    return _apply(_CrossEntropy, hidden_KD, weight_VD, target_K, chunk)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_KD: torch.Tensor, weight_VD: torch.Tensor, target_K: torch.Tensor, chunk: int
    ) -> torch.Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        cast = _computed_in(hidden_KD)
        weight = weight_VD.to(cast)
        grad_KD = torch.empty_like(hidden_KD) if needs_hidden else None
        grad_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        total = hidden_KD.new_zeros((), dtype=torch.float32)
        with torch.autocast(hidden_KD.device.type, enabled=False):
            for begin in range(0, len(hidden_KD), chunk):
                here = slice(begin, begin + chunk)
                hidden_CD, target_C1 = hidden_KD[here].to(cast), target_K[here, None]
                logs_CV = functional.linear(hidden_CD, weight).log_softmax(-1, dtype=torch.float32)
                total -= logs_CV.gather(1, target_C1).sum()
                if not (needs_hidden or needs_weight):
                    continue
                slope_CV = logs_CV.exp_().scatter_add_(1, target_C1, logs_CV.new_full(target_C1.shape, -1.0)).to(cast)
                if grad_KD is not None:
                    grad_KD[here] = slope_CV @ weight
                if grad_VD is not None:
                    grad_VD += slope_CV.T @ hidden_CD
        ctx.save_for_backward(grad_KD, grad_VD)
        ctx.weight_type = weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad_KD, grad_VD = ctx.saved_tensors
        return (
            None if grad_KD is None else grad_KD * grads[0].to(grad_KD.dtype),
            None if grad_VD is None else (grad_VD * grads[0]).to(ctx.weight_type),
            None,
            None,
        )


def _computed_in(x: torch.Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def lora_linear(
    x: torch.Tensor, weight_OD: torch.Tensor, down_RD: torch.Tensor, up_OR: torch.Tensor, scale: float
) -> torch.Tensor:
    """x W^T + scale (x A^T) B^T with W frozen, in the precision of W; x (..., D).

    Kept are x, which its neighbours keep too, and x A^T.
    """
    return _apply(_LoraLinear, x, weight_OD, down_RD, up_OR, scale)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight_OD: torch.Tensor, down_RD: torch.Tensor, up_OR: torch.Tensor, scale: float
    ) -> torch.Tensor:
        cast = _computed_in(x)
        x_ND = x.to(cast).flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):
            out_NO = x_ND @ weight_OD.to(cast).T
            low_NR = x_ND @ down_RD.to(cast).T
            out_NO.addmm_(low_NR, up_OR.to(cast).T, alpha=scale)
        ctx.save_for_backward(x_ND, weight_OD, down_RD, up_OR, low_NR)
        ctx.scale = scale
        return out_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_ND, weight_OD, down_RD, up_OR, low_NR = ctx.saved_tensors
        grad_NO, cast = grads[0].flatten(0, -2), x_ND.dtype
        grad_NR = (grad_NO @ up_OR.to(cast)).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_NO @ weight_OD.to(cast)).addmm_(grad_NR, down_RD.to(cast)).view(*grads[0].shape[:-1], -1)
        grad_RD = (grad_NR.T @ x_ND).to(down_RD.dtype)
        grad_OR = (grad_NO.T @ low_NR).to(up_OR.dtype).mul_(ctx.scale)
        return grad_x, None, grad_RD, grad_OR, None


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up; kept are gate and up."""
    return _apply(_SwiGLU, gate, up)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        out: torch.Tensor = functional.silu(gate).mul_(up)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * up, gate), functional.silu(gate).mul_(grads[0])


def rms_norm(x: torch.Tensor, weight_D: torch.Tensor, eps: float) -> torch.Tensor:
    """weight * x / sqrt(mean(x^2) + eps), the mean in float32; kept are x and one number a token."""
    return _apply(_RMSNorm, x, weight_D, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight_D: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        inverse = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight_D, inverse)
        return weight_D * (wide * inverse).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight_D, inverse = ctx.saved_tensors
        normal = x.float().mul_(inverse) if x.dtype != torch.float32 else x * inverse
        grad = (grads[0] * weight_D).float()
        mean = (grad * normal).mean(-1, keepdim=True)
        grad_D = None
        if ctx.needs_input_grad[1]:
            grad_D = (grads[0].float() * normal).flatten(0, -2).sum(0).to(weight_D.dtype)
        return torch.addcmul(grad, normal, mean, value=-1.0).mul_(inverse).to(x.dtype), grad_D, None
