"""Decoders whose feed-forward is shared out among experts, in the names of files, which hold experts one by one."""

from __future__ import annotations

from basewright.catalog.architectures.decoders import (
    ATTENTION,
    BIASED,
    END,
    FULL_NORMS,
    GATED,
    HEAD_NORMS,
    LLAMA,
    QWEN,
    START,
    TWO_NORMS,
)
from basewright.catalog.architectures.family import USUAL, Family, heads
from basewright.catalog.architectures.sizes import Sizes, Words, count, every, flag, optional, size, sliding

EXPERTS = """
  mlp.gate.weight                  raw experts width
  mlp.experts.{experts}.gate_proj  map expert_feed_forward width
  mlp.experts.{experts}.up_proj    map expert_feed_forward width
  mlp.experts.{experts}.down_proj  map width expert_feed_forward
"""


def _sparse(sizes: Sizes) -> tuple[int, ...]:
    """The layers with experts: every so many, but for those listed as dense."""
    dense, step = sizes.read("mlp_only_layers"), sizes.sparse_step
    listed = dense if isinstance(dense, list) else []
    return tuple(layer for layer in range(sizes.layers) if layer not in listed and not (layer + 1) % step)


def _rest(sizes: Sizes) -> tuple[int, ...]:
    return tuple(sorted(set(range(sizes.layers)) - set(sizes.sparse)))


MIXED: Words = {
    "sparse": _sparse,
    "sparse_step": size("decoder_sparse_step", absent=1),
    "dense": _rest,
    "dense_layers": lambda s: len(s.dense),
    "experts_active": size("num_experts_per_tok", absent=8),
    "expert_feed_forward": size("moe_intermediate_size", absent=768),
}
LATENT = """
  self_attn.q_proj              map queries width      if=direct
  self_attn.q_a_proj            map query_rank width   if=ranked  bias=qkv_bias
  self_attn.q_a_layernorm       norm query_rank        if=ranked
  self_attn.q_b_proj            map queries query_rank  if=ranked
  self_attn.kv_a_proj_with_mqa  map cache_width width  bias=qkv_bias
  self_attn.kv_a_layernorm      norm rank
  self_attn.kv_b_proj           map unfolded rank
  self_attn.o_proj              map width values       bias=output_bias
"""

FAMILIES = (
    Family(
        "mixtral",
        "MixtralForCausalLM",
        "decoder",
        {
            **LLAMA,
            "kv_heads": size("num_key_value_heads", absent=8, null=heads),
            "experts": count("num_local_experts", "num_experts", absent=8),
            "experts_active": size("num_experts_per_tok", absent=2),
            "expert_feed_forward": lambda s: s.feed_forward,
            "window": optional("sliding_window"),
            "windowed": sliding(every),
        },
        START
        + ATTENTION
        + """
  block_sparse_moe.gate.weight           raw experts width
  block_sparse_moe.experts.{experts}.w1  map expert_feed_forward width
  block_sparse_moe.experts.{experts}.w2  map width expert_feed_forward
  block_sparse_moe.experts.{experts}.w3  map expert_feed_forward width
"""
        + TWO_NORMS
        + END,
    ),
    Family(
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        "decoder",
        {
            **BIASED,
            **QWEN,
            **MIXED,
            "kv_heads": count("num_key_value_heads", absent=4),
            "experts": count("num_experts", "num_local_experts", absent=128),
        },
        START
        + ATTENTION
        + HEAD_NORMS
        + TWO_NORMS
        + "model.layers.{sparse}.\n"
        + EXPERTS
        + "model.layers.{dense}.\n"
        + GATED
        + END,
    ),
    Family(
        "qwen2_moe",
        "Qwen2MoeForCausalLM",
        "decoder",
        {
            **LLAMA,
            **QWEN,
            **MIXED,
            "kv_heads": size("num_key_value_heads", absent=16),
            "qkv_bias": flag("qkv_bias", True),
            "experts": count("num_experts", "num_local_experts", absent=60),
            "experts_active": size("num_experts_per_tok", absent=4),
            "expert_feed_forward": size("moe_intermediate_size", absent=1408),
            "shared_feed_forward": size("shared_expert_intermediate_size", absent=5632),
        },
        START
        + ATTENTION
        + TWO_NORMS
        + "model.layers.{sparse}.\n"
        + EXPERTS
        + """
  mlp.shared_expert.gate_proj  map shared_feed_forward width
  mlp.shared_expert.up_proj    map shared_feed_forward width
  mlp.shared_expert.down_proj  map width shared_feed_forward
  mlp.shared_expert_gate       map 1 width
model.layers.{dense}.
"""
        + GATED
        + END,
    ),
    Family(
        "olmoe",
        "OlmoeForCausalLM",
        "decoder",
        {
            **BIASED,
            "experts": count("num_experts", "num_local_experts", absent=64),
            "experts_active": size("num_experts_per_tok", absent=8),
            "expert_feed_forward": lambda s: s.feed_forward,
        },
        START + ATTENTION + FULL_NORMS + EXPERTS + TWO_NORMS + END,
    ),
    Family(
        "deepseek_v3",
        "DeepseekV3ForCausalLM",
        "decoder",
        {
            **BIASED,
            "kv_heads": size("num_key_value_heads", absent=128, null=heads),
            "head_dim": lambda s: s.plain + s.turned,
            "plain": size("qk_nope_head_dim", absent=128),
            "turned": size("qk_rope_head_dim", absent=64),
            "value_dim": size("v_head_dim", absent=128),
            "rank": size("kv_lora_rank", absent=512),
            "query_rank": optional("q_lora_rank", 1536),
            "ranked": lambda s: s.query_rank is not None,
            "direct": lambda s: s.query_rank is None,
            "cache_width": lambda s: s.rank + s.turned,  # the latent is what is kept, for all heads
            "unfolded": lambda s: s.heads * (s.plain + s.value_dim),
            "values": lambda s: s.heads * s.value_dim,
            "experts": count("n_routed_experts", "num_local_experts", absent=256),
            "experts_active": size("num_experts_per_tok", absent=8),
            "expert_feed_forward": size("moe_intermediate_size", absent=2048),
            "shared": size("n_shared_experts", absent=1, least=0),
            "shared_feed_forward": lambda s: s.shared * s.expert_feed_forward,
            "dense": lambda s: tuple(range(min(s.dense_layers, s.layers))),
            "dense_layers": count("first_k_dense_replace", absent=3, least=0),
            "sparse": lambda s: tuple(range(s.dense_layers, s.layers)),
        },
        START
        + LATENT
        + TWO_NORMS
        + "model.layers.{sparse}.\n"
        + EXPERTS
        + """
  mlp.gate.e_score_correction_bias  buffer experts
  mlp.shared_experts.gate_proj      map shared_feed_forward width
  mlp.shared_experts.up_proj        map shared_feed_forward width
  mlp.shared_experts.down_proj      map width shared_feed_forward
model.layers.{dense}.
"""
        + GATED
        + END,
    ),
    Family(
        "gpt_oss",
        "GptOssForCausalLM",
        "decoder",
        {
            **USUAL,
            "kv_heads": size("num_key_value_heads", absent=8, null=heads),
            "head_dim": size("head_dim", absent=64, null=lambda s: s.width // s.heads),
            "qkv_bias": flag("attention_bias", True),
            "output_bias": flag("attention_bias", True),
            "experts": count("num_local_experts", "num_experts", absent=128),
            "experts_active": size("num_experts_per_tok", "experts_per_token", absent=4),
            "expert_feed_forward": lambda s: s.feed_forward,
            "window": optional("sliding_window", 128),
            "windowed": sliding(lambda s: tuple(range(0, s.layers, 2))),
        },
        START
        + ATTENTION
        + """
  self_attn.sinks                 raw heads
  mlp.router.weight               raw experts width
  mlp.router.bias                 raw experts
  mlp.experts.gate_up_proj        stack experts width 2*feed_forward
  mlp.experts.gate_up_proj_bias   stack experts 2*feed_forward
  mlp.experts.down_proj           stack experts feed_forward width
  mlp.experts.down_proj_bias      stack experts width
"""
        + TWO_NORMS
        + END,
    ),
)
