"""A frozen base in 4 bits: NF4, its scales quantised again (Dettmers et al. 2023, "QLoRA"), through bitsandbytes.

Held are the linear maps of the layers in 4.13 bits a weight: 4, 8 for the scale of 64 weights, 32 for that of 256
scales. Embeddings, norms and the head stay as they are. A map is unpacked for each product and not kept.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from basewright.engine.torch_lm import load_model
from basewright.errors import UsageError


def load(folder: Path, precision: str, attention: str | None = None) -> Any:
    """The model with its maps packed, the rest of it in `precision`. Raises `UsageError` without bitsandbytes."""
    if find_spec("bitsandbytes") is None:
        raise UsageError("bitsandbytes is not installed", fix="pip install 'basewright[qlora]'")
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, precision),
    )
    model = load_model(folder, precision, attention, config)
    for module in model.modules():
        if packed(module):
            # In eval mode on a CPU with AVX512-BF16 it would pack its weights again on first use, in place and rounded
            # to bfloat16, for a product without a gradient.
            module.support_avx512bf16_for_cpu = False
    return model


def packed(module: Any) -> bool:
    """Whether a map holds its weight in 4 bits."""
    return getattr(getattr(module, "weight", None), "quant_state", None) is not None


def unpacked(weight: torch.Tensor, cast: torch.dtype) -> torch.Tensor:
    """A weight (O, D) as it is multiplied, whether it is held packed or not."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.to(cast)
    from bitsandbytes.functional import dequantize_4bit

    whole: torch.Tensor = dequantize_4bit(weight.data, state)
    return whole.to(cast)
