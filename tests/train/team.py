"""What one of two processes does for test_ranks.py: torchrun starts this module with a folder."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch

from basewright import signals
from basewright.data.pack import Packed
from basewright.errors import BasewrightError, Interrupted
from basewright.plain import to_plain
from basewright.records import (
    Adapter,
    Checkpoint,
    Head,
    LoraSettings,
    LoraVariant,
    Made,
    Progress,
    Sweep,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text.encode import Encoded
from basewright.text.tokenizer import open_tokenizer
from basewright.train import masked, pretrain, ranks, sweep, tune
from basewright.train.effort import Derived
from basewright.train.objectives import Labelled, NextToken, Objective
from basewright.train.preferences import Pair, Preferences, Ratings
from basewright.train.replay import General
from tests.train import test_pretrain
from tests.train.test_masked import ENCODER
from tests.train.test_tune import ITEMS, LAYOUT, certificate

MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SETTINGS = TrainSettings(
    steps=6,
    batch_tokens=96,  # three micro-batches of two rows, and in the last step of an epoch one: ranks with none
    micro_tokens=32,
    learning_rate=2e-3,
    warmup=1,
    weight_decay=0.0,
    clip=1.0,
    seed=0,
)
KINDS = (
    *("lora", "dora", "full", "bfloat16", "dpo", "kto", "head", "beside"),
    *(("qlora",) if find_spec("bitsandbytes") else ()),
)
PRETRAINED = ("decoder", "encoder")
STOP = 3
GENERAL = General([(5, 9, 20, 41, 7, 66, 3, 12), (8, 31, 5), (17, 4, 90, 33, 2)])
HEAD = Head(labels=("a", "b"), pad_id=1)
TRIED: list[sweep.Settings] = [(4, 1e-3), (4, 3e-3), (2, 1e-2)]


@dataclass(frozen=True)
class Broken(NextToken):
    """Its second micro-batch of a step, which the second rank computes, has no finite loss."""

    def loss(self, model: Any, packed: Packed) -> torch.Tensor:
        return super().loss(model, packed) * (torch.nan if ranks.team().rank else 1.0)


def _objective(kind: str, encoded: list[Encoded]) -> Objective:
    if kind == "dpo":
        return Preferences([Pair(*two) for two in pairwise(encoded)])
    if kind == "kto":
        return Ratings.grouped(encoded * 3, [i % 2 == 0 for i in range(3 * len(encoded))])
    if kind == "head":
        ends = [tuple(i == len(row.ids) - 1 for i in range(len(row.ids))) for row in encoded]
        return Labelled(list(map(Encoded, (row.ids for row in encoded), ends)), [0, 1] * (len(encoded) // 2), HEAD)
    return (Broken if kind == "broken" else NextToken)(encoded)


def _settings(kind: str) -> TrainSettings:
    if kind == "bfloat16":
        return replace(SETTINGS, recompute=True, precision="bfloat16")
    if kind == "kto":  # a group of eight at once
        return replace(SETTINGS, micro_tokens=128, batch_tokens=256)
    if kind == "beside":
        return replace(SETTINGS, validate_tokens=96, ema=0.9, replay=0.25)
    return SETTINGS


def tuned(
    store: Store,
    base: Made[Weights],
    kind: str,
    progress: Progress = silent,
    name: str = "",
    swept: tuple[LoraSettings, TrainSettings] | None = None,
) -> Made[Any]:
    """The small tuning that is called `kind`, in as many processes as are joined; found again by `name`."""
    encoded = tune.examples(ITEMS, LAYOUT, open_tokenizer(base.folder / "model"))
    objective, settings = _objective(kind, encoded), _settings(kind)
    about = (base, replace(certificate(base), data_hash=objective.identity), objective, LAYOUT)
    inputs: dict[str, Any] = {"kind": kind, "name": name}
    if kind == "full":
        made, _ = store.make("checkpoint", inputs, Checkpoint, lambda work: tune.full(*about, settings, work, progress))
        return made
    variant: LoraVariant = "dora" if kind == "dora" else "lora"
    packed: Literal["none", "nf4"] = "nf4" if kind == "qlora" else "none"
    lora = LoraSettings(rank=4, alpha=8.0, targets=MAPS, variant=variant, quantization=packed)
    if swept is not None:
        lora, settings = swept
        inputs["swept"] = swept
    beside = tune.Beside(NextToken(encoded[:3]), GENERAL) if kind == "beside" else tune.ALONE
    return store.make(
        "adapter", inputs, Adapter, lambda work: tune.adapt(*about, lora, settings, work, progress, beside=beside)
    )[0]


def searched(store: Store, base: Made[Weights], name: str) -> Sweep:
    """A sweep over small tunings with validation rows."""

    def run(one: Derived) -> sweep.Ran:
        assert one.lora is not None
        made = tuned(store, base, "beside", name=name, swept=(one.lora, one.train))
        assert made.record.validation is not None
        return made.record.validation, made.folder

    lora = LoraSettings(rank=4, alpha=8.0, targets=MAPS)
    return sweep.sweep(Derived(lora=lora, train=_settings("beside"), values=()), TRIED, run)


def pretrained(store: Store, root: Path, kind: str, name: str) -> Made[Checkpoint]:
    """A base from nothing: a decoder by Muon, whose matrices are shared out, or an encoder."""
    settings, maker = (test_pretrain.MUON, pretrain.pretrain) if kind == "decoder" else (ENCODER, masked.pretrain)
    settings = replace(settings, train=replace(settings.train, steps=6, precision="float32"), validate_every=3)
    inputs = {"kind": kind, "name": name}
    return store.make("checkpoint", inputs, Checkpoint, lambda work: maker(settings, root, work, silent))[0]


def stopped(make: Callable[[Progress], object], asked: bool = True) -> None:
    """What `make` does, up to a signal after `STOP` steps that only a process gets that is `asked` to stop."""

    def progress(_what: str, done: int, _total: int, /) -> None:
        if done == STOP and asked:
            signals._received.append(15)

    try:
        make(progress)
    except Interrupted:
        return
    finally:
        signals._received.clear()
    raise AssertionError("it did not stop")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with ranks.joined() as team:
        store = ranks.Shared(folder / "runs")
        base, _ = store.make("weights", {}, Weights, _never)
        for kind in KINDS:
            tuned(store, base, kind, name="two")
        for kind in ("lora", "full"):
            tuned(store, base, kind, name="one, two")
            stopped(lambda progress, kind=kind: tuned(store, base, kind, progress, "two, one"), team.rank == 1)  # type: ignore[misc]
            stopped(lambda progress, kind=kind: tuned(store, base, kind, progress, "two, two"), team.rank == 1)  # type: ignore[misc]
            tuned(store, base, kind, name="two, two")
        for kind in PRETRAINED:
            pretrained(store, folder, kind, "two")
        (folder / f"sweep-{team.rank}").write_text(json.dumps(to_plain(searched(store, base, "two"))))
        try:
            tuned(store, base, "broken")
        except BasewrightError as error:
            (folder / f"broken-{team.rank}").write_text(error.message)


def frozen(folder: Path) -> None:
    """The second process stops answering after a step; nobody is told."""
    ranks.ALIKE = timedelta(seconds=5)

    def progress(_what: str, done: int, _total: int, /) -> None:
        if ranks.team().rank == 1 and done == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    with ranks.joined():
        store = ranks.Shared(folder / "runs")
        base, _ = store.make("weights", {}, Weights, _never)
        tuned(store, base, "lora", progress, "frozen")


def _never(_work: object) -> Weights:
    raise AssertionError("the weights are there")


if __name__ == "__main__":
    {"all": main, "frozen": frozen}[sys.argv[1]](Path(sys.argv[2]))
