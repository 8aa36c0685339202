"""What is known of a family of models: how its config is read, and its table of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from basewright.catalog.architectures.sizes import Sizes, Words, count, flag, optional, size
from basewright.records import ModelKind


@dataclass(frozen=True, slots=True)
class Family:
    model_type: str
    cls: str
    """The class of transformers that loads and saves it, with the head it was pretrained with."""
    kind: ModelKind
    words: Words
    table: str
    parts: Mapping[str, tuple[str, Words]] = field(default_factory=dict)
    """Configs within the config, by the name that tables call them: (key, words)."""
    main: str = ""
    """The part whose dimensions are the model's shape."""


def heads(sizes: Sizes) -> int:
    return int(sizes.heads)


USUAL: Words = {
    "layers": count("num_hidden_layers"),
    "width": size("hidden_size"),
    "heads": count("num_attention_heads"),
    "kv_heads": count("num_key_value_heads", absent=heads),
    "head_dim": size("head_dim", absent=lambda s: s.width // s.heads),
    "feed_forward": size("intermediate_size"),
    "vocabulary": size("vocab_size"),
    "context": optional("max_position_embeddings"),
    "tied": flag("tie_word_embeddings", False),
    "untied": lambda s: not s.tied,
    "queries": lambda s: s.heads * s.head_dim,
    "keys": lambda s: s.kv_heads * s.head_dim,
    "gated": True,
}
"""The words most decoders use, and what is made of them."""
