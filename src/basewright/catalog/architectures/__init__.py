"""From a config.json to what it calls for: the shape, every tensor, parameters, linear maps. Nothing is loaded.

A family of models is one `Family`: a table of its tensors, and how its config is read. Numbers are counted with one
layer's line times its layers, so that the largest models cost no more than the smallest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from basewright.catalog.architectures import classics, decoders, encoders, experts, images, pairs, recurrent
from basewright.catalog.architectures.family import Family
from basewright.catalog.architectures.sizes import Sizes
from basewright.catalog.architectures.table import Line, parse
from basewright.errors import ModelFileError, UsageError, nearest
from basewright.records import Pools, Shape

FAMILIES = {
    family.model_type: family
    for families in (
        decoders.DENSE,
        experts.FAMILIES,
        classics.FAMILIES,
        encoders.FAMILIES,
        images.FAMILIES,
        pairs.FAMILIES,
        recurrent.FAMILIES,
    )
    for family in families
}
"""The families whose tensors are known, by model_type. Those that can be run are `catalog.config.SUPPORTED`."""


LEFTOVER = re.compile(
    r"(?:[a-z_]+\.)*(?:h|layers)\.\d+\.(?:attn|attn\.attention|attention|self_attn)\."
    r"(?:bias|masked_bias|rotary_emb\.inv_freq)"
    r"|(?:bert|roberta|distilbert)\.embeddings\.position_ids|(?:bert|roberta)\.pooler\.dense\.(?:weight|bias)"
    r"|cls\.seq_relationship\.(?:weight|bias)"
)
"""What files hold and no use here asks for: buffers that every library computes anew (masks, positions, frequencies of
rotary ones), and BERT's guess whether two sentences follow each other, with the pooler it reads."""
_OLD_NORMS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
"""As files that came from TensorFlow call a norm's tensors; transformers reads both."""
CLASS_END = re.compile(r"(LMHeadModel|For[A-Za-z]+)$")
_ROBERTA_HEAD = {
    "classifier.dense.weight": "DD",
    "classifier.dense.bias": "D",
    "classifier.out_proj.weight": "CD",
    "classifier.out_proj.bias": "C",
}
HEADS: dict[str, dict[str, str]] = {
    "decoder": {"score.weight": "CD"},
    "bert": {
        "bert.pooler.dense.weight": "DD",
        "bert.pooler.dense.bias": "D",
        "classifier.weight": "CD",
        "classifier.bias": "C",
    },
    "roberta": _ROBERTA_HEAD,
    "xlm-roberta": _ROBERTA_HEAD,
    "distilbert": {
        "pre_classifier.weight": "DD",
        "pre_classifier.bias": "D",
        "classifier.weight": "CD",
        "classifier.bias": "C",
    },
    "modernbert": {"classifier.weight": "CD", "classifier.bias": "C"},
}
"""Tensors of transformers' classification heads: C classes, D the width of the embedding, which is the output's."""
KEPT = "head."
"""What a classification head goes on from of the one it was pretrained with: ModernBERT's dense layer and norm."""
_OPTIONAL = (
    "gated",
    "parallel",
    "window",
    "experts",
    "experts_active",
    "expert_feed_forward",
    "shared_feed_forward",
    "dense_layers",
    "cache_width",
)
"""Fields of a shape that not every family has."""


def family_of(config: Mapping[str, Any]) -> Family:
    """Raises `ModelFileError` for a family that is not known."""
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise ModelFileError(
            f"config.json has model_type {str(name)[:80]!r}",
            fix=f"use a model of a known type: {', '.join(FAMILIES)}",
            code="unsupported",
            file="config.json",
        )
    return FAMILIES[name]


@dataclass(frozen=True, slots=True)
class Counted:
    """All that is counted of one config."""

    parameters: int
    active_parameters: int
    shape: Shape
    context: int | None


def count(config: Mapping[str, Any]) -> Counted:
    """Raises `ModelFileError`, as all functions here, for a family that is not known and for what is not a size."""
    sizes = _sizes(config)
    lines = _lines(config, sizes)
    total = sum(line.parameters(sizes) for line in lines)
    idle = sum(line.idle(sizes) for line in lines if line.routed)
    return Counted(total, total - idle, _shape(sizes), sizes.context if "context" in sizes else None)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The dimensions that planning needs."""
    return _shape(_sizes(config))


def _shape(sizes: Sizes) -> Shape:
    optional = {name: getattr(sizes, name) for name in _OPTIONAL if name in sizes}
    return Shape(
        layers=sizes.layers,
        width=sizes.width,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        feed_forward=sizes.feed_forward,
        vocabulary=sizes.vocabulary,
        tied=sizes.tied,
        windowed=len(sizes.windowed) if "windowed" in sizes else 0,
        **optional,
    )


def tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, dimensions) of every tensor of the model's file."""
    sizes = _sizes(config)
    for line in _lines(config, sizes):
        dims = line.shape(sizes)
        for name in line.names(sizes):
            yield name, dims


def tensor_count(config: Mapping[str, Any]) -> int:
    sizes = _sizes(config)
    return sum(line.times(sizes) for line in _lines(config, sizes))


def parameters(config: Mapping[str, Any]) -> int:
    """Parameters; a table that is also the output projection counts once."""
    return count(config).parameters


def active_parameters(config: Mapping[str, Any]) -> int:
    """Parameters that one token passes through: of the experts, those that it is sent to."""
    return count(config).active_parameters


def linears(config: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """(outputs, inputs) of each linear map in the layers, by its short name: what LoRA can target.

    Experts are not among them: in memory transformers holds those of a layer as one tensor.
    """
    sizes = _sizes(config)
    found: dict[str, list[tuple[int, int]]] = {}
    for line in _lines(config, sizes):
        if line.called and line.repeats and not line.routed and line.times(sizes):
            outputs, inputs = (sizes.word(dim) for dim in line.dims)
            for name in line.called:
                found.setdefault(name, []).extend([(outputs // len(line.called), inputs)] * line.times(sizes))
    return found


def pools(config: Mapping[str, Any], head: bool) -> Pools | None:
    """Which token a head reads: an encoder's first, which always has one; a decoder's last, if it is to have one."""
    if family_of(config).kind == "encoder":
        return "first"
    return "last" if head else None


def targets(config: Mapping[str, Any], named: Collection[str] = ()) -> tuple[str, ...]:
    """The linear maps that get an adapter: those named, else all. Raises `UsageError` for one that there is not."""
    there = sites(config, linears(config))
    for name in named:
        if name not in there:
            raise UsageError(
                f"the target {name!r} names no linear map of a {config['model_type']} model; {nearest(name, there)}",
                fix=f"choose [tune].targets among {', '.join(there)}",
            )
    return tuple(named or there)


def sites(config: Mapping[str, Any], maps: Iterable[str]) -> tuple[str, ...]:
    """Those of the model's linear `maps` that can have an adapter.

    A name that experts share is left out: peft would take the experts too, which are no maps in memory.
    """
    sizes = _sizes(config)
    shared = {name for line in _lines(config, sizes) if line.routed for name in line.called}
    return tuple(name for name in maps if name not in shared)


def embedding(config: Mapping[str, Any], names: Container[str] = ()) -> str | None:
    """The name of the table of token embeddings, in a file with `names`; None for an image encoder."""
    family = family_of(config)
    if family.kind == "image encoder":
        return None
    name = next(line.name for line in parse(family.table) if line.kind == "table")
    bare = name.partition(".")[2]
    return bare if bare in names and name not in names else name


def expected(config: Mapping[str, Any], names: Collection[str]) -> dict[str, tuple[int, ...]]:
    """`tensors`, as a file with `names` should hold them.

    Old files leave out what transformers puts before the names of all but the head (`wte.weight` for
    `transformer.wte.weight`), or call a norm's tensors gamma and beta; it reads both.
    """
    full = embedding(config)
    found = dict(tensors(config))
    if any(name.endswith("LayerNorm.gamma") for name in names):
        found = {_old_norm(name): dims for name, dims in found.items()}
    if full is None or embedding(config, names) == full:
        return found
    before = full.partition(".")[0] + "."
    return {name.removeprefix(before): dims for name, dims in found.items()}


def classifier_class(config: Mapping[str, Any]) -> str:
    """The class of transformers that puts a classification head on the model."""
    family = family_of(config)
    name = "Gemma3Text" if family.model_type == "gemma3_text" else CLASS_END.sub("", family.cls)
    return name + "ForSequenceClassification"


def under_head(config: Mapping[str, Any], classes: int) -> dict[str, tuple[int, ...]]:
    """`tensors` of the model with a head of so many classes, in place of the one it was pretrained with."""
    family, full = family_of(config), embedding(config)
    assert full is not None, "an image has no classes here"
    before = full.partition(".")[0]
    name = "decoder" if family.kind == "decoder" else family.model_type
    if name not in HEADS:
        raise ModelFileError(
            f"the classification head of a {name} model is not known here",
            fix=f"use a decoder, or an encoder of these: {', '.join(list(HEADS)[1:])}",
            code="unsupported",
            file="config.json",
        )
    head = HEADS[name]
    own = {name: dims for name, dims in tensors(config) if name.startswith((before + ".", KEPT))}
    sizes = {"C": classes, "D": own[full][1]}
    return own | {name: tuple(sizes[dim] for dim in dims) for name, dims in head.items()}


def _old_norm(name: str) -> str:
    for new, old in _OLD_NORMS.items():
        if name.endswith(new):
            return name.removesuffix(new) + old
    return name


def context_of(config: Mapping[str, Any]) -> int | None:
    """The positions it was made for; None where the config sets no limit."""
    return count(config).context


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config.json decides shape, tensors and context, as it stands there."""
    return {"model_type": config["model_type"], **_sizes(config).decisive()}


def _sizes(config: Mapping[str, Any]) -> Sizes:
    family = family_of(config)
    return Sizes(config, family.words, family.parts, family.main)


def _lines(config: Mapping[str, Any], sizes: Sizes) -> list[Line]:
    return [line for line in parse(family_of(config).table) if line.there(sizes)]
