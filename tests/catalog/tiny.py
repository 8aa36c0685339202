"""A tiny config of every family, and what transformers makes of it: the tensors it saves, and its linear maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from basewright.catalog.architectures import FAMILIES
from tests.catalog.configs import CONFIGS as CONFIGS

REFUSED = ("llama, tied, with biases and wide heads", "falcon, as the smallest")
"""Configs of families that can be run which themselves cannot."""


def class_of(name: str) -> str:
    return FAMILIES[CONFIGS[name]["model_type"]].cls


def build(config: dict[str, Any], cls: str, device: str = "cpu") -> Any:
    """The model of transformers' class `cls` with random weights."""
    kept = {key: value for key, value in config.items() if key != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **kept)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(made, key, 0)
    with torch.device(device):
        return getattr(transformers, cls)(made)


def saved(model: Any, folder: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The config.json and the tensors of the model's folder, as it is saved."""
    model.save_pretrained(folder)
    with safe_open(folder / "model.safetensors", "pt") as file:
        tensors = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return json.loads((folder / "config.json").read_text()), tensors
