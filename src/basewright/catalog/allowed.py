"""The keys that a config.json of each family may have, and their values: data for `catalog.config`.

Keys of transformers 5 and those that files on hubs still hold from earlier versions. A family is listed when a model of
it opens in the engine and answers as the plain model does (tests/hub/test_families.py).
"""

from __future__ import annotations

from basewright.catalog.architectures import FAMILIES
from basewright.catalog.rules import (
    Rule,
    Rules,
    anything,
    count,
    either,
    even,
    flag,
    listed,
    number,
    one_of,
    optional,
    share,
    size,
    table,
    text,
    tiny,
    whole,
)

PRECISIONS = ("float32", "bfloat16", "float16")
ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "llama3", "longrope")
POSITIONS = whole(1, 2**30)
_NO = one_of(False)
_ID = whole(-1, 2**24)
_IDS = Rule(either(_ID, listed(_ID, 2**10, least=1)).test, "token ids")
_KINDS = listed(one_of("global", "local"), 2**10, least=1)
_FACTORS = listed(number(0, 1e6), 2**10)

ANY: Rules = {
    "vocab_size": whole(2, 2**24),
    "tie_word_embeddings": flag,
    "initializer_range": share,
    "bos_token_id": optional(_ID),
    "eos_token_id": optional(_IDS),
    "pad_token_id": optional(_ID),
    "sep_token_id": optional(_ID),
    "torch_dtype": optional(one_of(*PRECISIONS)),
    "dtype": optional(one_of(*PRECISIONS)),
    "use_cache": flag,
    "is_decoder": flag,
    "is_encoder_decoder": _NO,
    "add_cross_attention": _NO,
    "gradient_checkpointing": flag,
    "output_router_logits": flag,
    "transformers_version": text,
    "tokenizer_class": optional(text),
    "_name_or_path": text,
    "transformers.js_config": anything,
}
ROPE: Rules = {
    "rope_type": one_of(*ROPE_TYPES),
    "type": one_of(*ROPE_TYPES),
    "rope_theta": number(1, 1e12),
    "partial_rotary_factor": share,
    "original_max_position_embeddings": POSITIONS,
    "truncate": flag,
    "short_factor": _FACTORS,
    "long_factor": _FACTORS,
} | dict.fromkeys(
    ("factor", "low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow", "mscale"),
    number(0, 1e6),
)
_ROPE = table(ROPE, "known settings of rotary positions")
_ROPES = table(
    {"full_attention": optional(_ROPE), "sliding_attention": optional(_ROPE)}, "rotary settings by kind of layer"
)
ROTARY: Rules = {
    "max_position_embeddings": POSITIONS,
    "rope_theta": number(1, 1e12),
    "rope_scaling": optional(_ROPE),
    "rope_parameters": optional(either(_ROPE, _ROPES)),
}
DIMENSIONS: Rules = {
    "num_hidden_layers": count,
    "hidden_size": whole(2, 2**16),
    "num_attention_heads": count,
    "intermediate_size": size,
}
GROUPED: Rules = {**DIMENSIONS, "num_key_value_heads": optional(count), "head_dim": optional(even(2, 1024))}
WINDOW: Rules = {
    "sliding_window": optional(size),
    "layer_types": optional(listed(one_of("full_attention", "sliding_attention"), 2**10)),
}
SILU: Rules = {"hidden_act": one_of("silu"), "rms_norm_eps": tiny, "attention_dropout": optional(share)}
GELUS = one_of("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu")
QWEN: Rules = {"use_sliding_window": flag, "max_window_layers": whole(0, 2**10), "use_mrope": _NO}
MODERN: Rules = {**ANY, **GROUPED, **ROTARY, **SILU}
GEMMA: Rules = {
    **MODERN,
    "hidden_act": optional(GELUS),
    "hidden_activation": optional(GELUS),
    "attention_bias": flag,
    "use_bidirectional_attention": optional(_NO),
}
GEMMA2: Rules = {
    **GEMMA,
    **WINDOW,
    "query_pre_attn_scalar": number(1, 2**16),
    "final_logit_softcapping": optional(number(1e-3, 1e6)),
    "attn_logit_softcapping": optional(number(1e-3, 1e6)),
    "cache_implementation": optional(one_of("hybrid")),
}
EXPERTS: Rules = {
    "num_experts": count,
    "num_local_experts": count,
    "num_experts_per_tok": count,
    "norm_topk_prob": flag,
    "router_aux_loss_coef": number(0, 1e3),
    "router_jitter_noise": share,
}
DROPS: Rules = dict.fromkeys(
    (
        "attention_dropout",
        "hidden_dropout",
        "classifier_dropout",
        "resid_pdrop",
        "embd_pdrop",
        "attn_pdrop",
        "dropout",
        "activation_dropout",
        "layerdrop",
        "residual_dropout",
        "embedding_dropout",
        "resid_dropout",
        "embed_dropout",
        "summary_first_dropout",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "qa_dropout",
        "seq_classif_dropout",
        "mlp_dropout",
    ),
    optional(share),
)
GPT2: Rules = {
    **ANY,
    **DROPS,
    "n_layer": count,
    "n_embd": whole(2, 2**16),
    "n_head": count,
    "n_inner": optional(size),
    "n_positions": size,
    "n_ctx": size,
    "activation_function": GELUS,
    "layer_norm_epsilon": tiny,
    "scale_attn_weights": one_of(True),
    "n_special": one_of(0),
    "predict_special_tokens": flag,
    "summary_type": optional(text),
    "summary_use_proj": optional(flag),
    "summary_activation": optional(text),
    "summary_proj_to_labels": optional(flag),
    "task_specific_params": optional(anything),
}
ENCODER: Rules = {
    **ANY,
    **DROPS,
    "is_decoder": _NO,
    "max_position_embeddings": size,
    "position_embedding_type": one_of("absolute"),
    "cls_token_id": optional(_ID),
}
BERT: Rules = {
    **ENCODER,
    **DIMENSIONS,
    "hidden_act": GELUS,
    "type_vocab_size": whole(1, 2**10),
    "layer_norm_eps": tiny,
    "directionality": one_of("bidi"),
    "output_past": flag,
    **dict.fromkeys(
        ("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head"), size
    ),
    "pooler_type": text,
}

_RULES: dict[str, Rules] = {
    "llama": {
        **MODERN,
        "attention_bias": _NO,
        "mlp_bias": _NO,
        "pretraining_tp": optional(count),
        "rope_interleaved": _NO,
        "is_llama_config": flag,
    },
    "mistral": {**MODERN, **WINDOW},
    "mixtral": {**MODERN, **WINDOW, **EXPERTS},
    "qwen2": {**MODERN, **WINDOW, **QWEN},
    "qwen3": {**MODERN, **WINDOW, **QWEN, "attention_bias": flag},
    "qwen3_moe": {
        **MODERN,
        **WINDOW,
        **QWEN,
        **EXPERTS,
        "attention_bias": flag,
        "qkv_bias": _NO,
        "use_qk_norm": one_of(True),
        "shared_expert_intermediate_size": one_of(0),
        "decoder_sparse_step": count,
        "moe_intermediate_size": size,
        "mlp_only_layers": optional(listed(whole(0, 2**10), 2**10)),
    },
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3_text": {
        **GEMMA2,
        "rope_local_base_freq": number(1, 1e12),
        "sliding_window_pattern": count,
        "_sliding_window_pattern": count,
    },
    "phi3": {
        **MODERN,
        **WINDOW,
        **DROPS,
        "original_max_position_embeddings": POSITIONS,
        "partial_rotary_factor": share,
        "attention_bias": _NO,
    },
    "phi": {
        **ANY,
        **GROUPED,
        **ROTARY,
        **DROPS,
        "hidden_act": GELUS,
        "layer_norm_eps": tiny,
        "partial_rotary_factor": share,
        "qk_layernorm": flag,
    },
    "olmo": {
        **ANY,
        **GROUPED,
        **ROTARY,
        "hidden_act": one_of("silu"),
        "attention_dropout": optional(share),
        "attention_bias": flag,
        "clip_qkv": optional(number(0, 1e6)),
        "pretraining_tp": optional(count),
    },
    "olmo2": {**MODERN, "attention_bias": flag},
    "olmoe": {**MODERN, **EXPERTS, "attention_bias": flag, "clip_qkv": optional(number(0, 1e6))},
    "stablelm": {
        **ANY,
        **GROUPED,
        **ROTARY,
        **DROPS,
        "hidden_act": one_of("silu"),
        "layer_norm_eps": tiny,
        "partial_rotary_factor": share,
        "use_qkv_bias": flag,
        "qk_layernorm": flag,
        "use_parallel_residual": flag,
    },
    "smollm3": {
        **MODERN,
        **WINDOW,
        **QWEN,
        "attention_bias": flag,
        "mlp_bias": flag,
        "no_rope_layers": optional(listed(one_of(0, 1), 2**10)),
        "no_rope_layer_interval": count,
        "pretraining_tp": optional(count),
    },
    "starcoder2": {
        **ANY,
        **GROUPED,
        **ROTARY,
        **WINDOW,
        **DROPS,
        "hidden_act": GELUS,
        "activation_function": GELUS,
        "norm_epsilon": tiny,
        "norm_type": one_of("layer_norm"),
        "layer_norm_epsilon": tiny,
        "attention_softmax_in_fp32": flag,
        "scale_attention_softmax_in_fp32": flag,
        "scale_attn_weights": one_of(True),
        "mlp_type": one_of("default"),
        "use_bias": flag,
    },
    "gpt2": {
        **GPT2,
        "scale_attn_by_inverse_layer_idx": flag,
        "reorder_and_upcast_attn": flag,
    },
    "gptj": {**GPT2, "rotary_dim": even(2, 1024), "rotary": one_of(True)},
    "gpt_neo": {
        **ANY,
        **DROPS,
        "num_layers": count,
        "num_heads": count,
        "hidden_size": whole(2, 2**16),
        "intermediate_size": optional(size),
        "max_position_embeddings": size,
        "window_size": size,
        "activation_function": GELUS,
        "layer_norm_epsilon": tiny,
        "attention_types": listed(
            Rule(
                lambda v: isinstance(v, list) and len(v) == 2 and _KINDS.test(v[0]) and count.test(v[1]),
                "kinds of attention and how often they come",
            ),
            2**10,
            least=1,
        ),
        "attention_layers": optional(listed(one_of("global", "local"), 2**10)),
        "summary_type": optional(text),
        "summary_use_proj": optional(flag),
        "summary_activation": optional(text),
        "summary_proj_to_labels": optional(flag),
        "task_specific_params": optional(anything),
    },
    "gpt_neox": {
        **ANY,
        **DIMENSIONS,
        **ROTARY,
        **DROPS,
        "hidden_act": GELUS,
        "layer_norm_eps": tiny,
        "rotary_pct": share,
        "rotary_emb_base": number(1, 1e12),
        "partial_rotary_factor": share,
        "use_parallel_residual": flag,
        "attention_bias": flag,
    },
    "falcon": {
        **ANY,
        **ROTARY,
        **DROPS,
        "num_hidden_layers": count,
        "hidden_size": whole(2, 2**16),
        "num_attention_heads": count,
        "num_kv_heads": optional(count),
        "ffn_hidden_size": optional(size),
        "num_ln_in_parallel_attn": optional(one_of(1, 2)),
        "activation": GELUS,
        "layer_norm_epsilon": tiny,
        "alibi": _NO,  # transformers 5.23 answers otherwise in its fast attention than in its plain one
        "apply_residual_connection_post_layernorm": _NO,
        "new_decoder_architecture": flag,
        "multi_query": flag,
        "parallel_attn": flag,
        "bias": flag,
    },
    "opt": {
        **ANY,
        **DROPS,
        "num_hidden_layers": count,
        "hidden_size": whole(2, 2**16),
        "num_attention_heads": count,
        "ffn_dim": size,
        "word_embed_proj_dim": size,
        "max_position_embeddings": size,
        "activation_function": GELUS,
        "do_layer_norm_before": flag,
        "_remove_final_layer_norm": flag,
        "layer_norm_elementwise_affine": flag,
        "enable_bias": flag,
        "init_std": share,
        "prefix": text,
    },
    "bloom": {
        **ANY,
        **DROPS,
        "n_layer": count,
        "num_hidden_layers": count,
        "n_head": count,
        "num_attention_heads": count,
        "hidden_size": whole(2, 2**16),
        "n_embed": whole(2, 2**16),
        "layer_norm_epsilon": tiny,
        "apply_residual_connection_post_layernorm": flag,
        "slow_but_exact": flag,
        "pretraining_tp": optional(count),
        "masked_softmax_fusion": flag,
        "bias_dropout_fusion": flag,
        "attention_softmax_in_fp32": flag,
        "offset_alibi": whole(0, 2**20),
        "skip_bias_add": flag,
        "skip_bias_add_qkv": flag,
        "seq_length": size,
        "unk_token_id": optional(_ID),
    },
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), BERT),
    "distilbert": {
        **ENCODER,
        "dim": whole(2, 2**16),
        "n_layers": count,
        "n_heads": count,
        "hidden_dim": size,
        "activation": GELUS,
        "sinusoidal_pos_embds": flag,
        "tie_weights_": flag,
    },
    "modernbert": {
        **ENCODER,
        **DIMENSIONS,
        **ROTARY,
        "layer_types": optional(listed(one_of("full_attention", "sliding_attention"), 2**10)),
        "global_attn_every_n_layers": count,
        "local_attention": size,
        "global_rope_theta": number(1, 1e12),
        "local_rope_theta": optional(number(1, 1e12)),
        "hidden_activation": GELUS,
        "classifier_activation": GELUS,
        "classifier_pooling": one_of("cls", "mean"),
        "norm_eps": tiny,
        "layer_norm_eps": tiny,
        "initializer_cutoff_factor": number(0, 1e3),
        "sparse_pred_ignore_index": one_of(-100),
        **dict.fromkeys(
            (
                "attention_bias",
                "mlp_bias",
                "norm_bias",
                "classifier_bias",
                "decoder_bias",
                "deterministic_flash_attn",
                "sparse_prediction",
                "repad_logits_with_grad",
            ),
            flag,
        ),
        "reference_compile": optional(flag),
    },
}
SUPPORTED: dict[str, Rules] = {
    name: {
        **rules,
        "model_type": one_of(name),
        "architectures": one_of([FAMILIES[name].cls]),
    }
    for name, rules in _RULES.items()
}
"""The families that can be run, and the rule of each of their keys."""
