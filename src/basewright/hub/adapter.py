"""A LoRA adapter's own files: which settings and tensors are let in. Used by `airlock`, which hashes what passed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from basewright.errors import FileCode, ModelFileError
from basewright.formats.safetensors import Tensor

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FLOATS = ("F32", "BF16", "F16")
HALF = re.compile(r"(?P<module>base_model\.model\.[A-Za-z0-9_.]+)\.lora_(?P<half>[AB])\.weight")
MAGNITUDE = re.compile(r"(?P<module>base_model\.model\.[A-Za-z0-9_.]+)\.lora_magnitude_vector")
MAX_RANK = 2**12
TOKENS = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.token_adapter\.trainable_tokens_delta")
"""Rows of an embedding table that are trained whole (peft's `trainable_token_indices`)."""


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1024


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1e6


def _modules(value: Any) -> bool:
    return _text(value) or (isinstance(value, list) and 0 < len(value) <= 4096 and all(map(_text, value)))


def _per_module(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and _number(item) for key, item in value.items())


def _ids(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 4096 and all(type(one) is int and one >= 0 for one in value)


def _tokens(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and _ids(ids) for key, ids in value.items())


def _layers(value: Any) -> bool:
    return type(value) is int or (isinstance(value, list) and all(type(item) is int for item in value))


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(one) and value == one for one in values)


RULES: dict[str, Callable[[Any], bool]] = {
    "peft_type": _one_of("LORA"),
    "task_type": _one_of("CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS", "FEATURE_EXTRACTION", "SEQ_2_SEQ_LM", "QUESTION_ANS"),
    "peft_version": _text,
    "base_model_name_or_path": _text,
    "revision": _text,
    "inference_mode": _one_of(True, False),
    "r": lambda value: type(value) is int and 1 <= value <= MAX_RANK,
    "lora_alpha": _number,
    "lora_dropout": _number,
    "target_modules": _modules,
    "exclude_modules": _modules,
    "fan_in_fan_out": _one_of(True, False),
    "bias": _one_of("none", "all", "lora_only"),
    "modules_to_save": _modules,
    "use_rslora": _one_of(True, False),
    "use_dora": _one_of(True, False),
    "lora_bias": _one_of(True, False),
    "init_lora_weights": _one_of(True, False, "gaussian"),
    "layers_to_transform": _layers,
    "layers_pattern": _modules,
    "rank_pattern": _per_module,
    "alpha_pattern": _per_module,
    "megatron_core": _one_of("megatron.core"),
    "qalora_group_size": _number,
    "ensure_weight_tying": _one_of(True, False),
    "trainable_token_indices": _tokens,
}
"""Keys that say something. `base_model_name_or_path` is text and never followed: who uses an adapter names its base.

Any other key may be there if it is off (null, false or empty), as peft writes it: one that is on loads modules, other
weights, or another kind of adapter. `megatron_core` names a module to import, and only while `megatron_config` is on.
"""


def check_config(config: Mapping[str, Any]) -> int:
    """The adapter's rank. Raises `ModelFileError` naming the key at fault."""
    for key, value in config.items():
        if key not in RULES and (value or (value == 0 and value is not False)):
            raise _fault(f"has the key {key[:80]!r} on, which is not known here", "unsupported", CONFIG)
        if key in RULES and value is not None and not RULES[key](value):
            raise _fault(f"has {key} = {str(value)[:80]!r}", "unsupported", CONFIG)
    if config.get("modules_to_save") and config.get("task_type") != "SEQ_CLS":
        raise _fault("saves modules whole, and is for no classification head", "unsupported", CONFIG)
    for key in ("peft_type", "r", "lora_alpha", "target_modules"):
        if config.get(key) is None:
            raise _fault(f"lacks {key}", "missing", CONFIG)
    rank: int = config["r"]
    return rank


def whole(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules that are saved whole: those of a classification head."""
    named = config.get("modules_to_save") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def check_tensors(
    tensors: Mapping[str, Tensor],
    rank: int,
    patterned: bool,
    saved: Sequence[str] = (),
    directed: bool = False,
    tokens: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> None:
    """Whole pairs of the stated rank, and nothing else but modules `saved` whole and rows of the tables in `tokens`.

    `patterned`: ranks differ from module to module; `directed`: each pair has a magnitude for every output (DoRA).
    """
    rows = {name: found["module"] for name in tensors if (found := TOKENS.fullmatch(name))}
    if sorted(rows.values()) != sorted(tokens):
        raise _fault("holds rows of other embedding tables than its config says", "mismatch")
    pairs: dict[str, dict[str, Tensor]] = {}
    magnitudes: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dtype in FLOATS and any(name.startswith(f"base_model.model.{module}.") for module in saved):
            continue
        if name in rows:
            if len(tensor.shape) != 2 or tensor.shape[0] != len(tokens[rows[name]]) or tensor.dtype not in FLOATS:
                raise _fault(f"holds {list(tensor.shape)} rows of {rows[name][:80]}, other than its config says")
            continue
        found = HALF.fullmatch(name)
        if directed and (own := MAGNITUDE.fullmatch(name)):
            magnitudes[own["module"]] = tensor
            continue
        if found is None or len(tensor.shape) != 2 or tensor.dtype not in FLOATS:
            raise _fault(f"holds {name[:80]} ({tensor.dtype}, {list(tensor.shape)}), no half of a LoRA pair")
        pairs.setdefault(found["module"], {})[found["half"]] = tensor
    if not pairs:
        raise _fault("holds no tensor", "missing")
    for module, halves in pairs.items():
        if len(halves) != 2:
            raise _fault(f"lacks one half of the pair of {module[:80]}", "missing")
        down, up = halves["A"].shape[0], halves["B"].shape[1]
        if down != up or (down != rank and not patterned):
            raise _fault(f"has a pair of rank {down} and {up} for {module[:80]}; its config says {rank}", "mismatch")
    if directed:
        _check_magnitudes(magnitudes, pairs)


def _check_magnitudes(magnitudes: Mapping[str, Tensor], pairs: Mapping[str, Mapping[str, Tensor]]) -> None:
    if odd := sorted(magnitudes.keys() ^ pairs.keys()):
        raise _fault(f"has a pair or a magnitude alone for {odd[0][:80]}", "mismatch")
    for module, tensor in magnitudes.items():
        outputs = pairs[module]["B"].shape[0]
        if tuple(tensor.shape) != (outputs,) or tensor.dtype not in FLOATS:
            raise _fault(f"has magnitudes of {list(tensor.shape)} for {outputs} outputs of {module[:80]}", "mismatch")


def _fault(what: str, code: FileCode = "unsupported", file: str = WEIGHTS) -> ModelFileError:
    return ModelFileError(
        f"{file} {what}",
        fix="use an adapter of LoRA, rsLoRA or DoRA, saved by peft as safetensors",
        code=code,
        file=file,
    )
