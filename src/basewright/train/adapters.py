"""LoRA and its kin on a base: put on, continued, and written as files that plain peft loads on the plain base.

A method is a row of `VARIANTS`: what peft's LoraConfig needs for it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils.other import TrainableTokensWrapper
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from basewright import store
from basewright.errors import ModelFileError, Refused
from basewright.hub import airlock
from basewright.plain import to_plain
from basewright.records import LoraSettings, LoraVariant, Weights
from basewright.train import embeddings
from basewright.train.losses import is_encoder

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
VARIANTS: dict[LoraVariant, dict[str, Any]] = {
    "lora": {},  # Hu et al. 2021
    "rslora": {"use_rslora": True},  # scaled by alpha / sqrt(rank): Kalajdzievski 2023
    "dora": {"use_dora": True},  # direction and magnitude apart: Liu et al. 2024
    "pissa": {"init_lora_weights": "pissa"},  # starts from the principal components of the weights: Meng et al. 2024
}
Halves = dict[str, torch.Tensor]


def put_on(model: Any, lora: LoraSettings, seed: int, head: Sequence[str] = ()) -> Any:
    """The model with an adapter on its named linear maps, in float32; everything else frozen but the modules of `head`,
    which are trained whole and saved with the adapter.

    A is random from the seed and B zero, so step 0 is the base itself, but for the embeddings of `lora.tokens`, which
    begin as `embeddings.fresh` has them; `pissa` splits the weights into the adapter
    and a rest instead, which is the base up to rounding. Raises `Refused` for targets that name nothing.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.targets),
        lora_dropout=0.0,
        task_type="SEQ_CLS" if head else None if is_encoder(model) else "CAUSAL_LM",
        modules_to_save=list(head) or None,
        trainable_token_indices=_tables(model, lora.tokens),
        exclude_modules=_beside_layers(model) if is_encoder(model) else None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        **VARIANTS[lora.variant],
    )
    embeddings.unpad(model, lora.tokens)
    try:
        with warnings.catch_warnings():  # peft speaks of experts, on which no adapter sits
            warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise Refused(f"LoRA does not fit this model: {error}", fix="correct the targets: --targets") from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in adapted.modules():
        if isinstance(module, TrainableTokensWrapper) and module.token_adapter.tied_adapter is None:
            rows = module.token_adapter.trainable_tokens_delta["default"]
            rows.data = embeddings.fresh(module.token_adapter.get_base_layer().weight, lora.tokens, seed)
    return adapted


def _tables(model: Any, tokens: Sequence[int]) -> dict[str, list[int]] | None:
    """The tables whose rows for these tokens are trained: what is read, and what is written where that is another."""
    if not tokens:
        return None
    read, written = model.get_input_embeddings(), model.get_output_embeddings()
    tables = [read] if written is None or written.weight is read.weight else [read, written]
    return {name: list(tokens) for name, module in model.named_modules() if any(module is one for one in tables)}


def _beside_layers(model: Any) -> list[str]:
    """The linear maps of a masked head: some are called as maps of the layers are, and no tuning uses them."""
    layers = model.base_model_prefix + "."
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.startswith(layers)
    ]


def halves(model: Any) -> Halves:
    """A copy of every trained tensor of the adapter, by its name in the model."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def continue_from(model: Any, folder: Path) -> None:
    """Set the adapter to the one in `folder`, every tensor of it and no other (H047).

    Raises `Refused`, and `ModelFileError` for files that do not pass the airlock.
    """
    airlock.inspect_adapter(folder)
    found = load_file(folder / WEIGHTS)
    own = {_saved_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    shapes = {name: p.shape for name, p in own.items()}
    if {name: tensor.shape for name, tensor in found.items()} != shapes:
        odd = sorted(set(found) ^ set(own)) or sorted(name for name in own if found[name].shape != shapes[name])
        raise Refused(
            f"the adapter to continue does not fit: {odd[0]}", fix="continue it with its own --rank and --targets"
        )
    with torch.no_grad():
        for name, p in own.items():
            p.copy_(found[name])


def settings_of(folder: Path) -> LoraSettings:
    """The settings of a written adapter, so that it can be continued. Raises `ModelFileError`."""
    airlock.inspect_adapter(folder)
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        variant: LoraVariant = "dora" if config["use_dora"] else "rslora" if config["use_rslora"] else "lora"
        tables = config.get("trainable_token_indices") or {}
        return LoraSettings(
            rank=int(config["r"]),
            alpha=float(config["lora_alpha"]),
            targets=tuple(config["target_modules"]),
            variant=variant,
            tokens=tuple(sorted({int(token) for tokens in tables.values() for token in tokens})),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{folder.name} holds no adapter that can be continued: {error}", fix="give the folder of an adapter"
        ) from error


def write(model: Any, folder: Path, base: Weights, lora: LoraSettings, start: Halves) -> None:
    """peft's two files, with the base named as id and commit instead of a path of this machine.

    `start` is what the adapter was before the first step: `pissa` changed the base by it.
    """
    logging.getLogger("peft").setLevel(logging.ERROR)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / CONFIG
    config = json.loads(path.read_text("utf-8"))
    config["base_model_name_or_path"] = base.card.id
    config["revision"] = base.commit
    config["target_modules"] = sorted(config["target_modules"])  # peft writes a set, in another order each time
    if config["modules_to_save"]:
        config["modules_to_save"] = sorted(set(config["modules_to_save"]))
    if lora.variant == "pissa":
        _onto_plain_base(folder, start)
        config |= {"r": 2 * lora.rank, "lora_alpha": 2 * lora.alpha, "init_lora_weights": True}
    store.write_json(path, to_plain(config))


def _onto_plain_base(folder: Path, start: Halves) -> None:
    """W - s B0 A0 + s B A = W + s [B, -B0] [A; A0]: plain LoRA of twice the rank and the same scale s (H047)."""
    before = {_saved_name(name): tensor for name, tensor in start.items()}
    tensors = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        if ".lora_" not in name:  # a head's
            tensors[name] = tensor
            continue
        down = ".lora_A." in name
        tensors[name] = torch.cat([tensor, before[name] if down else -before[name]], dim=0 if down else 1)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def _saved_name(name: str) -> str:
    """A parameter's name in peft's file: without the name of the adapter."""
    return name.replace(".modules_to_save.default", "").replace(".default", "")
