"""A decoder's tensors and parameter count from its dimensions, and a card for a local folder from its config."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basewright.catalog import config as configs
from basewright.errors import ModelFileError
from basewright.formats import strict
from basewright.records import ModelCard, Shape

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
LICENCE = re.compile(r"\A---\s*\n(?:(?!---).*\n)*?license:[ \t]*['\"]?([A-Za-z0-9][A-Za-z0-9.+-]{0,63})['\"]?[ \t]*\n")


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


def card_from_folder(folder: Path) -> ModelCard:
    """What a folder's own files say about its model. Raises `ModelFileError`.

    The licence is the one its README's front matter names. A chat template is taken as the sign of an instruct
    model; nothing is concluded from names.
    """
    config = configs.read(folder)
    shape = shape_of(config)
    return ModelCard(
        id=folder.resolve().name,
        family=config["model_type"],
        kind="decoder",
        nature="instruct" if _has_template(folder) else "base",
        location=str(folder),
        licence=_licence(folder),
        parameters=parameters_from_shape(shape),
        active_parameters=parameters_from_shape(shape),
        shape=shape,
        config=config,
        precision=config.get("dtype") or config.get("torch_dtype") or "float32",
        context=config["max_position_embeddings"],
        languages=(),
        tokens_seen=None,
        sources=(),
        curated=False,
    )


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists():
        return True
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return False
    return bool(strict.parse_object(strict.read(path, 16 * 2**20), path.name).get("chat_template"))


def _licence(folder: Path) -> str:
    try:
        text = strict.read(folder / "README.md", 2**20).decode("utf-8", "replace")
    except ModelFileError:
        return "unknown"
    found = LICENCE.match(text.replace("\r\n", "\n"))
    return found[1] if found else "unknown"
