"""A model opened for training, after it was shown that packed rows give what each row gives by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

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
Place = tuple[Any, str]
"""A module, and the name of a weight of its own."""


def open_model(folder: Path, precision: str = "float32", packed: bool = False) -> Any:
    """The model with attention by segments, its maps in 4 bits if `packed`. Raises `Refused` where that is not the
    family's attention.

    Which families it holds for is tried and not looked up: short rows are answered by the model as it is and packed,
    `widened` to float32. It is read in `precision` at once: a cast of what is loaded would round its angles too. Only
    one whose maps are 4 bits is read twice, as they multiply in what they were first given.
    """
    attention.install()
    model = nf4.load(folder, "float32") if packed else load_model(folder, precision)
    rows, loss = _rows(model), losses.masked if losses.is_encoder(model) else losses.next_token
    with torch.no_grad(), widened(model):
        alone = sum(_loss(model, row) for row in rows)
        try:
            model.set_attn_implementation(attention.NAME)
            together = loss(model, joined(rows)).item()
        except UNFIT as error:
            raise _unfit(model) from error
    if not abs(together - alone) <= TOLERANCE * abs(alone):
        raise _unfit(model)
    if packed and precision != "float32":
        del model
        return nf4.load(folder, precision, attention.NAME)
    return model


def anew(known: Any, seed: int) -> Any:
    """The same architecture with weights drawn anew, as pretraining begins."""
    torch.manual_seed(seed)
    return type(known)._from_config(known.config, dtype=torch.float32, attn_implementation=attention.NAME).eval()


def open_classifier(folder: Path, head: Head, precision: str = "float32", seed: int = 0) -> Loaded:
    """Likewise the model under a classification head, whose fresh weights are drawn from `seed`: what it says of short
    rows is the same as transformers has it and packed. Raises `UsageError` where transformers has no such head."""
    attention.install()
    loaded = classifier.load(folder, head, precision, seed=seed)
    model = loaded.model
    rows = [_judged(length, model.config.get_text_config().vocab_size, head) for length in LENGTHS]
    with torch.no_grad(), widened(model):
        alone = torch.cat([model(input_ids=torch.tensor([row.ids])).logits for row in rows])
        try:
            model.set_attn_implementation(attention.NAME)
            packed, _ = losses.class_logits(model, judged(rows, [0] * len(rows)))
        except UNFIT as error:
            raise _unfit(model) from error
    if not torch.allclose(packed, alone, rtol=0, atol=TOLERANCE * float(alone.abs().max())):
        raise _unfit(model)
    return loaded


# --- in float32, part by part ---------------------------------------------------------------------


@contextmanager
def widened(model: Any) -> Iterator[None]:
    """What the model computes inside, and the gradient of what is `light`, are in float32, from its weights as they are
    held; and yet no second model is there: the maps of a layer, and the output's, are float32 only while that computes.

    Tables are looked up as they are held. What is `light` is float32 throughout, and so are maps outside the layers. A
    model that is held in float32 is left alone.
    """
    if all(p.dtype == torch.float32 for p in model.parameters() if p.is_floating_point()):
        yield
        return
    layers, output = _layers(model), model.get_output_embeddings()
    heavy = [*layers, *([] if output is None else [output])]
    inside = {part for one in heavy for part in one.modules()}
    outside = [(part, name) for part in model.modules() if part not in inside for name in part._parameters]
    with ExitStack() as undone:
        held = [(part, name) for part, name in (*light(model), *outside) if not isinstance(part, torch.nn.Embedding)]
        undone.enter_context(_float(held, learned=True))
        for one in heavy:
            undone.enter_context(_float_inside(one))
        for table in (part for part in model.modules() if isinstance(part, torch.nn.Embedding)):
            undone.callback(table.register_forward_hook(lambda _, __, found: found.float()).remove)
        yield


def light(model: Any) -> list[Place]:
    """Where vectors stand, and in a layer without any its smallest weight: every gradient comes by there, and to hold
    them twice costs nothing."""
    found = [(part, name) for part in model.modules() for name, p in _own(part) if p.ndim == 1]
    for layer in _layers(model):
        places = [(part, name, p.ndim, p.numel()) for part in layer.modules() for name, p in _own(part)]
        if all(ndim > 1 for *_, ndim, _ in places):
            found.append(min(places, key=lambda place: place[3])[:2])
    return found


def _layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def _own(module: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in module._parameters.items() if p is not None and p.is_floating_point()]


@contextmanager
def _float(places: Iterable[Place], *, learned: bool) -> Iterator[None]:
    """Another weight in each place, and then the one that was there again. A weight that stands in two is two. Where
    gradients are asked for it is `learned`; a graph would keep others for them until it is gone."""
    held = [(part, name, part._parameters[name]) for part, name in places]
    held = [(part, name, p) for part, name, p in held if p is not None and p.dtype.itemsize < 4]
    for part, name, p in held:
        part._parameters[name] = torch.nn.Parameter(p.detach().float(), requires_grad=learned)
    try:
        yield
    finally:
        for part, name, p in held:
            part._parameters[name] = p


@contextmanager
def _float_inside(module: Any) -> Iterator[None]:
    """While it computes, forward and once more for a gradient; what it computed on the way is not kept between."""
    forward = module.forward

    def widely(*given: Any, **named: Any) -> Any:
        with _float([(part, name) for part in module.modules() for name, _ in _own(part)], learned=False):
            return forward(*given, **named)

    module.forward = lambda *given, **named: checkpoint(widely, *given, use_reentrant=False, **named)
    try:
        yield
    finally:
        del module.forward


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
