"""What of a family of models decides which tensors its layers keep for the backward pass, as transformers writes it.

Seen by watching every tensor that lives during a step of a small model of each family (`benchmarks/plan`, `trace`).
A family that is not in the table is planned by its shape alone; the plan says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from basewright.records import Shape

Role = Literal["attention in", "attention out", "forward in", "forward out"]
Norm = Literal["rms", "layer"]
Activation = Literal["one", "written out", "relu"]
"""A function that is one operation keeps its input and its output; one written out in Python, as GPT-2's GELU, keeps
every step; a ReLU keeps its output only."""


@dataclass(frozen=True, slots=True)
class Traits:
    norm: Norm = "rms"
    norms: int = 2
    """Norms as wide as the model, in a layer; one where attention and feed-forward read the same."""
    norms_of_heads: bool = False
    """Norms of queries and keys."""
    rotary: bool = True
    joined_qkv: bool = False
    """Queries, keys and values are views of one output, all of which stays while one of them does."""
    joined_gate: bool = False
    biased: bool = False
    """Linear maps have a bias."""
    copies_out: bool = False
    """Attention's output is copied before the next map."""
    activation: Activation = "one"
    explicit_scores: bool = False
    """No fused attention: the scores of all pairs of tokens exist, whatever kernel there is."""
    head: Literal["map", "masked"] = "map"
    """The output is a map, or a dense layer, a norm and a map, as in masked language models."""
    measured: bool = True


GPT2 = Traits(norm="layer", rotary=False, joined_qkv=True, biased=True, activation="written out")
NEOX = Traits(norm="layer", joined_qkv=True, biased=True, copies_out=True)
BERT = Traits(norm="layer", rotary=False, biased=True, head="masked")
LLAMA = Traits()
FAMILIES: dict[str, Traits] = {
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "gemma", "smollm3"), LLAMA),
    **dict.fromkeys(("qwen3", "qwen3_moe"), Traits(norms_of_heads=True)),
    **dict.fromkeys(("gemma3_text", "gemma3"), Traits(norms=4, norms_of_heads=True)),
    "olmo2": Traits(norms_of_heads=True),
    "olmo": Traits(norm="layer"),
    "phi3": Traits(joined_qkv=True, joined_gate=True, copies_out=True),
    "phi": Traits(norm="layer", norms=1, biased=True, copies_out=True, activation="written out"),
    "gpt2": GPT2,
    "gpt_neox": NEOX,
    "opt": Traits(norm="layer", rotary=False, biased=True, activation="relu"),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), BERT),
    "modernbert": Traits(norm="layer", joined_qkv=True, joined_gate=True, head="masked"),
}
WRITTEN = ("llama",)
"""Families whose layers `train.quick` knows: transformers has one class for norm, attention and feed-forward."""
UNMEASURED: dict[str, Traits] = {
    "stablelm": Traits(norm="layer", copies_out=True),
    "gemma2": Traits(norms=4, explicit_scores=True),
    "gptj": Traits(norm="layer", norms=1, activation="written out", explicit_scores=True),
    "bloom": Traits(norm="layer", rotary=False, joined_qkv=True, activation="written out", explicit_scores=True),
    "mpt": Traits(norm="layer", rotary=False, joined_qkv=True, explicit_scores=True),
    "falcon": Traits(norm="layer", norms=1, joined_qkv=True, explicit_scores=True),
    "deberta-v2": Traits(norm="layer", rotary=False, explicit_scores=True, head="masked"),
}

_ROLES: dict[Role, str] = {
    "attention in": "q_proj k_proj v_proj qkv_proj c_attn query_key_value Wqkv query key value query_proj key_proj "
    "value_proj q_lin k_lin v_lin q_a_proj kv_a_proj_with_mqa",
    "attention out": "o_proj out_proj out_lin dense c_proj Wo",
    "forward in": "gate_proj up_proj gate_up_proj c_fc fc1 fc_in lin1 dense_h_to_4h Wi dense",
    "forward out": "down_proj fc2 fc_out lin2 dense_4h_to_h dense c_proj Wo",
}
"""What the maps of a layer read, by their short names."""
_ALWAYS_ONE = {"starcoder2": "forward out"}
"""`c_proj` is the name of two maps of a layer, but for this family."""


def reads(
    family: str, maps: Mapping[str, list[tuple[int, int]]], targets: Collection[str], layers: int
) -> dict[Role, int]:
    """How many of the targets in a layer read the same input: its normalised input, attention's output, and so on."""
    found = dict.fromkeys(_ROLES, 0)
    for name in targets:
        roles = [role for role, names in _ROLES.items() if name in names.split()]
        if len(maps[name]) <= layers:  # one map of a layer has this name
            roles = [role for role in roles if role == _ALWAYS_ONE.get(family, roles[0])]
        for role in roles:
            found[role] += 1
    return found


def of(config: Mapping[str, Any], shape: Shape) -> Traits:
    """The traits of the config's family; of one that was not watched, what its shape suggests."""
    family = str(config.get("model_type"))
    if family in FAMILIES:
        return FAMILIES[family]
    guess = UNMEASURED.get(family, Traits() if shape.gated else Traits(norm="layer"))
    return Traits(**{name: getattr(guess, name) for name in Traits.__slots__} | {"measured": False})
