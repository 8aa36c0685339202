"""What is measured: models of real architectures with random weights, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from basewright.catalog import cards
from basewright.records import Ask, ModelCard

LLAMA = {
    "model_type": "llama",
    "vocab_size": 16384,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
DECODER: dict[str, Any] = {"max_position_embeddings": 2048, "bos_token_id": 0, "eos_token_id": 0}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama 5M": LLAMA
    | {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
    }
    | {"num_key_value_heads": 2},
    "llama 28M": LLAMA,
    "llama 110M": LLAMA
    | {"vocab_size": 32000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12}
    | {"num_attention_heads": 12, "num_key_value_heads": 12},
    "gpt2 45M": {
        "model_type": "gpt2",
        "vocab_size": 24000,
        "n_embd": 512,
        "n_layer": 10,
        "n_head": 8,
        "n_positions": 1024,
    }
    | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gpt_neox 70M": {"model_type": "gpt_neox", "vocab_size": 50304, "hidden_size": 512, "intermediate_size": 2048}
    | {"num_hidden_layers": 6, "num_attention_heads": 8, "tie_word_embeddings": False},
    "qwen3 60M": {"model_type": "qwen3", "vocab_size": 32000, "hidden_size": 640, "intermediate_size": 1920}
    | {"num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 96}
    | {"tie_word_embeddings": True},
    "bert 110M": {"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "intermediate_size": 3072}
    | {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_dropout_prob": 0.0}
    | {"attention_probs_dropout_prob": 0.0},
    "bert 29M": {"model_type": "bert", "vocab_size": 30522, "hidden_size": 512, "intermediate_size": 2048}
    | {"num_hidden_layers": 4, "num_attention_heads": 8, "hidden_dropout_prob": 0.0}
    | {"attention_probs_dropout_prob": 0.0},
    "modernbert 60M": {"model_type": "modernbert", "vocab_size": 50368, "hidden_size": 512, "intermediate_size": 768}
    | {"num_hidden_layers": 12, "num_attention_heads": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    | {"cls_token_id": 1, "sep_token_id": 2},
    "mixtral 60M": {"model_type": "mixtral", "vocab_size": 16384, "hidden_size": 384, "intermediate_size": 768}
    | {"num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 3, "num_local_experts": 8}
    | {"num_experts_per_tok": 2, "sliding_window": None, "tie_word_embeddings": False},
    "qwen3_moe 60M": {"model_type": "qwen3_moe", "vocab_size": 16384, "hidden_size": 384, "intermediate_size": 1152}
    | {"moe_intermediate_size": 256, "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 3}
    | {"head_dim": 64, "num_experts": 16, "num_experts_per_tok": 4, "norm_topk_prob": True}
    | {"tie_word_embeddings": False},
}
"""The name, and config.json as transformers takes it. Dropout is off, as everywhere in Basewright."""
FITTED = {
    "llama fit": LLAMA
    | {"hidden_size": 448, "intermediate_size": 1216, "num_hidden_layers": 7, "num_attention_heads": 7}
    | {"num_key_value_heads": 7, "vocab_size": 9000},
    "bert fit": FAMILIES["bert 29M"] | {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6},
    "mixtral fit": FAMILIES["mixtral 60M"] | {"hidden_size": 320, "num_attention_heads": 5, "num_key_value_heads": 5},
}
"""Models that the constants of `plan.memory` were set by; none of them is in the table."""
BATCH_TOKENS = 512
"""Of the evaluating engine on a CPU (`engine.torch_lm.BATCH_TOKENS`)."""
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class Point:
    model: str
    ask: Ask

    @property
    def config(self) -> dict[str, Any]:
        config = (FAMILIES | FITTED)[self.model]
        return config if config["model_type"] == "modernbert" else DECODER | config

    @property
    def card(self) -> ModelCard:
        return cards.card(cards.facts_from_config(self.config, self.model))

    @property
    def name(self) -> str:
        rows = self.ask.batch
        how = "plain" if self.ask.plain else "own loop"
        extra = f", rank {self.ask.rank}" if self.ask.rank else ""
        extra += f", {self.ask.precision}" if self.ask.precision != "float32" else ""
        extra += ", checkpointing" if self.ask.checkpointing else ""
        return f"{self.model}: {self.ask.job} ({how}{extra}), {rows} x {self.ask.context}"


def _point(model: str, job: Any, rows: int, context: int, **more: Any) -> Point:
    own_engine = job == "evaluate" and not more.get("plain")
    tokens = BATCH_TOKENS if own_engine else rows * context
    return Point(model, Ask(job=job, context=context, micro_tokens=tokens, **({"batch": rows} | more)))


POINTS = (
    _point("llama 5M", "lora", 16, 256, rank=8),
    _point("bert 110M", "evaluate", 8, 512, plain=True),
    _point("llama 28M", "evaluate", 1, 1024),
    _point("llama 28M", "complete", 4, 1024),
    _point("gpt_neox 70M", "evaluate", 8, 512, plain=True),
    _point("modernbert 60M", "evaluate", 16, 512, plain=True),
    _point("qwen3_moe 60M", "evaluate", 8, 512, plain=True),
    _point("llama 28M", "full", 4, 512),
    _point("gpt2 45M", "full", 2, 512, plain=True),
    _point("bert 29M", "lora", 8, 256, rank=8, plain=True),
    _point("mixtral 60M", "full", 2, 512, plain=True),
    _point("qwen3 60M", "lora", 4, 256, rank=16),
    _point("modernbert 60M", "full", 4, 256, plain=True),
    _point("llama 28M", "dpo", 4, 256, rank=8, plain=True),
    _point("llama 28M", "lora", 8, 512, rank=16, targets=("q_proj", "v_proj")),
    _point("qwen3_moe 60M", "full", 2, 512, plain=True),
    _point("mixtral 60M", "lora", 4, 256, rank=8, targets=ATTENTION),
    _point("gpt_neox 70M", "full", 4, 256, plain=True),
    _point("llama 28M", "full", 8, 512, checkpointing=True, plain=True),
    _point("bert 110M", "full", 4, 256, plain=True),
    _point("gpt2 45M", "lora", 4, 512, rank=8, plain=True),
    _point("llama 110M", "evaluate", 1, 512),
    _point("llama 110M", "full", 2, 256, plain=True),
    _point("llama 110M", "lora", 4, 256, rank=16),
    _point("qwen3 60M", "full", 2, 512),
    _point("llama 28M", "lora", 8, 512, rank=16, checkpointing=True),
    _point("llama 28M", "full", 8, 512, checkpointing=True),
    _point("llama 28M", "full", 8, 512, precision="mixed"),
    _point("llama 110M", "lora", 4, 512, rank=16, precision="bfloat16"),
)
FITS = (
    _point("llama fit", "lora", 8, 256, rank=8),
    _point("llama fit", "full", 4, 256),
    _point("llama fit", "full", 2, 512, plain=True),
    _point("llama fit", "evaluate", 1, 768),
    _point("llama fit", "complete", 1, 768),
    _point("bert fit", "full", 8, 256, plain=True),
    _point("bert fit", "evaluate", 8, 256, plain=True),
    _point("mixtral fit", "full", 4, 256, plain=True),
    _point("mixtral fit", "evaluate", 8, 256, plain=True),
)
