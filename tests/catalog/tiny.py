"""A tiny config of every family, and what transformers makes of it: the tensors it saves, and its linear maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from basewright.catalog.architectures import FAMILIES

USUAL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
BARE = {key: value for key, value in USUAL.items() if key != "intermediate_size"}
GROUPED = {**USUAL, "num_key_value_heads": 2}
GPT2 = {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
IMAGE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
MLA = {
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "moe_intermediate_size": 20,
    "first_k_dense_replace": 1,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**GROUPED, "model_type": "llama"},
    "llama, tied, with biases and wide heads": {
        **GROUPED,
        "model_type": "llama",
        "tie_word_embeddings": True,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 12,
    },
    "mistral": {**GROUPED, "model_type": "mistral", "head_dim": 8},
    "mixtral": {**GROUPED, "model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen2": {**GROUPED, "model_type": "qwen2"},
    "qwen2, tied": {**GROUPED, "model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3": {**GROUPED, "model_type": "qwen3", "head_dim": 12},
    "qwen3_moe": {
        **GROUPED,
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 20,
    },
    "qwen3_moe, some layers dense": {
        **GROUPED,
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 20,
        "decoder_sparse_step": 2,
        "head_dim": 12,
    },
    "gemma": {**GROUPED, "model_type": "gemma", "head_dim": 12},
    "gemma2": {**GROUPED, "model_type": "gemma2", "head_dim": 12},
    "gemma3_text": {**GROUPED, "model_type": "gemma3_text", "head_dim": 12},
    "phi": {**GROUPED, "model_type": "phi"},
    "phi, normed": {**GROUPED, "model_type": "phi", "qk_layernorm": True},
    "phi3": {**GROUPED, "model_type": "phi3"},
    "gpt2": {**GPT2, "model_type": "gpt2"},
    "gptj": {**GPT2, "model_type": "gptj", "rotary_dim": 4},
    "gpt_neo": {
        "vocab_size": 96,
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
        "max_position_embeddings": 64,
        "model_type": "gpt_neo",
    },
    "gpt_neox": {**USUAL, "model_type": "gpt_neox"},
    "gpt_bigcode": {**GPT2, "model_type": "gpt_bigcode"},
    "falcon": {**BARE, "model_type": "falcon"},
    "falcon, two norms": {
        **BARE,
        "model_type": "falcon",
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
    },
    "falcon, as the smallest": {
        **BARE,
        "model_type": "falcon",
        "multi_query": False,
        "parallel_attn": False,
        "bias": True,
        "alibi": True,
    },
    "olmo": {**GROUPED, "model_type": "olmo"},
    "olmo2": {**GROUPED, "model_type": "olmo2"},
    "stablelm": {**GROUPED, "model_type": "stablelm"},
    "stablelm, with biases and more norms": {
        **GROUPED,
        "model_type": "stablelm",
        "use_qkv_bias": True,
        "qk_layernorm": True,
        "use_parallel_residual": True,
    },
    "smollm3": {**GROUPED, "model_type": "smollm3"},
    "opt": {**BARE, "model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32},
    "opt, projected": {
        **BARE,
        "model_type": "opt",
        "ffn_dim": 48,
        "word_embed_proj_dim": 16,
        "do_layer_norm_before": False,
    },
    "bloom": {"vocab_size": 96, "hidden_size": 32, "n_layer": 3, "n_head": 4, "model_type": "bloom"},
    "mpt": {"vocab_size": 96, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 64, "model_type": "mpt"},
    "starcoder2": {**GROUPED, "model_type": "starcoder2"},
    "cohere": {**GROUPED, "model_type": "cohere"},
    "cohere, normed": {**GROUPED, "model_type": "cohere", "use_qk_norm": True},
    "olmoe": {**GROUPED, "model_type": "olmoe", "num_experts": 3, "num_experts_per_tok": 2},
    "qwen2_moe": {
        **GROUPED,
        "model_type": "qwen2_moe",
        "num_experts": 3,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 20,
        "shared_expert_intermediate_size": 24,
    },
    "deepseek_v3": {**USUAL, **MLA, "num_key_value_heads": 4, "model_type": "deepseek_v3"},
    "deepseek_v3, plain queries": {
        **USUAL,
        **MLA,
        "num_key_value_heads": 4,
        "q_lora_rank": None,
        "model_type": "deepseek_v3",
    },
    "gpt_oss": {**GROUPED, "model_type": "gpt_oss", "num_local_experts": 3, "num_experts_per_tok": 2, "head_dim": 8},
    "bert": {**USUAL, "model_type": "bert"},
    "roberta": {**USUAL, "model_type": "roberta", "type_vocab_size": 1},
    "deberta-v2": {
        **USUAL,
        "model_type": "deberta-v2",
        "relative_attention": True,
        "max_relative_positions": -1,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "deberta-v2, with a convolution": {
        **USUAL,
        "model_type": "deberta-v2",
        "relative_attention": True,
        "conv_kernel_size": 3,
        "pos_att_type": ["p2c", "c2p"],
        "type_vocab_size": 2,
        "embedding_size": 32,
    },
    "xlm-roberta": {**USUAL, "model_type": "xlm-roberta"},
    "distilbert": {
        "vocab_size": 96,
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 64,
        "model_type": "distilbert",
    },
    "modernbert": {**USUAL, "model_type": "modernbert"},
    "vit": {**IMAGE, "model_type": "vit"},
    "dinov2": {**IMAGE, "model_type": "dinov2", "mlp_ratio": 2},
    "dinov2, gated": {**IMAGE, "model_type": "dinov2", "use_swiglu_ffn": True},
    "clip": {
        "model_type": "clip",
        "projection_dim": 24,
        "text_config": {**USUAL, "hidden_size": 28, "model_type": "clip_text_model"},
        "vision_config": {**IMAGE, "model_type": "clip_vision_model"},
    },
    "siglip": {
        "model_type": "siglip",
        "text_config": {**USUAL, "model_type": "siglip_text_model"},
        "vision_config": {**IMAGE, "model_type": "siglip_vision_model"},
    },
    "gemma3": {
        "model_type": "gemma3",
        "mm_tokens_per_image": 4,
        "text_config": {**GROUPED, "head_dim": 12, "model_type": "gemma3_text"},
        "vision_config": {**IMAGE, "model_type": "siglip_vision_model"},
    },
    "mamba": {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 4, "model_type": "mamba"},
    "rwkv": {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "model_type": "rwkv"},
}

REFUSED = ("llama, tied, with biases and wide heads", "falcon, as the smallest")
"""Configs of families that can be run which themselves cannot."""


def class_of(name: str) -> str:
    return FAMILIES[CONFIGS[name]["model_type"]].cls


def build(config: dict[str, Any], cls: str, device: str = "cpu") -> Any:
    """The model of transformers' class `cls` with random weights."""
    kept = {key: value for key, value in config.items() if key != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **kept)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(made, key, 0)
    with torch.device(device):
        return getattr(transformers, cls)(made)


def saved(model: Any, folder: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The config.json and the tensors of the model's folder, as it is saved."""
    model.save_pretrained(folder)
    with safe_open(folder / "model.safetensors", "pt") as file:
        tensors = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return json.loads((folder / "config.json").read_text()), tensors
