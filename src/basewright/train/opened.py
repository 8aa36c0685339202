"""A model opened for training, after it was shown that packed rows give what each row gives by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from basewright.data.pack import IGNORE, Packed, joined, judged, pack
from basewright.engine import classifier
from basewright.engine.classifier import Loaded
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.records import Head
from basewright.text.encode import Encoded
from basewright.train import attention, losses, nf4

LENGTHS = (7, 12, 12, 20)
"""Alike, in one bucket, and in another."""
TOLERANCE = 1e-4
"""Relative distance of two losses that differ by rounding alone: below 2e-6 in float32 for every family that is run."""
UNFIT = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, NotImplementedError)
"""What a model raises whose attention does not go through transformers' interface."""


def open_model(folder: Path, precision: str = "float32", packed: bool = False) -> Any:
    """The model with attention by segments, its maps in 4 bits if `packed`. Raises `Refused` where that is not the
    family's attention.

    Which families it holds for is tried and not looked up: short rows are answered by the model as it is and packed,
    in float32. Only then is it read in `precision`: a cast of what is loaded would round its angles too.
    """
    attention.install()
    load = nf4.load if packed else load_model
    model = load(folder, "float32")
    rows, loss = _rows(model), losses.masked if losses.is_encoder(model) else losses.next_token
    with torch.no_grad():
        alone = sum(_loss(model, row) for row in rows)
        try:
            model.set_attn_implementation(attention.NAME)
            together = loss(model, joined(rows)).item()
        except UNFIT as error:
            raise _unfit(model) from error
    if not abs(together - alone) <= TOLERANCE * abs(alone):
        raise _unfit(model)
    if precision == "float32":
        return model
    del model
    return load(folder, precision, attention.NAME)


def anew(known: Any, seed: int) -> Any:
    """The same architecture with weights drawn anew, as pretraining begins."""
    torch.manual_seed(seed)
    return type(known)._from_config(known.config, dtype=torch.float32, attn_implementation=attention.NAME).eval()


def open_classifier(folder: Path, head: Head, precision: str = "float32", seed: int = 0) -> Loaded:
    """Likewise the model under a classification head, whose fresh weights are drawn from `seed`: what it says of short
    rows is the same as transformers has it and packed. Raises `UsageError` where transformers has no such head."""
    attention.install()
    loaded = classifier.load(folder, head, seed=seed)
    model = loaded.model
    rows = [_judged(length, model.config.get_text_config().vocab_size, head) for length in LENGTHS]
    with torch.no_grad():
        alone = torch.cat([model(input_ids=torch.tensor([row.ids])).logits for row in rows])
        try:
            model.set_attn_implementation(attention.NAME)
            packed, _ = losses.class_logits(model, judged(rows, [0] * len(rows)))
        except UNFIT as error:
            raise _unfit(model) from error
    if not torch.allclose(packed, alone, rtol=0, atol=TOLERANCE * float(alone.abs().max())):
        raise _unfit(model)
    if precision == "float32":
        return loaded
    return classifier.load(folder, head, precision, attention=attention.NAME, seed=seed)


def _judged(length: int, vocabulary: int, head: Head) -> Encoded:
    ids = [(7 * length + 3 * i) % vocabulary for i in range(length)]
    ids = [(i + 1) % vocabulary if i == head.pad_id else i for i in ids]
    read = 0 if head.pools == "first" else length - 1
    return Encoded(tuple(ids), tuple(i == read for i in range(length)))


def _rows(model: Any) -> list[Packed]:
    """Short rows of like and of other length, whose every token is to be predicted: by a decoder from those before it,
    by an encoder from all, as no loss is easier to compute wrongly where a neighbour is seen."""
    vocabulary, pad = model.config.get_text_config().vocab_size, model.config.pad_token_id
    rows = []
    for length in LENGTHS:
        ids = [(7 * length + 3 * i) % vocabulary for i in range(length)]
        ids = [(i + 1) % vocabulary if i == pad else i for i in ids]  # RoBERTa numbers no position of padding
        row = pack([Encoded(tuple(ids), (True,) * length)])
        rows.append(replace(row, labels=row.ids) if losses.is_encoder(model) else row)
    return rows


def _loss(model: Any, row: Packed) -> float:
    """Of one row as the model itself computes it."""
    ids, labels = (torch.from_numpy(a).to(model.device) for a in (row.ids, row.labels))
    logits_NV = model(input_ids=ids[None], use_cache=False).logits[0].float()
    return functional.cross_entropy(logits_NV, labels, reduction="sum", ignore_index=IGNORE).item()


def _unfit(model: Any) -> Refused:
    return Refused(
        f"a {model.config.model_type} model cannot be tuned here: its attention does not take packed rows",
        fix="choose a candidate of another family",
    )
