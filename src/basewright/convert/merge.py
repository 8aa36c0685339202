"""Merge a LoRA adapter into its base: W + scale * B A in float32 (Hu et al. 2021, section 4.1), stored as the base was.

Every tensor of the adapter must find its place and every pair must be whole: an adapter that half fits is refused,
where a lenient loader would only warn (H020, H047).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig

from basewright import signals, store
from basewright.convert.weights import Stored
from basewright.errors import ModelFileError, Refused
from basewright.records import record
from basewright.text.tokenizer import Tokenizer, open_tokenizer

_FIX = "build again, so that the adapter is trained for this base"
_PART = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
_UNDERSTOOD = {
    "fan_in_fan_out",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
}
"""Settings that leave the formula above as it is. Any other must be off: an unknown variant would be merged into
something else than was trained."""

_COPIED = (
    "config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
"""What the merged model shares with its base. Not the manifest, record or card: those are about other weights."""


@record
class _Settings:
    rank: int
    scale: float
    targets: tuple[str, ...]
    turned: bool
    """Whether the base stores its maps inputs first, as GPT-2 does (`fan_in_fan_out`)."""


@record
class _Pair:
    down: torch.Tensor
    """A: (rank, inputs)."""
    up: torch.Tensor
    """B: (outputs, rank)."""


def merge(base: Path, adapter: Path, out: Path, stop_ids: tuple[int, ...] = ()) -> None:
    """Write the merged model to `out`: weights in the files and the precision of the base, tokenizer, config,
    generation config with `stop_ids` beside EOS.

    Raises `Refused` when the adapter does not fit the base, `ModelFileError` when a file cannot be read.
    """
    weights = Stored(base)
    settings = _settings(adapter)
    pairs = _pairs(adapter, settings)
    _check_fit(pairs, weights)
    store.reserve(out.parent, sum(path.stat().st_size for path in set(weights.where.values())))
    out.mkdir(parents=True)
    for path in sorted(set(weights.where.values())):
        names = [name for name, where in weights.where.items() if where == path]
        save_file(
            {name: _merged(weights, name, pairs.get(name), settings.scale) for name in names},
            out / path.name,
            {"format": "pt"},
        )
    for name in _COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    _write_generation(open_tokenizer(base), stop_ids, out)


def _merged(weights: Stored, name: str, pair: _Pair | None, scale: float) -> torch.Tensor:
    signals.poll()
    stored = weights.read(name)
    if pair is None:
        return stored
    merged = stored.float() + scale * (pair.up.float() @ pair.down.float())
    if not bool(torch.isfinite(merged).all()):
        raise Refused(
            f"merging makes {name} infinite or not a number", fix="lower [tune].learning_rate, then build again"
        )
    return merged.to(stored.dtype)


# --- the adapter ----------------------------------------------------------------------------------


def _pairs(folder: Path, settings: _Settings) -> dict[str, _Pair]:
    """The A and B of each adapted weight, by the name of that weight in the base."""
    weights = Stored(folder)
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name in weights.where:
        found = _PART.fullmatch(name)
        if found is None:
            raise Refused(f"the adapter has a tensor that is no half of a LoRA pair: {name}", fix=_FIX)
        halves.setdefault(found["module"], {})[found["half"]] = weights.read(name)
    pairs = {}
    for module, half in halves.items():
        if len(half) != 2:
            raise Refused(f"the adapter has lora_{''.join(half)} of {module} without its other half", fix=_FIX)
        pair = _pair(module, half["A"], half["B"], settings.rank)
        pairs[f"{module}.weight"] = _Pair(down=pair.up.T, up=pair.down.T) if settings.turned else pair
    _check_targets(pairs, settings)
    return pairs


def _pair(module: str, down: torch.Tensor, up: torch.Tensor, rank: int) -> _Pair:
    if down.ndim != 2 or up.ndim != 2 or (down.shape[0], up.shape[1]) != (rank, rank):
        shapes = f"{tuple(up.shape)} by {tuple(down.shape)}"
        raise Refused(f"the adapter's pair for {module} is {shapes}, its rank is said to be {rank}", fix=_FIX)
    return _Pair(down=down, up=up)


def _settings(folder: Path) -> _Settings:
    """The few settings that plain LoRA has. Raises `Refused` when any other is on."""
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        kind, bias, start = config["peft_type"], config.get("bias", "none"), config.get("init_lora_weights", True)
        targets = config.get("target_modules")
        turned = config.get("fan_in_fan_out") is True
        settings = _Settings(
            rank=int(config["r"]),
            scale=float(config["lora_alpha"]) / int(config["r"]),
            targets=tuple(targets) if isinstance(targets, list) else (),  # else a pattern, which names none
            turned=turned,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ModelFileError(f"the adapter's adapter_config.json cannot be read: {error}", fix=_FIX) from error
    variants = [key for key, value in config.items() if value and key not in _UNDERSTOOD]
    if kind != "LORA" or bias != "none" or variants or start not in (True, False, "gaussian"):  # others change the base
        what = variants[0] if variants else f"peft_type {kind}, bias {bias}, init_lora_weights {start}"
        raise Refused(f"only plain LoRA can be merged; the adapter uses {what}", fix="train it again as plain LoRA")
    return settings


def _check_targets(pairs: Mapping[str, _Pair], settings: _Settings) -> None:
    """A target without any tensor is a lost part of the adapter."""
    for target in settings.targets:
        if not any(f".{name}".endswith(f".{target}.weight") for name in pairs):
            raise Refused(f"the adapter is said to adapt {target} but holds no tensor for it", fix=_FIX)


def _check_fit(pairs: Mapping[str, _Pair], weights: Stored) -> None:
    if not pairs:
        raise Refused("the adapter holds no tensor", fix=_FIX)
    for name, pair in pairs.items():
        if name not in weights.where:
            raise Refused(f"the adapter changes {name}, which the base does not have", fix=_FIX)
        adapted = (pair.up.shape[0], pair.down.shape[1])
        if weights.shape(name) != adapted:
            raise Refused(f"the adapter's {name} is {adapted}, the base's is {weights.shape(name)}", fix=_FIX)
    _check_layers(pairs, weights)


def _check_layers(pairs: Mapping[str, _Pair], weights: Stored) -> None:
    """What is adapted in one layer is adapted in all that have it: a dropped pair leaves no other trace (H047)."""
    adapted = {_kind(name) for name in pairs}
    for name in weights.where:
        if _kind(name) in adapted and name not in pairs:
            raise Refused(f"the adapter has no tensors for {name}, though it has them for other layers", fix=_FIX)


def _kind(name: str) -> str:
    return re.sub(r"\.\d+\.", ".N.", name)


# --- the rest of the folder -----------------------------------------------------------------------


def _write_generation(tokenizer: Tokenizer, stop_ids: tuple[int, ...], out: Path) -> None:
    ends = list(dict.fromkeys([tokenizer.eos_id, *stop_ids]))
    config = GenerationConfig(
        bos_token_id=tokenizer.bos_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=tokenizer.pad_id,
    )
    config.save_pretrained(out)
