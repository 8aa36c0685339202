"""What a model says of answers before its first step. It is computed once, so no second model is held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from basewright import signals, store
from basewright.data import pack
from basewright.data.pack import Floats
from basewright.records import Progress, silent
from basewright.text.encode import Encoded
from basewright.train import loop, losses

FILE = "reference.safetensors"


def of(
    model: Any,
    texts: Sequence[Encoded],
    packs: Sequence[Sequence[int]],
    precision: str = "float32",
    keep: Path | None = None,
    progress: Progress = silent,
) -> Floats:
    """(texts,) log-likelihoods of what is supervised in each, in nats; read from `keep` where that holds them whole.

    `packs` are the numbers of texts that are computed together. Where they are those of a training step, in its order,
    that step differs from its reference by nothing, not even in rounding. Raises `Interrupted` when asked to stop.
    """
    if keep is not None and keep.exists() and not store.faults(keep):
        kept: Floats = load_file(keep / FILE)["nats"]
        return kept
    found = np.zeros(len(texts), np.float32)
    model.eval()
    for done, numbers in enumerate(packs, start=1):
        signals.poll()
        with torch.no_grad(), loop.precision(precision):
            nats_S = losses.log_likelihoods(model, pack.pack([texts[i] for i in numbers]))
        found[list(numbers)] = nats_S.cpu().numpy()
        progress("reference", done, len(packs))
    if keep is not None:
        _keep(found, keep)
    return found


def _keep(found: Floats, folder: Path) -> None:
    half = folder.with_suffix(".part")
    half.mkdir(exist_ok=True)
    save_file({"nats": found}, half / FILE)
    store.commit(half, folder)


def without_dropout(model: Any) -> None:
    """Set every dropout of a model to 0: modules, and the rates that some layers hand to functions. With it a model
    would differ from its own reference; TRL takes it out too."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
