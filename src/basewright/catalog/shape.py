"""A decoder's tensors and parameter count from its dimensions, and a card for a local folder from its config."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from basewright.records import Shape

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


def linears(shape: Shape) -> dict[str, tuple[int, int]]:
    """The linear maps of one layer by name: (outputs, inputs), as their weights are laid out."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "q_proj": (queries, shape.width),
        "k_proj": (keys, shape.width),
        "v_proj": (keys, shape.width),
        "o_proj": (shape.width, queries),
        "gate_proj": (shape.feed_forward, shape.width),
        "up_proj": (shape.feed_forward, shape.width),
        "down_proj": (shape.width, shape.feed_forward),
    }


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, dimensions) of every tensor of a Llama model's file, in the names of transformers' LlamaForCausalLM."""
    yield EMBEDDING, (shape.vocabulary, shape.width)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        for name, dims in linears(shape).items():
            yield f"{at}.{'self_attn' if name[0] in 'qkvo' else 'mlp'}.{name}.weight", dims
        yield f"{at}.input_layernorm.weight", (shape.width,)
        yield f"{at}.post_attention_layernorm.weight", (shape.width,)
    yield "model.norm.weight", (shape.width,)
    if not shape.tied:
        yield HEAD, (shape.vocabulary, shape.width)


def parameters_from_shape(shape: Shape) -> int:
    """Parameters of a Llama model; a table that is also the output projection counts once."""
    return sum(math.prod(dims) for _, dims in tensors(shape))


def shape_of(config: dict[str, Any]) -> Shape:
    """The dimensions in a checked config, with transformers' defaults for what it leaves out."""
    heads = config["num_attention_heads"]
    return Shape(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        feed_forward=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
    )
