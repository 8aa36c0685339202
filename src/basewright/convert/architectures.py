"""What GGUF calls the parts of each architecture we can write: names as tables, so that another is a stanza here."""

from __future__ import annotations

from typing import Any

from basewright.errors import Refused
from basewright.records import record

_FIX = "take the gguf formats out of [ship].formats, or choose another base model"


@record
class Architecture:
    model_type: str
    """In config.json; the same word is GGUF's name for it."""
    outer: dict[str, str]
    """Tensors that exist once: their name in a model folder, their name in GGUF."""
    layer: dict[str, str]
    """Tensors of each layer, below `model.layers.N.` and `blk.N.`."""
    rotary: dict[str, str]
    """GGUF tensors whose rows are rotated pairs, and the config's word for how many heads they hold."""
    facts: dict[str, str]
    """GGUF keys below the architecture's name, and the config's word for each."""


LLAMA = Architecture(
    model_type="llama",
    outer={
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    },
    layer={
        "input_layernorm.weight": "attn_norm.weight",
        "self_attn.q_proj.weight": "attn_q.weight",
        "self_attn.k_proj.weight": "attn_k.weight",
        "self_attn.v_proj.weight": "attn_v.weight",
        "self_attn.o_proj.weight": "attn_output.weight",
        "post_attention_layernorm.weight": "ffn_norm.weight",
        "mlp.gate_proj.weight": "ffn_gate.weight",
        "mlp.up_proj.weight": "ffn_up.weight",
        "mlp.down_proj.weight": "ffn_down.weight",
    },
    rotary={"attn_q.weight": "num_attention_heads", "attn_k.weight": "num_key_value_heads"},
    facts={
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "vocab_size": "vocab_size",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim",
        "attention.value_length": "head_dim",
        "rope.dimension_count": "head_dim",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    },
)
KNOWN = {each.model_type: each for each in (LLAMA,)}


def of(config: Any) -> Architecture:
    """The table for a model's config. Raises `Refused` for what GGUF would not say and a reader would get wrong."""
    if config.model_type not in KNOWN:
        raise Refused(f"GGUF is written for {', '.join(KNOWN)} models, not for {config.model_type}", fix=_FIX)
    rope = config.rope_parameters
    unlike = {
        "hidden_act": (config.hidden_act, "silu"),
        "attention_bias": (config.attention_bias, False),
        "mlp_bias": (config.mlp_bias, False),
        "rope_type": (rope.get("rope_type", "default"), "default"),
        "partial_rotary_factor": (rope.get("partial_rotary_factor", 1.0), 1.0),
    }
    for name, (value, known) in unlike.items():
        if value != known:
            raise Refused(f"GGUF is written for {name} = {known}; this model has {value}", fix=_FIX)
    return KNOWN[config.model_type]


def facts(config: Any) -> dict[str, int | float]:
    """What the model is, by full GGUF key: whole numbers, and the RMS epsilon and rope base as floats."""
    table = of(config)
    found = {f"{table.model_type}.{key}": getattr(config, name) for key, name in table.facts.items()}
    return found | {f"{table.model_type}.rope.freq_base": float(config.rope_parameters["rope_theta"])}


def tensors(config: Any) -> dict[str, str]:
    """Every tensor a model with this config has: its name in a folder, its name in GGUF. A tied output has none."""
    table = of(config)
    names = dict(table.outer)
    if config.tie_word_embeddings:
        del names["lm_head.weight"]
    for layer in range(config.num_hidden_layers):
        names |= {f"model.layers.{layer}.{ours}": f"blk.{layer}.{theirs}" for ours, theirs in table.layer.items()}
    return names


def rotary_heads(config: Any, gguf_name: str) -> int | None:
    """How many heads of rotated pairs the rows of a tensor are, or None."""
    field = of(config).rotary.get(gguf_name.split(".", 2)[-1])
    return None if field is None else int(getattr(config, field))
