"""Give a model's modules the forward passes of `kernels`, where they are known to compute the same.

Parameters, their names and what is saved stay as they are. What is not known here runs as transformers has it.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from basewright.train import kernels


def quicken(model: Any) -> None:
    """In place. DoRA's maps stay peft's own, as do maps with a bias."""
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = _norm(module)
        elif isinstance(module, LlamaMLP) and module.config.hidden_act == "silu":
            module.forward = _mlp(module)
        elif isinstance(module, LoraLinear) and not module.lora_variant and module.get_base_layer().bias is None:
            module.forward = _lora(module)


def _norm(module: Any) -> Any:
    return lambda x: kernels.rms_norm(x, module.weight, module.variance_epsilon)


def _mlp(module: Any) -> Any:
    return lambda x: module.down_proj(kernels.swiglu(module.gate_proj(x), module.up_proj(x)))


def _lora(module: Any) -> Any:
    (name,) = module.active_adapters
    weight, scale = module.get_base_layer().weight, module.scaling[name]
    down, up = module.lora_A[name].weight, module.lora_B[name].weight

    def forward(x: torch.Tensor) -> torch.Tensor:
        return kernels.lora_linear(x, weight, down, up, scale)

    return forward
