"""Small models of several families with random weights, and their cards."""

from __future__ import annotations

import warnings
from typing import Any

from basewright.catalog import cards
from basewright.records import ModelCard

SIZES = {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 640, "bos_token_id": 0}
SIZES |= {"eos_token_id": 0, "max_position_embeddings": 128}
GATED = SIZES | {"intermediate_size": 160, "num_key_value_heads": 2, "tie_word_embeddings": False}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": GATED,
    "qwen3": GATED | {"head_dim": 16},
    "mixtral": GATED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "gpt_neox": SIZES | {"intermediate_size": 256, "tie_word_embeddings": False},
}


def card(family: str) -> ModelCard:
    return cards.card(cards.facts_from_config(CONFIGS[family] | {"model_type": family}, family))


def model(of: ModelCard, attention: str) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[of.family](**CONFIGS[of.family])
    made = AutoModelForCausalLM.from_config(config).float()
    made.set_attn_implementation(attention)
    return made


def with_lora(made: Any, targets: tuple[str, ...], rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(made, LoraConfig(r=rank, lora_alpha=8, target_modules=list(targets)))
