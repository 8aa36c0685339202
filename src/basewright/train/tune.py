"""Adapt a base model, by an adapter or all of its weights, on rows that carry a certificate."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from basewright import store
from basewright.data.pack import Order
from basewright.engine import ends
from basewright.engine.classifier import Loaded
from basewright.errors import Refused
from basewright.records import (
    Adapter,
    Certificate,
    Checkpoint,
    Head,
    Item,
    Layout,
    LoraSettings,
    Made,
    Progress,
    TrainSettings,
    Tuning,
    Validation,
    Weights,
)
from basewright.store import Work
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.encode import Encoded
from basewright.text.tokenizer import GENERATION, Tokenizer, open_tokenizer
from basewright.train import adapters, embeddings, loop, quick, watch
from basewright.train.objectives import Labelled, NextToken, Objective
from basewright.train.opened import anew as drawn_anew
from basewright.train.opened import open_classifier, open_model
from basewright.train.replay import General, Mixture
from basewright.train.watch import Watched


@dataclass(frozen=True, slots=True)
class Beside:
    """What a tuning has beside its rows."""

    held: Objective | None = None
    """Rows it is validated on, every `TrainSettings.validate_tokens`."""
    general: General | None = None
    """Text that is replayed, a share of `TrainSettings.replay`."""

    @property
    def identity(self) -> list[str]:
        return ["" if one is None else one.identity for one in (self.held, self.general)]


ALONE = Beside()


def examples(items: Sequence[Item], layout: Layout, tokenizer: Tokenizer) -> list[Encoded]:
    """Each item as its prompt and its label, ended by a supervised EOS."""
    return [encode.example(tokenizer, layouts.prompt(layout, item.text), layouts.target(item.label)) for item in items]


def tune(
    base: Made[Weights],
    certificate: Certificate,
    items: Sequence[Item],
    layout: Layout,
    lora: LoraSettings,
    settings: TrainSettings,
    work: Work,
    progress: Progress,
) -> Adapter:
    """`adapt` on labelled items, whose labels are written."""
    objective = NextToken(examples(items, layout, open_tokenizer(base.folder / "model")))
    return adapt(base, certificate, objective, layout, lora, settings, work, progress)


def adapt(
    base: Made[Weights],
    certificate: Certificate,
    objective: Objective,
    layout: Layout,
    lora: LoraSettings,
    settings: TrainSettings,
    work: Work,
    progress: Progress,
    continued: Path | None = None,
    beside: Beside = ALONE,
) -> Adapter:
    """Train an adapter and write it to `work.out/adapter` in peft's format; `continued` is the folder of one to start
    from.

    The base is held in `settings.precision`, the adapter in float32; only `pissa`, whose split of the weights would be
    lost in rounding, keeps both in float32 and rounds as it computes. Raises `Refused` unless `certificate` passed and
    is about exactly these rows. Resumes after a kill.
    """
    _require(certificate, base.record.card.id, objective.identity)
    held = "float32" if lora.variant == "pissa" else settings.precision
    packed = lora.quantization == "nf4"
    head, opened = _opened(base, objective, held, settings.seed, packed=packed)
    model = adapters.put_on(opened.model, lora, settings.seed, opened.fresh)
    start = adapters.halves(model)
    if continued is not None:
        adapters.continue_from(model, continued)
    quick.quicken(model)
    parent = "" if continued is None else store.sha256_of(continued / adapters.WEIGHTS)
    identity = [base.record.commit, certificate.data_hash, lora, parent]
    flops = 4.0 * base.record.card.active_parameters
    ran = _run(model, objective, beside, settings, work, progress, identity, flops)
    state = ran.state
    folder = work.out / "adapter"
    adapters.write(model, folder, base.record, lora, start)
    if head is None:
        ends.write(open_tokenizer(base.folder / "model"), layout, (certificate.eos_id,), folder)
    return Adapter(
        base=base.record.card.id,
        base_commit=base.record.commit,
        lora=lora,
        train=settings,
        data_hash=certificate.data_hash,
        layout=layout,
        bos=certificate.bos_id is not None,
        stop_ids=(certificate.eos_id,),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        tokens=state.tokens,
        flops=4.0 * base.record.card.parameters * state.tokens,
        first_loss=state.first_loss,
        last_loss=state.last_loss,
        sha256=store.sha256_of(folder / adapters.WEIGHTS),
        parent=parent,
        head=head,
        validation=ran.validation,
        replayed=ran.replayed,
    )


def full(
    base: Made[Weights],
    certificate: Certificate,
    objective: Objective,
    layout: Layout,
    settings: TrainSettings,
    work: Work,
    progress: Progress,
    *,
    anew: bool = False,
    beside: Beside = ALONE,
    tokens: tuple[int, ...] = (),
) -> Checkpoint:
    """Train every weight, in float32, and write a model's folder to `work.out`, in the base's precision.

    `anew` leaves the base's weights behind and begins with random ones: what the data alone can teach the
    architecture. The folder needs nothing of ours: its generation_config.json says where answers end. The embeddings
    of `tokens`, which were never trained, begin as `embeddings.fresh` has them. Raises as `adapt`.
    """
    _require(certificate, base.record.card.id, objective.identity)
    head, opened = _opened(base, objective, "float32", settings.seed)
    model = drawn_anew(opened.model, settings.seed) if anew else opened.model
    embeddings.begin(model, tokens, settings.seed)
    quick.quicken(model)
    card = base.record.card
    identity = [base.record.commit, certificate.data_hash, "anew" if anew else "full", *tokens]
    ran = _run(model, objective, beside, settings, work, progress, identity, 6.0 * card.active_parameters)
    state = ran.state
    made = "anew" if anew else "tuned"
    _write_model(model, base, work.out)
    if head is None:
        ends.write(open_tokenizer(base.folder / "model"), layout, (certificate.eos_id,), work.out)
    return Checkpoint(
        name=f"{card.id} {made}",
        card=replace(card, id=f"{card.id}-{made}", location=".", curated=False),
        train=settings,
        tokens=state.tokens,
        flops=6.0 * card.parameters * state.tokens,
        sha256=store.digest([[e.name, e.sha256] for e in store.entries(work.out) if e.name.endswith(".safetensors")]),
        tuning=Tuning(
            base=card.id,
            base_commit=base.record.commit,
            data_hash=certificate.data_hash,
            layout=layout,
            bos=certificate.bos_id is not None,
            stop_ids=(certificate.eos_id,),
            first_loss=state.first_loss,
            last_loss=state.last_loss,
            head=head,
            validation=ran.validation,
            replayed=ran.replayed,
        ),
    )


def steps_for(lengths: tuple[int, ...], seen: int, micro_tokens: int, batch_tokens: int, seed: int) -> int:
    """Optimizer steps until at least `seen` rows of these lengths have been trained on."""
    order = Order(lengths, micro_tokens, batch_tokens, seed)
    steps, epoch = 0, 0
    while seen > 0:
        for batch in order.epoch(epoch):
            if seen > 0:
                seen -= sum(len(micro) for micro in batch)
                steps += 1
        epoch += 1
    return steps


def _require(certificate: Certificate, base: str, data: str) -> None:
    if not certificate.passed:
        failed = next(check for check in certificate.checks if not check.passed)
        raise Refused(f"the training data is not certified: {failed.name}", fix="correct the data, then build again")
    if certificate.base != base or certificate.data_hash != data:
        raise Refused(
            f"the certificate is about other data or another base than {base}", fix="build again: it certifies anew"
        )


@dataclass(frozen=True, slots=True)
class _Ran:
    state: loop.State
    validation: Validation | None
    replayed: int


def _run(
    model: Any,
    objective: Objective,
    beside: Beside,
    settings: TrainSettings,
    work: Work,
    progress: Progress,
    identity: list[Any],
    flops_per_token: float,
) -> _Ran:
    """The loop over packed rows; `identity` is what the run depends on beside its settings."""
    start = store.digest([identity, settings])[:16]
    learned = objective.begin(model, settings, work.scratch / f"start-{start}", progress)
    order = Order(objective.lengths, settings.micro_tokens, settings.batch_tokens, settings.seed)
    mixture = Mixture(learned, order, beside.general, settings)
    watched = None
    if beside.held is not None:
        of = store.digest([start, beside.held.identity])[:16]
        begun = beside.held.begin(model, settings, work.scratch / f"start-{of}", progress)
        watched = Watched.of(begun, settings.micro_tokens)
    if settings.recompute:
        decoder = model.get_base_model() if isinstance(model, PeftModel) else model
        decoder.activation_checkpointing_enable({"use_reentrant": False})
    state = loop.run(
        model,
        mixture.rows,
        mixture.loss,
        settings,
        work.scratch,
        progress,
        identity=store.digest([*identity, *beside.identity]),
        flops_per_token=flops_per_token,
        watched=watched,
    )
    loop.write_steps(work.scratch / loop.EVENTS, work.out / "steps.jsonl")
    if watched:
        watched.write(model, work.out / watch.ROWS)
    work.measured.update(loop.measured(work.scratch / loop.EVENTS))
    found = watch.validation(state.looks, watched, settings) if watched else None
    return _Ran(state, found, mixture.replayed(state.step))


def _opened(
    base: Made[Weights], objective: Objective, precision: str, seed: int, *, packed: bool = False
) -> tuple[Head | None, Loaded]:
    """The model that learns `objective`, its maps in 4 bits if `packed`, and the head it gives classes by, if it does.

    Raises `Refused` for a head on a base in 4 bits.
    """
    folder = base.folder / "model"
    if not isinstance(objective, Labelled):
        return None, Loaded(open_model(folder, precision, packed), ())
    if packed:
        raise Refused("a classification head is not tuned on a base in 4 bits", fix="tune it with --method lora")
    return objective.head, open_classifier(folder, objective.head, precision, seed)


def _write_model(model: Any, base: Made[Weights], out: Path) -> None:
    """Weights and config as transformers writes them, the other files as they were but for where answers end."""
    model.set_attn_implementation("sdpa")
    model.to(getattr(torch, base.record.precision)).save_pretrained(out)
    (out / GENERATION).unlink(missing_ok=True)
    for entry in base.record.files:
        path = base.folder / "model" / entry.name
        weights = path.suffix == ".safetensors" or ".safetensors." in path.name
        if not weights and entry.name != GENERATION and not (out / entry.name).exists():
            shutil.copyfile(path, out / entry.name)
