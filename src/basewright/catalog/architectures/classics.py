"""Decoders in the manner of GPT-2, GPT-J and Megatron: two maps in the feed-forward, norms with biases."""

from __future__ import annotations

from basewright.catalog.architectures.family import USUAL, Family, heads
from basewright.catalog.architectures.sizes import Sizes, Words, count, flag, optional, size

PLAIN: Words = {**USUAL, "head_dim": lambda s: s.width // s.heads, "gated": False}
TIED: Words = {"tied": flag("tie_word_embeddings", True)}


def _four_times(sizes: Sizes) -> int:
    return 4 * int(sizes.width)


GPT: Words = {
    **PLAIN,
    **TIED,
    "layers": count("n_layer", "num_hidden_layers"),
    "width": size("n_embd", "hidden_size"),
    "heads": count("n_head", "num_attention_heads"),
    "kv_heads": heads,
    "feed_forward": size("n_inner", absent=_four_times),
    "context": size("n_positions", "max_position_embeddings", absent=1024),
    "fused": lambda s: s.width + 2 * s.keys,
}
GPT_START = """
transformer.wte  table vocabulary width
transformer.wpe  table context width
transformer.h.{layers}.
  ln_1         norm width  bias
  ln_2         norm width  bias
"""
GPT_END = """
transformer.ln_f  norm width  bias
lm_head           map vocabulary width  if=untied
"""
MEGATRON_MAPS = """
  mlp.dense_h_to_4h  map feed_forward width  bias=biased
  mlp.dense_4h_to_h  map width feed_forward  bias=biased
"""


def _local(sizes: Sizes) -> tuple[int, ...]:
    """GPT-Neo's layers with a window: its config spells a pattern and how often it comes."""
    spelled = sizes.read("attention_types")
    kinds: list[str] = []
    if isinstance(spelled, list):
        for pattern, times in (one for one in spelled if isinstance(one, list) and len(one) == 2):
            kinds += pattern * times
    return tuple(layer for layer, kind in enumerate(kinds[: sizes.layers]) if kind == "local")


def _falcon_keys(sizes: Sizes) -> int:
    if sizes.grouped:
        return int(sizes.given_kv_heads)
    return 1 if sizes.multi_query else int(sizes.heads)


def _falcon_norms(sizes: Sizes) -> int:
    given = sizes.read("num_ln_in_parallel_attn")
    return given if type(given) is int else 2 if sizes.grouped else 1


FAMILIES = (
    Family(
        "gpt2",
        "GPT2LMHeadModel",
        "decoder",
        GPT,
        GPT_START
        + """
  attn.c_attn  turned fused width         bias
  attn.c_proj  turned width width         bias
  mlp.c_fc     turned feed_forward width  bias
  mlp.c_proj   turned width feed_forward  bias
"""
        + GPT_END,
    ),
    Family(
        "gpt_bigcode",
        "GPTBigCodeForCausalLM",
        "decoder",
        {**GPT, "kv_heads": lambda s: 1 if s.multi_query else s.heads, "multi_query": flag("multi_query", True)},
        GPT_START
        + """
  attn.c_attn  map fused width         bias
  attn.c_proj  map width width         bias
  mlp.c_fc     map feed_forward width  bias
  mlp.c_proj   map width feed_forward  bias
"""
        + GPT_END,
    ),
    Family(
        "gpt_neo",
        "GPTNeoForCausalLM",
        "decoder",
        {
            **PLAIN,
            **TIED,
            "layers": count("num_layers", "num_hidden_layers"),
            "heads": count("num_heads", "num_attention_heads"),
            "kv_heads": heads,
            "context": size("max_position_embeddings", absent=2048),
            "feed_forward": size("intermediate_size", absent=_four_times),
            "window": size("window_size", absent=256),
            "windowed": _local,
        },
        GPT_START
        + """
  attn.attention.q_proj    map width width         
  attn.attention.k_proj    map width width
  attn.attention.v_proj    map width width
  attn.attention.out_proj  map width width         bias
  mlp.c_fc                 map feed_forward width  bias
  mlp.c_proj               map width feed_forward  bias
"""
        + GPT_END,
    ),
    Family(
        "gptj",
        "GPTJForCausalLM",
        "decoder",
        {
            **GPT,
            "tied": flag("tie_word_embeddings", False),
            "context": size("n_positions", "max_position_embeddings", absent=2048),
            "parallel": True,
        },
        """
transformer.wte    table vocabulary width
transformer.h.{layers}.
  ln_1             norm width              bias
  attn.q_proj      map width width
  attn.k_proj      map width width
  attn.v_proj      map width width
  attn.out_proj    map width width
  mlp.fc_in        map feed_forward width  bias
  mlp.fc_out       map width feed_forward  bias
transformer.ln_f   norm width              bias
lm_head            map vocabulary width    bias
""",
    ),
    Family(
        "gpt_neox",
        "GPTNeoXForCausalLM",
        "decoder",
        {
            **PLAIN,
            "kv_heads": heads,
            "parallel": flag("use_parallel_residual", True),
            "qkv_bias": flag("attention_bias", True),
            "biased": True,
        },
        """
gpt_neox.embed_in  table vocabulary width
gpt_neox.layers.{layers}.
  input_layernorm            norm width           bias
  post_attention_layernorm   norm width           bias
  attention.query_key_value  map 3*width width    bias=qkv_bias
  attention.dense            map width width      bias=qkv_bias
"""
        + MEGATRON_MAPS
        + """
gpt_neox.final_layer_norm  norm width  bias
embed_out                  map vocabulary width  if=untied
""",
    ),
    Family(
        "falcon",
        "FalconForCausalLM",
        "decoder",
        {
            **PLAIN,
            **TIED,
            "layers": count("num_hidden_layers", "n_layer"),
            "heads": count("num_attention_heads", "n_head"),
            "grouped": flag("new_decoder_architecture", False),
            "given_kv_heads": count("num_kv_heads", "n_head_kv", absent=heads),
            "multi_query": flag("multi_query", True),
            "kv_heads": _falcon_keys,
            "feed_forward": size("ffn_hidden_size", absent=_four_times),
            "fused": lambda s: s.width + 2 * s.keys,
            "biased": flag("bias", False),
            "parallel": flag("parallel_attn", True),
            "two_norms": lambda s: s.parallel and _falcon_norms(s) == 2,
            "first_norm": lambda s: not s.two_norms,
            "in_turn": lambda s: not s.parallel,
            "context": size("max_position_embeddings", absent=2048),
        },
        """
transformer.word_embeddings       table vocabulary width
transformer.h.{layers}.
  self_attention.query_key_value  map fused width  bias=biased
  self_attention.dense            map width width  bias=biased
  input_layernorm                 norm width       bias  if=first_norm
  post_attention_layernorm        norm width       bias  if=in_turn
  ln_attn                         norm width       bias  if=two_norms
  ln_mlp                          norm width       bias  if=two_norms
"""
        + MEGATRON_MAPS
        + """
transformer.ln_f                  norm width  bias
lm_head                           map vocabulary width  if=untied
""",
    ),
    Family(
        "bloom",
        "BloomForCausalLM",
        "decoder",
        {
            **PLAIN,
            **TIED,
            "layers": count("n_layer", "num_hidden_layers"),
            "heads": count("n_head", "num_attention_heads"),
            "width": size("hidden_size", "n_embed"),
            "kv_heads": heads,
            "feed_forward": _four_times,
            "context": optional("seq_length"),
            "biased": True,
        },
        """
transformer.word_embeddings            table vocabulary width
transformer.word_embeddings_layernorm  norm width           bias
transformer.h.{layers}.
  input_layernorm                      norm width           bias
  post_attention_layernorm             norm width           bias
  self_attention.query_key_value       map 3*width width    bias
  self_attention.dense                 map width width      bias
"""
        + MEGATRON_MAPS
        + """
transformer.ln_f                       norm width           bias
lm_head                                map vocabulary width  if=untied
""",
    ),
    Family(
        "mpt",
        "MptForCausalLM",
        "decoder",
        {
            **PLAIN,
            **TIED,
            "layers": count("n_layers", "num_hidden_layers"),
            "heads": count("n_heads", "num_attention_heads"),
            "width": size("d_model", "hidden_size"),
            "kv_heads": heads,
            "feed_forward": lambda s: s.expansion * s.width,
            "expansion": size("expansion_ratio", absent=4),
            "context": size("max_seq_len", absent=2048),
        },
        """
transformer.wte    table vocabulary width
transformer.blocks.{layers}.
  norm_1           norm width
  norm_2           norm width
  attn.Wqkv        map 3*width width
  attn.out_proj    map width width
  ffn.up_proj      map feed_forward width
  ffn.down_proj    map width feed_forward
transformer.norm_f norm width
lm_head            map vocabulary width  if=untied
""",
    ),
    Family(
        "opt",
        "OPTForCausalLM",
        "decoder",
        {
            **PLAIN,
            **TIED,
            "kv_heads": heads,
            "feed_forward": size("ffn_dim"),
            "narrow": size("word_embed_proj_dim", absent=lambda s: s.width),
            "projected": lambda s: s.narrow != s.width,
            "positions": lambda s: s.given_positions + 2,  # the first two rows are never used
            "given_positions": size("max_position_embeddings", absent=2048),
            "biased": flag("enable_bias", True),
            "affine": flag("layer_norm_elementwise_affine", True),
            "before": flag("do_layer_norm_before", True),
            "removed": flag("_remove_final_layer_norm", False),
            "last_norm": lambda s: s.before and not s.removed and s.affine,
        },
        """
model.decoder.embed_tokens      table vocabulary narrow
model.decoder.embed_positions   table positions width
model.decoder.project_in        map width narrow        if=projected
model.decoder.project_out       map narrow width        if=projected
model.decoder.final_layer_norm  norm width              bias  if=last_norm
model.decoder.layers.{layers}.
  self_attn.q_proj              map width width         bias=biased
  self_attn.k_proj              map width width         bias=biased
  self_attn.v_proj              map width width         bias=biased
  self_attn.out_proj            map width width         bias=biased
  self_attn_layer_norm          norm width              bias  if=affine
  fc1                           map feed_forward width  bias=biased
  fc2                           map width feed_forward  bias=biased
  final_layer_norm              norm width              bias  if=affine
lm_head                         map vocabulary narrow   if=untied
""",
    ),
)
