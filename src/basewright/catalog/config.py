"""Which config.json we take: a supported family, known keys only, numbers in range, nothing that could run code.

An allow-list and not a list of known attacks: libraries set every unknown key as an attribute of the loaded config,
and keys that ran code while remote code was off were found again and again (H005).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from basewright.catalog import architectures
from basewright.catalog.allowed import SUPPORTED
from basewright.catalog.rules import Rule, Rules, one_of
from basewright.errors import ModelFileError
from basewright.formats import strict
from basewright.records import Head

NAME = "config.json"
MAX_CONFIG = 2**20
CODE = re.compile(
    r"auto_map|.*trust_remote_code.*|.*_internal|.*code_revision|custom_(generate|pipelines?)|"
    r".*attn_implementation.*|.*experts_implementation.*|(use_|hub_)*kernels?(_(config|name|repo|revision).*)?",
    re.IGNORECASE,
)
NEEDED = ("max_position_embeddings", "rms_norm_eps")
"""What a family that knows these keys must say; sizes are asked for by its table of tensors."""
TENSORS = 2**18
CLASSES = 2**16
HEAD_KEYS: Rules = {
    "id2label": Rule(
        lambda v: isinstance(v, dict) and 0 < len(v) <= CLASSES and all(isinstance(one, str) for one in v.values()),
        "a table of the names of classes",
    ),
    "label2id": Rule(lambda v: isinstance(v, dict), "a table of the numbers of classes"),
    "problem_type": one_of("single_label_classification"),
}
"""What the config of a model with a classification head has beside its family's keys."""


def read(folder: Path) -> dict[str, Any]:
    """The checked config.json of a model's folder. Raises `ModelFileError`."""
    return check(strict.parse_object(strict.read(folder / "config.json", MAX_CONFIG), "config.json"))


def check(config: dict[str, Any]) -> dict[str, Any]:
    """The same config, all of it found good. Raises `ModelFileError` naming the key at fault."""
    family = config.get("model_type")
    if not isinstance(family, str) or family not in SUPPORTED:
        raise ModelFileError(
            f"config.json has model_type {str(family)[:80]!r}",
            fix=f"use a model of a supported type: {', '.join(SUPPORTED)}",
            code="unsupported",
            file="config.json",
        )
    refuse_code(config, "config.json")
    if config.get("quantization_config") is not None:
        raise ModelFileError(
            "the weights are quantized, which cannot be trained or measured here",
            fix="use the model's unquantized weights (float32, bfloat16 or float16)",
            code="unsupported",
            file="config.json",
        )
    rules = SUPPORTED[family]
    for key, value in config.items():
        if key not in rules:
            raise ModelFileError(
                f"config.json has the key {key[:80]!r}, which is not known for a {family} model",
                fix="correct that key in config.json, or remove it if the model does without",
                code="unsupported",
                file="config.json",
            )
        if not rules[key].test(value):
            raise _wrong(f"{key} = {str(value)[:80]!r} is not {rules[key].what}")
    if "rms_norm_eps" in rules:
        for key in NEEDED:
            if key not in config:
                raise _wrong(f"{key} is missing")
    _check_sizes(config)
    return config


def check_classifier(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a model with transformers' classification head. Raises as `check`."""
    bare = {key: value for key, value in config.items() if key not in (*HEAD_KEYS, "architectures")}
    check(bare)
    name = architectures.classifier_class(bare)
    if config.get("architectures") != [name]:
        raise _wrong(f"architectures is not {name}, so the model has no classification head")
    for key, rule in HEAD_KEYS.items():
        if key not in config or not rule.test(config[key]):
            raise _wrong(f"{key} is not {rule.what}")
    names = list(config["id2label"].values())
    if list(config["id2label"]) != [str(i) for i in range(len(names))] or len(set(names)) != len(names):
        raise _wrong("id2label does not number its classes from 0, each with a name of its own")
    if config["label2id"] != {name: number for number, name in enumerate(names)}:
        raise _wrong("label2id is not the inverse of id2label")
    if type(config.get("pad_token_id")) is not int:
        raise _wrong("pad_token_id is missing, without which the head does not find the end of a text")
    return config


def head(config: dict[str, Any]) -> Head:
    """What a checked config says of its classification head."""
    encoder = architectures.family_of(config).kind == "encoder"
    return Head(
        labels=tuple(config["id2label"].values()),
        pad_id=config["pad_token_id"],
        pools="first" if encoder else "last",
    )


def refuse_code(value: Any, name: str) -> None:
    """Refuse a key that asks a library to import, fetch or swap code, at any depth (H005). Raises `ModelFileError`."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for key in item:
                if CODE.fullmatch(key):
                    raise ModelFileError(
                        f"{name} asks to run or choose code ({key[:80]}), which is never done here",
                        fix="use a model that its family's own code can run",
                        code="code",
                        file=name,
                    )
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _check_sizes(config: dict[str, Any]) -> None:
    shape = architectures.shape_of(config)
    if shape.width % shape.heads:
        raise _wrong(f"a width of {shape.width} is not a multiple of {shape.heads} heads")
    if shape.heads % shape.kv_heads:
        raise _wrong(f"{shape.heads} heads of queries are not a multiple of {shape.kv_heads} heads of keys")
    if "rope_theta" in SUPPORTED[config["model_type"]] and shape.head_dim % 2:
        raise _wrong(f"heads of {shape.head_dim} dimensions cannot be rotated: an odd number")
    for key in ("layer_types", "no_rope_layers", "attention_layers"):
        if isinstance(config.get(key), list) and len(config[key]) != shape.layers:
            raise _wrong(f"{key} lists {len(config[key])} layers, and there are {shape.layers}")
    if architectures.tensor_count(config) > TENSORS:
        raise _wrong(f"it calls for more than {TENSORS:,} tensors")


def _wrong(what: str) -> ModelFileError:
    fix = "correct config.json, or copy it again from where it came from"
    return ModelFileError(f"config.json: {what}", fix=fix, code="malformed", file="config.json")
