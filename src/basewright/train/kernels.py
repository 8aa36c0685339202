"""Pieces of a model with their gradients written out: less is kept for the way back, and less is computed twice.

Each is the same function as the plain modules compute, to rounding; tests/train/test_kernels.py holds them to it.
N tokens · D width · F feed-forward · K supervised tokens · V vocabulary · R rank · O outputs of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from basewright.train import nf4


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
        cast = _multiplied_in(_kept_in(hidden_KD), hidden_KD.device.type)
        weight = weight_VD.to(cast)
        grad_KD = torch.empty_like(hidden_KD) if needs_hidden else None
        grad_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        total = hidden_KD.new_zeros((), dtype=torch.float32)
        with torch.autocast(hidden_KD.device.type, enabled=False):
            for here in _chunks(hidden_KD, chunk):
                hidden_CD, target_C1 = hidden_KD[here].to(cast), target_K[here, None]
                logs_CV = _logs(hidden_CD, weight)
                total -= logs_CV.gather(1, target_C1).sum()
                if not (needs_hidden or needs_weight):
                    continue
                slope_CV = _slope(logs_CV, target_C1).to(cast)
                if grad_KD is not None:
                    grad_KD[here] = (slope_CV @ weight).to(grad_KD.dtype)
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


def nats(hidden_KD: torch.Tensor, weight_VD: torch.Tensor, target_K: torch.Tensor, chunk: int) -> torch.Tensor:
    """Each target's nats under softmax(hidden weight^T), (K,) in float32, of which each may count differently.

    As in `cross_entropy`, but where the weight is learned the logits are made a second time for the gradient: only then
    is it known what each position counts.
    """
    return _apply(_Nats, hidden_KD, weight_VD, target_K, chunk)


class _Nats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_KD: torch.Tensor, weight_VD: torch.Tensor, target_K: torch.Tensor, chunk: int
    ) -> torch.Tensor:
        ctx.cast = _multiplied_in(_kept_in(hidden_KD), hidden_KD.device.type)
        ctx.chunk, ctx.kept = chunk, hidden_KD.dtype
        at_once = ctx.needs_input_grad[0] and not ctx.needs_input_grad[1]
        grad_KD = torch.empty_like(hidden_KD) if at_once else None
        weight = weight_VD.to(ctx.cast)
        nats_K = hidden_KD.new_empty(len(hidden_KD), dtype=torch.float32)
        with torch.autocast(hidden_KD.device.type, enabled=False):
            for here in _chunks(hidden_KD, chunk):
                logs_CV, target_C1 = _logs(hidden_KD[here].to(ctx.cast), weight), target_K[here, None]
                nats_K[here] = -logs_CV.gather(1, target_C1)[:, 0]
                if grad_KD is not None:
                    grad_KD[here] = (_slope(logs_CV, target_C1).to(ctx.cast) @ weight).to(grad_KD.dtype)
        if at_once:
            ctx.save_for_backward(grad_KD)
        else:
            ctx.save_for_backward(hidden_KD, weight_VD, target_K)
        return nats_K

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_K,) = grads
        if not ctx.needs_input_grad[1]:
            (grad_KD,) = ctx.saved_tensors
            return grad_KD * grad_K[:, None].to(grad_KD.dtype), None, None, None
        hidden_KD, weight_VD, target_K = ctx.saved_tensors
        weight = weight_VD.to(ctx.cast)
        grad_KD = torch.empty_like(hidden_KD)
        grad_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        for here in _chunks(hidden_KD, ctx.chunk):
            hidden_CD = hidden_KD[here].to(ctx.cast)
            slope_CV = _slope(_logs(hidden_CD, weight), target_K[here, None]).mul_(grad_K[here, None]).to(ctx.cast)
            grad_KD[here] = (slope_CV @ weight).to(grad_KD.dtype)
            grad_VD += slope_CV.T @ hidden_CD
        return grad_KD, grad_VD.to(weight_VD.dtype), None, None


def _chunks(rows: torch.Tensor, size: int) -> Iterator[slice]:
    return (slice(begin, begin + size) for begin in range(0, len(rows), size))


def _logs(hidden_CD: torch.Tensor, weight_VD: torch.Tensor) -> torch.Tensor:
    return functional.linear(hidden_CD, weight_VD).log_softmax(-1, dtype=torch.float32)


def _slope(logs_CV: torch.Tensor, target_C1: torch.Tensor) -> torch.Tensor:
    """Of the targets' nats by the logits: softmax less 1 at the target. `logs_CV` becomes it."""
    return logs_CV.exp_().scatter_add_(1, target_C1, logs_CV.new_full(target_C1.shape, -1.0))


def _kept_in(x: torch.Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _multiplied_in(kept: torch.dtype, device: str) -> torch.dtype:
    """What is kept in bfloat16 is multiplied in float32 where that is faster; casts are small beside a product."""
    return torch.float32 if kept == torch.bfloat16 and device == "cpu" and not bfloat16_pays() else kept


@cache
def bfloat16_pays() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: not every one that knows how to.

    AMX does, and AMD's AVX512-BF16 at twice the rate; Intel's without AMX reaches 85 GFLOP/s where float32 reaches 148
    (`docs/tuning.md`). Facts of the processor and no measurement, so that every run on it rounds alike.
    """
    known = torch.cpu.get_capabilities()
    return bool(known.get("amx_bf16") or (known.get("avx512_bf16") and "AMD" in str(known.get("cpu_name"))))


class Map(NamedTuple):
    """A frozen linear map and what is learned beside it: weight (O, D), in 4 bits or not, down (R, D), up (O, R)."""

    weight: torch.Tensor
    down: torch.Tensor
    up: torch.Tensor


def lora_linears(x: torch.Tensor, maps: Sequence[Map], scale: float) -> tuple[torch.Tensor, ...]:
    """x W^T + scale (x A^T) B^T of each map, in the precision of x (..., D).

    Kept are x, once for all of them, and x A^T.
    """
    weights, learned = [one.weight for one in maps], [half for one in maps for half in (one.down, one.up)]
    out: tuple[torch.Tensor, ...] = _LoraLinears.apply(x, scale, weights, *learned)  # type: ignore[no-untyped-call]
    return out


class _LoraLinears(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: float, weights: Sequence[torch.Tensor], *learned: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        kept = _kept_in(x)
        cast = _multiplied_in(kept, x.device.type)
        maps = _maps(weights, learned, cast)
        kept_ND = x.to(kept).flatten(0, -2)
        outs = []
        with torch.autocast(x.device.type, enabled=False):
            x_ND = kept_ND.to(cast)
            lows = (x_ND @ torch.cat([one.down for one in maps]).T).split([len(one.down) for one in maps], dim=1)
            for one, low_NR in zip(maps, lows, strict=True):
                out_NO = (x_ND @ one.weight.T).addmm_(low_NR, one.up.T, alpha=scale)
                outs.append(out_NO.to(kept).view(*x.shape[:-1], -1))
        ctx.save_for_backward(kept_ND, *lows, *learned)
        ctx.scale, ctx.shape, ctx.weights = scale, x.shape, weights  # frozen: nobody asks whether they changed
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        kept_ND, *saved = ctx.saved_tensors
        lows, learned = saved[: len(grads)], saved[len(grads) :]
        cast = lows[0].dtype
        maps, x_ND = _maps(ctx.weights, learned, cast), kept_ND.to(cast)
        grad_NOs = [grad.flatten(0, -2).to(cast) for grad in grads]
        grad_lows = torch.cat([grad_NO @ one.up for one, grad_NO in zip(maps, grad_NOs, strict=True)], dim=1).mul_(
            ctx.scale
        )
        grad_ND = None
        if ctx.needs_input_grad[0]:
            grad_ND = grad_lows @ torch.cat([one.down for one in maps])
            for one, grad_NO in zip(maps, grad_NOs, strict=True):
                grad_ND.addmm_(grad_NO, one.weight)
            grad_ND = grad_ND.to(kept_ND.dtype).view(ctx.shape)
        found: list[torch.Tensor | None] = [grad_ND, None, None]
        downs = (grad_lows.T @ x_ND).split([len(one.down) for one in maps])
        for down, up, grad_NO, low_NR, grad_RD in zip(learned[::2], learned[1::2], grad_NOs, lows, downs, strict=True):
            grad_OR = (grad_NO.T @ low_NR).mul_(ctx.scale)
            found += [grad_RD.to(down.dtype), grad_OR.to(up.dtype)]
        return tuple(found)


def _maps(weights: Sequence[torch.Tensor], learned: Sequence[torch.Tensor], cast: torch.dtype) -> list[Map]:
    return [
        Map(nf4.unpacked(weight, cast), down.to(cast), up.to(cast))
        for weight, down, up in zip(weights, learned[::2], learned[1::2], strict=True)
    ]


def rotary(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x (..., N, head_dim) turned by the angles of its positions (..., N, head_dim), the first half against the second
    (Su et al. 2021, as Llama lays it out); nothing of x is kept."""
    return _apply(_Rotary, x, cos, sin)


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, sin, -1.0), None, None


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, way: float) -> torch.Tensor:
    out = x * cos
    half = x.shape[-1] // 2
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-way)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:], value=way)
    return out


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float | None, dropout: float, *, causal: bool
) -> torch.Tensor:
    """Attention of q (S, heads, L, head_dim) over k, v (S, kv_heads, L, head_dim), shaped as q."""
    cast = _multiplied_in(q.dtype, q.device.type)
    if cast != q.dtype and not dropout:
        return _apply(_WideAttention, q, k, v, q.shape[-1] ** -0.5 if scale is None else scale, causal)
    return functional.scaled_dot_product_attention(
        q, k, v, is_causal=causal, scale=scale, dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1]
    )


class _WideAttention(torch.autograd.Function):
    """What a CPU's scaled_dot_product_attention calls, computed in float32 and kept as it came."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool
    ) -> torch.Tensor:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        wide, logsumexp = flash(q.float(), k.float(), v.float(), 0.0, causal, scale=scale)
        out: torch.Tensor = wide.to(q.dtype)
        ctx.save_for_backward(q, k, v, out, logsumexp)
        ctx.scale, ctx.causal = scale, causal
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out, logsumexp = ctx.saved_tensors
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        floats = [one.float() for one in (grads[0], q, k, v, out)]
        wide = flash(*floats, logsumexp, 0.0, ctx.causal, scale=ctx.scale)
        return *(grad.to(q.dtype) for grad in wide), None, None


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
        out: torch.Tensor = weight_D * (wide * inverse).to(x.dtype)
        return out

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
