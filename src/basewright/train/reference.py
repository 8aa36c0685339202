"""What a model says of the answers of pairs before its first step. It is computed once, so no second model is held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from basewright import signals, store
from basewright.data.pack import Floats, Order
from basewright.records import Progress, TrainSettings, silent
from basewright.train import loop, losses

if TYPE_CHECKING:
    from basewright.train.objectives import Preferences

FILE = "reference.safetensors"


def of(
    model: Any,
    pairs: Preferences,
    settings: TrainSettings | None = None,
    keep: Path | None = None,
    progress: Progress = silent,
) -> Floats:
    """(pairs, 2) log-likelihoods in nats, chosen and rejected; read from `keep` where that holds them whole."""
    if keep is not None and keep.exists() and not store.faults(keep):
        kept: Floats = load_file(keep / FILE)["nats"]
        return kept
    found = _computed(model, pairs, settings, progress)
    if keep is not None:
        half = keep.with_suffix(".part")
        half.mkdir(exist_ok=True)
        save_file({"nats": found}, half / FILE)
        store.commit(half, keep)
    return found


def _computed(model: Any, pairs: Preferences, settings: TrainSettings | None, progress: Progress) -> Floats:
    found = np.zeros((len(pairs.rows), 2), np.float32)
    model.eval()
    done = 0
    for micro in _micro_batches(pairs, settings):
        signals.poll()
        packed = pairs.pack(micro)
        with torch.no_grad(), loop.precision(settings.precision if settings else "float32"):
            nats_S = losses.log_likelihoods(model, packed).cpu().numpy()
        found[micro, 0], found[micro, 1] = nats_S[packed.chosen], nats_S[packed.rejected]
        done += len(micro)
        progress("reference", done, len(pairs.rows))
    return found


def _micro_batches(pairs: Preferences, settings: TrainSettings | None) -> Iterator[list[int]]:
    """Those of the first epoch: so the first step differs from its reference by nothing, not even in rounding."""
    if settings is None:
        yield from ([at] for at in range(len(pairs.rows)))
        return
    for batch in Order(pairs.lengths, settings.micro_tokens, settings.batch_tokens, settings.seed).epoch(0):
        yield from batch


def without_dropout(model: Any) -> None:
    """Set every dropout of a model to 0: modules, and the rates that some layers hand to functions."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
