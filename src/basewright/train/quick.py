"""Give a model's modules the forward passes of `kernels`, where they are known to compute the same.

Parameters, their names and what is saved stay as they are. What is not known here runs as transformers has it.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from transformers import AttentionInterface
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRMSNorm
from transformers.models.modernbert.modeling_modernbert import ModernBertAttention

from basewright.train import kernels, nf4


def quicken(model: Any) -> None:
    """In place, for training: nothing here reads or fills a cache of keys and values."""
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = _norm(module)
        elif isinstance(module, LlamaAttention):
            module.forward = _attention(module)
        elif isinstance(module, ModernBertAttention):
            module.forward = _both_sides(module)
        elif isinstance(module, LlamaMLP) and module.config.hidden_act == "silu":
            module.forward = _mlp(module)
        elif _is_plain(module):
            module.forward = _lora(module)


def _is_plain(module: Any) -> bool:
    """A map with plain LoRA; DoRA's stay peft's own, as do maps with a bias or stored inputs first."""
    if not isinstance(module, LoraLayer) or module.lora_variant:
        return False
    base = module.get_base_layer()
    return (type(base) is torch.nn.Linear or nf4.packed(base)) and base.bias is None


def _norm(module: Any) -> Any:
    return lambda x: kernels.rms_norm(x, module.weight, module.variance_epsilon)


def _mlp(module: Any) -> Any:
    both = _together(module.gate_proj, module.up_proj)
    return lambda x: module.down_proj(kernels.swiglu(*both(x)))


def _attention(module: Any) -> Any:
    projected = _together(module.q_proj, module.k_proj, module.v_proj)

    def forward(
        hidden_states: torch.Tensor, position_embeddings: Any, attention_mask: Any = None, **rest: Any
    ) -> tuple[torch.Tensor, None]:
        cos, sin = (angles[:, None] for angles in position_embeddings)
        q, k, v = (x.unflatten(-1, (-1, module.head_dim)).transpose(1, 2) for x in projected(hidden_states))
        q, k = kernels.rotary(q, cos, sin), kernels.rotary(k, cos, sin)
        attend = AttentionInterface()[module.config._attn_implementation]
        dropout = module.attention_dropout if module.training else 0.0
        out, _ = attend(module, q, k, v, attention_mask, dropout=dropout, scaling=module.scaling, **rest)
        return module.o_proj(out.flatten(-2)), None

    return forward


def _both_sides(module: Any) -> Any:
    """ModernBERT's: queries, keys and values come from one map."""

    def forward(
        hidden_states: torch.Tensor, position_embeddings: Any, attention_mask: Any = None, **rest: Any
    ) -> tuple[torch.Tensor, None]:
        cos, sin = (angles[:, None] for angles in position_embeddings)
        qkv = module.Wqkv(hidden_states).unflatten(-1, (3, -1, module.head_dim))
        q, k, v = (x.transpose(1, 2) for x in qkv.unbind(-3))
        q, k = (kernels.rotary(x, cos.to(x.dtype), sin.to(x.dtype)) for x in (q, k))
        attend = AttentionInterface()[module.config._attn_implementation]
        dropout = module.attention_dropout if module.training else 0.0
        window, scaling = module.sliding_window, module.head_dim**-0.5
        out, _ = attend(
            module, q, k, v, attention_mask, dropout=dropout, scaling=scaling, sliding_window=window, **rest
        )
        return module.out_drop(module.Wo(out.flatten(-2))), None

    return forward


def _together(*modules: Any) -> Any:
    """What several maps make of one input; the input is read and kept once where all of them are plain LoRA."""
    if not all(map(_is_plain, modules)):
        return lambda x: [module(x) for module in modules]
    scale = _scale(modules[0])
    return lambda x: kernels.lora_linears(x, [_map(module) for module in modules], scale)


def _lora(module: Any) -> Any:
    scale = _scale(module)
    return lambda x: kernels.lora_linears(x, [_map(module)], scale)[0]


def _map(module: Any) -> kernels.Map:
    """Read at every pass: a module whose parameters are in parts on several ranks has others each time."""
    (name,) = module.active_adapters
    return kernels.Map(module.get_base_layer().weight, module.lora_A[name].weight, module.lora_B[name].weight)


def _scale(module: Any) -> float:
    (name,) = module.active_adapters
    return float(module.scaling[name])
