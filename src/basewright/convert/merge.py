"""Merge a LoRA adapter into its base: W' = W + s B A in float32 (Hu et al. 2021, section 4.1), stored as the base was.

s is alpha / rank, with rsLoRA alpha / sqrt(rank) (Kalajdzievski 2023). DoRA then gives each output the norm that was
learned for it: m W' / |W'|, the norm over inputs (Liu et al. 2024, equation 5).
Every tensor of the adapter must find its place and every pair must be whole: an adapter that half fits is refused,
where a lenient loader would only warn (H020, H047).
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from basewright import signals, store
from basewright.convert.weights import Stored
from basewright.engine import ends
from basewright.errors import ModelFileError, Refused
from basewright.hub.adapter import TOKENS
from basewright.records import Layout, record
from basewright.text.tokenizer import open_tokenizer

_FIX = "build again, so that the adapter is trained for this base"
_PART = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?:(?P<half>[AB])\.weight|magnitude_vector)")
_MAGNITUDE = "m"
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
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
}
"""Settings that leave the formulas above as they are. Any other must be off: an unknown variant would be merged into
something else than was trained."""

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
_COPIED = ("config.json", "model.safetensors.index.json", *TOKENIZER)
"""What the merged model shares with its base. Not the manifest, record or card: those are about other weights."""


@record
class _Settings:
    rank: int
    scale: float
    targets: tuple[str, ...]
    turned: bool
    """Whether the base stores its maps inputs first, as GPT-2 does (`fan_in_fan_out`)."""
    directed: bool
    """Whether magnitudes are learned apart (DoRA)."""
    tokens: dict[str, list[int]]
    """Ids whose rows in a table, by its module's name, are learned whole."""


@record
class _Pair:
    down: torch.Tensor
    """A: (rank, inputs)."""
    up: torch.Tensor
    """B: (outputs, rank)."""
    magnitude: torch.Tensor | None = None
    """m: (outputs, 1), which scales each output; of a base with its inputs first, (1, outputs)."""


def merge(base: Path, adapter: Path, out: Path, stop_ids: tuple[int, ...] = (), layout: Layout | None = None) -> None:
    """Write the merged model to `out`: weights in the files and the precision of the base, tokenizer, config,
    generation config with `stop_ids` beside EOS, the chat template of `layout` if it has one.

    Raises `Refused` when the adapter does not fit the base, `ModelFileError` when a file cannot be read.
    """
    weights = Stored(base)
    settings = _settings(adapter)
    pairs, rows = _pairs(adapter, settings), _rows(adapter, settings)
    _check_fit(pairs, weights)
    _check_rows(rows, settings, weights)
    store.reserve(out.parent, sum(path.stat().st_size for path in set(weights.where.values())))
    out.mkdir(parents=True)
    for path in sorted(set(weights.where.values())):
        names = [name for name, where in weights.where.items() if where == path]
        save_file(
            {
                name: _embedded(_merged(weights, name, pairs.get(name), settings), name, rows, settings)
                for name in names
            },
            out / path.name,
            {"format": "pt"},
        )
    for name in _COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    ends.write(open_tokenizer(base), layout, stop_ids, out)


def _merged(weights: Stored, name: str, pair: _Pair | None, settings: _Settings) -> torch.Tensor:
    signals.poll()
    stored = weights.read(name)
    if pair is None:
        return stored
    merged = stored.float() + settings.scale * (pair.up.float() @ pair.down.float())
    if pair.magnitude is not None:
        merged *= pair.magnitude.float() / torch.linalg.norm(merged, dim=0 if settings.turned else 1, keepdim=True)
    if not bool(torch.isfinite(merged).all()):
        raise Refused(
            f"merging makes {name} infinite or not a number", fix="lower [tune].learning_rate, then build again"
        )
    return merged.to(stored.dtype)


def _embedded(table: torch.Tensor, name: str, rows: Mapping[str, torch.Tensor], settings: _Settings) -> torch.Tensor:
    """A table with the rows that were learned whole."""
    if name in rows:
        table = table.clone()
        table[settings.tokens[name.removesuffix(".weight")]] = rows[name].to(table.dtype)
    return table


# --- the adapter ----------------------------------------------------------------------------------


def _pairs(folder: Path, settings: _Settings) -> dict[str, _Pair]:
    """What is learned of each adapted weight, by the name of that weight in the base."""
    weights = Stored(folder)
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name in weights.where:
        found = _PART.fullmatch(name)
        if TOKENS.fullmatch(name):
            continue
        if found is None:
            raise Refused(f"the adapter has a tensor that is no half of a LoRA pair: {name}", fix=_FIX)
        parts.setdefault(found["module"], {})[found["half"] or _MAGNITUDE] = weights.read(name)
    pairs = {f"{module}.weight": _learned(module, part, settings) for module, part in parts.items()}
    _check_targets(pairs, settings)
    return pairs


def _rows(folder: Path, settings: _Settings) -> dict[str, torch.Tensor]:
    """Rows (T, D) that were learned whole, by the name of their table in the base."""
    weights = Stored(folder)
    found = {match["module"]: name for name in weights.where if (match := TOKENS.fullmatch(name))}
    if found.keys() != settings.tokens.keys():
        raise Refused("the adapter holds rows of other embedding tables than it says", fix=_FIX)
    return {f"{module}.weight": weights.read(name) for module, name in found.items()}


def _check_rows(rows: Mapping[str, torch.Tensor], settings: _Settings, weights: Stored) -> None:
    for name, learned in rows.items():
        ids = settings.tokens[name.removesuffix(".weight")]
        shape = weights.shape(name) if name in weights.where else (0, 0)
        if learned.shape != (len(ids), shape[1]) or max(ids) >= shape[0]:
            raise Refused(f"the adapter's rows of {name} are {tuple(learned.shape)}, the table is {shape}", fix=_FIX)


def _learned(module: str, part: Mapping[str, torch.Tensor], settings: _Settings) -> _Pair:
    halves = sorted(part.keys() - {_MAGNITUDE})
    if len(halves) != 2:
        raise Refused(f"the adapter has lora_{''.join(halves)} of {module} without its other half", fix=_FIX)
    if (_MAGNITUDE in part) != settings.directed:
        has = "has" if _MAGNITUDE in part else "lacks"
        raise Refused(f"the adapter {has} a magnitude for {module}, and use_dora is {settings.directed}", fix=_FIX)
    pair = _pair(module, part["A"], part["B"], settings.rank)
    magnitude = part.get(_MAGNITUDE)
    if magnitude is not None:
        if magnitude.shape != (pair.up.shape[0],):
            raise Refused(
                f"the adapter's magnitude for {module} is {tuple(magnitude.shape)}, not ({pair.up.shape[0]},)", fix=_FIX
            )
        magnitude = magnitude[None] if settings.turned else magnitude[:, None]
    down, up = (pair.up.T, pair.down.T) if settings.turned else (pair.down, pair.up)
    return _Pair(down=down, up=up, magnitude=magnitude)


def _pair(module: str, down: torch.Tensor, up: torch.Tensor, rank: int) -> _Pair:
    if down.ndim != 2 or up.ndim != 2 or (down.shape[0], up.shape[1]) != (rank, rank):
        shapes = f"{tuple(up.shape)} by {tuple(down.shape)}"
        raise Refused(f"the adapter's pair for {module} is {shapes}, its rank is said to be {rank}", fix=_FIX)
    return _Pair(down=down, up=up)


def _settings(folder: Path) -> _Settings:
    """The few settings that LoRA, rsLoRA and DoRA have. Raises `Refused` when any other is on."""
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        kind, bias, start = config["peft_type"], config.get("bias", "none"), config.get("init_lora_weights", True)
        targets = config.get("target_modules")
        turned = config.get("fan_in_fan_out") is True
        rank = int(config["r"])
        settings = _Settings(
            rank=rank,
            scale=float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank),
            targets=tuple(targets) if isinstance(targets, list) else (),  # else a pattern, which names none
            turned=turned,
            directed=config.get("use_dora") is True,
            tokens=dict(config.get("trainable_token_indices") or {}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ModelFileError(f"the adapter's adapter_config.json cannot be read: {error}", fix=_FIX) from error
    variants = [key for key, value in config.items() if value and key not in _UNDERSTOOD]
    if kind != "LORA" or bias != "none" or variants or start not in (True, False, "gaussian"):  # others change the base
        what = variants[0] if variants else f"peft_type {kind}, bias {bias}, init_lora_weights {start}"
        raise Refused(
            f"only LoRA, rsLoRA and DoRA can be merged; the adapter uses {what}", fix="train it again as one of these"
        )
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
