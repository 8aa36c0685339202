"""Which config.json we take: a supported family, known keys only, numbers in range, nothing that could run code.

An allow-list and not a list of known attacks: libraries set every unknown key as an attribute of the loaded config,
and keys that ran code while remote code was off were found again and again (H005).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basewright.errors import ModelFileError
from basewright.formats import strict

NAME = "config.json"
MAX_CONFIG = 2**20
CODE = re.compile(
    r"auto_map|.*trust_remote_code.*|.*_internal|.*code_revision|custom_(generate|pipelines?)|"
    r".*attn_implementation.*|.*experts_implementation.*|(use_|hub_)*kernels?(_(config|name|repo|revision).*)?",
    re.IGNORECASE,
)
PRECISIONS = ("float32", "bfloat16", "float16")
ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "llama3")


@dataclass(frozen=True, slots=True)
class Rule:
    test: Callable[[Any], bool]
    what: str


def _whole(low: int, high: int) -> Rule:
    return Rule(lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}")


def _number(low: float, high: float) -> Rule:
    return Rule(lambda v: type(v) in (int, float) and low <= v <= high, f"a number from {low} to {high}")


def _one_of(*values: Any) -> Rule:
    return Rule(
        lambda v: any(type(v) is type(value) and v == value for value in values), " or ".join(map(repr, values))
    )


def _optional(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.test(v), f"{rule.what}, or null")


_FLAG = _one_of(True, False)
_TEXT = Rule(lambda v: isinstance(v, str) and len(v) <= 1024, "a short text")
_ID = _whole(-1, 2**24)
_IDS = Rule(lambda v: _ID.test(v) or (isinstance(v, list) and bool(v) and all(map(_ID.test, v))), "token ids")
_ROPE_KEYS: dict[str, Rule] = {
    "rope_type": _one_of(*ROPE_TYPES),
    "type": _one_of(*ROPE_TYPES),
    "rope_theta": _number(1, 1e12),
    "original_max_position_embeddings": _whole(1, 2**30),
    "truncate": _FLAG,
} | dict.fromkeys(
    ("factor", "low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow", "mscale"),
    _number(0, 1e6),
)
_ROPE = Rule(
    lambda v: isinstance(v, dict) and all(k in _ROPE_KEYS and _ROPE_KEYS[k].test(x) for k, x in v.items()),
    "known settings of rotary positions",
)
_LLAMA: dict[str, Rule] = {
    "model_type": _one_of("llama"),
    "architectures": Rule(lambda v: v == ["LlamaForCausalLM"], "['LlamaForCausalLM']"),
    "num_hidden_layers": _whole(1, 1024),
    "hidden_size": _whole(2, 2**16),
    "num_attention_heads": _whole(1, 2**10),
    "num_key_value_heads": _optional(_whole(1, 2**10)),
    "head_dim": _optional(Rule(lambda v: type(v) is int and 2 <= v <= 1024 and v % 2 == 0, "an even number to 1024")),
    "intermediate_size": _whole(1, 2**20),
    "vocab_size": _whole(2, 2**24),
    "max_position_embeddings": _whole(1, 2**30),
    "tie_word_embeddings": _FLAG,
    "rms_norm_eps": _number(1e-12, 1e-2),
    "hidden_act": _one_of("silu"),
    "attention_bias": _one_of(False),
    "mlp_bias": _one_of(False),
    "attention_dropout": _optional(_number(0, 1)),
    "initializer_range": _number(0, 1),
    "pretraining_tp": _optional(_whole(1, 1024)),
    "rope_theta": _number(1, 1e12),
    "rope_scaling": _optional(_ROPE),
    "rope_parameters": _optional(_ROPE),
    "rope_interleaved": _one_of(False),
    "bos_token_id": _optional(_ID),
    "eos_token_id": _optional(_IDS),
    "pad_token_id": _optional(_ID),
    "torch_dtype": _optional(_one_of(*PRECISIONS)),
    "dtype": _optional(_one_of(*PRECISIONS)),
    "use_cache": _FLAG,
    "transformers_version": _TEXT,
    "_name_or_path": _TEXT,
    "is_llama_config": _FLAG,
    "transformers.js_config": Rule(lambda v: isinstance(v, dict), "an object"),
}
_REQUIRED = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
)
SUPPORTED = {"llama": _LLAMA}


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
    for key in _REQUIRED:
        if key not in config:
            raise _wrong(f"{key} is missing")
    _check_heads(config)
    return config


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


def _check_heads(config: dict[str, Any]) -> None:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    if width % heads:
        raise _wrong(f"hidden_size {width} is not a multiple of num_attention_heads {heads}")
    if heads % kv_heads:
        raise _wrong(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}")
    if config.get("head_dim") is None and (width // heads) % 2:
        raise _wrong(f"heads of {width // heads} dimensions cannot be rotated: an odd number")


def _wrong(what: str) -> ModelFileError:
    fix = "correct config.json, or copy it again from where it came from"
    return ModelFileError(f"config.json: {what}", fix=fix, code="malformed", file="config.json")
