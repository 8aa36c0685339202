"""Decoders that look like Llama: rotary positions, one norm or more before each part, separate or fused maps."""

from __future__ import annotations

from basewright.catalog.architectures.family import USUAL, Family, heads
from basewright.catalog.architectures.sizes import Sizes, Words, every, flag, optional, size, sliding

START = """
model.embed_tokens  table vocabulary width
model.layers.{layers}.
"""
ATTENTION = """
  self_attn.q_proj  map queries width  bias=qkv_bias
  self_attn.k_proj  map keys width     bias=qkv_bias
  self_attn.v_proj  map keys width     bias=qkv_bias
  self_attn.o_proj  map width queries  bias=output_bias
"""
GATED = """
  mlp.gate_proj  map feed_forward width  bias=mlp_bias
  mlp.up_proj    map feed_forward width  bias=mlp_bias
  mlp.down_proj  map width feed_forward  bias=mlp_bias
"""
HEAD_NORMS = """
  self_attn.q_norm  norm head_dim
  self_attn.k_norm  norm head_dim
"""
FULL_NORMS = """
  self_attn.q_norm  norm queries
  self_attn.k_norm  norm keys
"""
TWO_NORMS = """
  input_layernorm           norm width
  post_attention_layernorm  norm width
"""
FOUR_NORMS = (
    TWO_NORMS
    + """
  pre_feedforward_layernorm   norm width
  post_feedforward_layernorm  norm width
"""
)
END = """
model.norm  norm width
lm_head     map vocabulary width  if=untied
"""
LLAMA: Words = {**USUAL, "qkv_bias": False, "output_bias": False, "mlp_bias": False}
BIASED: Words = {
    **LLAMA,
    "qkv_bias": flag("attention_bias", False),
    "output_bias": flag("attention_bias", False),
}
TIED: Words = {"tied": flag("tie_word_embeddings", True)}


def _alternating(sizes: Sizes) -> tuple[int, ...]:
    return tuple(range(0, sizes.layers, 2))


def _from_a_layer_on(sizes: Sizes) -> tuple[int, ...]:
    first = sizes.read("max_window_layers")
    return tuple(range(first if type(first) is int else 28, sizes.layers))


def _five_in_six(sizes: Sizes) -> tuple[int, ...]:
    pattern = sizes.read("sliding_window_pattern", "_sliding_window_pattern")
    step = pattern if type(pattern) is int and pattern > 0 else 6
    return tuple(layer for layer in range(sizes.layers) if (layer + 1) % step)


def _window_if_used(sizes: Sizes) -> int | None:
    return sizes.given_window if sizes.uses_window else None


QWEN: Words = {
    "window": _window_if_used,
    "uses_window": flag("use_sliding_window", False),
    "given_window": optional("sliding_window", 4096),
    "windowed": sliding(_from_a_layer_on),
}

GEMMA3: Words = {
    **BIASED,
    **TIED,
    "kv_heads": size("num_key_value_heads", absent=4),
    "head_dim": size("head_dim", absent=256),
    "window": optional("sliding_window", 4096),
    "windowed": sliding(_five_in_six),
}
GEMMA3_LAYER = HEAD_NORMS + GATED + FOUR_NORMS

# --- dense ----------------------------------------------------------------------------------------

DENSE = (
    Family(
        "llama",
        "LlamaForCausalLM",
        "decoder",
        {**BIASED, "mlp_bias": flag("mlp_bias", False)},
        START + ATTENTION + GATED + TWO_NORMS + END,
    ),
    Family(
        "mistral",
        "MistralForCausalLM",
        "decoder",
        {
            **LLAMA,
            "kv_heads": size("num_key_value_heads", absent=8, null=heads),
            "window": optional("sliding_window", 4096),
            "windowed": sliding(every),
        },
        START + ATTENTION + GATED + TWO_NORMS + END,
    ),
    Family(
        "qwen2",
        "Qwen2ForCausalLM",
        "decoder",
        {**LLAMA, **QWEN, "kv_heads": size("num_key_value_heads", absent=32, null=heads), "qkv_bias": True},
        START + ATTENTION + GATED + TWO_NORMS + END,
    ),
    Family(
        "qwen3",
        "Qwen3ForCausalLM",
        "decoder",
        {
            **BIASED,
            **QWEN,
            "kv_heads": size("num_key_value_heads", absent=32, null=heads),
            "head_dim": size("head_dim", absent=128),
        },
        START + ATTENTION + HEAD_NORMS + GATED + TWO_NORMS + END,
    ),
    Family(
        "gemma",
        "GemmaForCausalLM",
        "decoder",
        {
            **BIASED,
            **TIED,
            "kv_heads": size("num_key_value_heads", absent=16),
            "head_dim": size("head_dim", absent=256),
        },
        START + ATTENTION + GATED + TWO_NORMS + END,
    ),
    Family(
        "gemma2",
        "Gemma2ForCausalLM",
        "decoder",
        {
            **BIASED,
            **TIED,
            "kv_heads": size("num_key_value_heads", absent=4),
            "head_dim": size("head_dim", absent=256),
            "window": optional("sliding_window", 4096),
            "windowed": sliding(_alternating),
        },
        START + ATTENTION + GATED + FOUR_NORMS + END,
    ),
    Family("gemma3_text", "Gemma3ForCausalLM", "decoder", GEMMA3, START + ATTENTION + GEMMA3_LAYER + END),
    Family(
        "phi3",
        "Phi3ForCausalLM",
        "decoder",
        {
            **LLAMA,
            "fused": lambda s: s.queries + 2 * s.keys,
            "window": optional("sliding_window"),
            "windowed": sliding(every),
        },
        START
        + """
  self_attn.qkv_proj  map fused width
  self_attn.o_proj    map width queries
  mlp.gate_up_proj    map 2*feed_forward width
  mlp.down_proj       map width feed_forward
"""
        + TWO_NORMS
        + END,
    ),
    Family(
        "olmo",
        "OlmoForCausalLM",
        "decoder",
        BIASED,
        START + ATTENTION + GATED + END.replace("model.norm  norm width\n", ""),  # its norms have no weights
    ),
    Family(
        "olmo2",
        "Olmo2ForCausalLM",
        "decoder",
        BIASED,
        START
        + ATTENTION
        + FULL_NORMS
        + GATED
        + """
  post_attention_layernorm    norm width
  post_feedforward_layernorm  norm width
"""
        + END,
    ),
    Family(
        "cohere",
        "CohereForCausalLM",
        "decoder",
        {
            **BIASED,
            **TIED,
            "head_dim": lambda s: s.width // s.heads,
            "normed": flag("use_qk_norm", False),
            "parallel": True,
        },
        START
        + ATTENTION
        + GATED
        + """
  self_attn.q_norm  norm heads head_dim     if=normed
  self_attn.k_norm  norm kv_heads head_dim  if=normed
  input_layernorm   norm width
"""
        + END,
    ),
    Family(
        "stablelm",
        "StableLmForCausalLM",
        "decoder",
        {
            **LLAMA,
            "kv_heads": size("num_key_value_heads", absent=32),
            "head_dim": lambda s: s.width // s.heads,
            "qkv_bias": flag("use_qkv_bias", False),
            "normed": flag("qk_layernorm", False),
            "parallel": flag("use_parallel_residual", False),
            "in_turn": lambda s: not s.parallel,
        },
        START
        + ATTENTION
        + GATED
        + """
  self_attn.q_layernorm.norms.{heads}     norm head_dim  if=normed
  self_attn.k_layernorm.norms.{kv_heads}  norm head_dim  if=normed
  input_layernorm           norm width  bias
  post_attention_layernorm  norm width  bias  if=in_turn
"""
        + END.replace("norm width", "norm width  bias"),
    ),
    Family(
        "smollm3",
        "SmolLM3ForCausalLM",
        "decoder",
        {
            **BIASED,
            **TIED,
            "kv_heads": size("num_key_value_heads", absent=4, null=heads),
            "mlp_bias": flag("mlp_bias", False),
            "window": _window_if_used,
            "uses_window": flag("use_sliding_window", False),
            "given_window": optional("sliding_window"),
            "windowed": sliding(lambda s: tuple(layer for layer in range(s.layers) if not (layer + 1) % 4)),
        },
        START + ATTENTION + GATED + TWO_NORMS + END,
    ),
    Family(
        "starcoder2",
        "Starcoder2ForCausalLM",
        "decoder",
        {
            **LLAMA,
            **TIED,
            "kv_heads": size("num_key_value_heads", absent=2, null=heads),
            "head_dim": lambda s: s.width // s.heads,
            "biased": flag("use_bias", True),
            "qkv_bias": lambda s: s.biased,
            "output_bias": lambda s: s.biased,
            "gated": False,
            "window": optional("sliding_window"),
            "windowed": sliding(every),
        },
        START
        + ATTENTION
        + """
  mlp.c_fc    map feed_forward width  bias=biased
  mlp.c_proj  map width feed_forward  bias=biased
  input_layernorm           norm width  bias
  post_attention_layernorm  norm width  bias
"""
        + END.replace("norm width", "norm width  bias"),
    ),
    Family(
        "phi",
        "PhiForCausalLM",
        "decoder",
        {**USUAL, "gated": False, "parallel": True, "normed": flag("qk_layernorm", False)},
        START
        + """
  self_attn.q_proj       map queries width       bias
  self_attn.k_proj       map keys width          bias
  self_attn.v_proj       map keys width          bias
  self_attn.dense        map width queries       bias
  self_attn.q_layernorm  norm head_dim           bias  if=normed
  self_attn.k_layernorm  norm head_dim           bias  if=normed
  mlp.fc1                map feed_forward width  bias
  mlp.fc2                map width feed_forward  bias
  input_layernorm        norm width              bias
model.final_layernorm    norm width              bias
lm_head                  map vocabulary width    bias
""",
    ),
)
