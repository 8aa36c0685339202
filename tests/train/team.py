"""What one of two processes does for test_ranks.py: torchrun starts this module with a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch

from basewright import signals
from basewright.data.pack import Packed
from basewright.errors import BasewrightError, Interrupted
from basewright.records import (
    Adapter,
    Checkpoint,
    LoraSettings,
    LoraVariant,
    Made,
    Progress,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text.tokenizer import open_tokenizer
from basewright.train import ranks, tune
from basewright.train.objectives import NextToken, Objective
from basewright.train.preferences import Pair, Preferences
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
KINDS = ("lora", "dora", "full", "bfloat16", "dpo", *(("qlora",) if find_spec("bitsandbytes") else ()))
STOP = 3


@dataclass(frozen=True)
class Broken(NextToken):
    """Its second micro-batch of a step, which the second rank computes, has no finite loss."""

    def loss(self, model: Any, packed: Packed) -> torch.Tensor:
        return super().loss(model, packed) * (torch.nan if ranks.team().rank else 1.0)


def tuned(store: Store, base: Made[Weights], kind: str, progress: Progress = silent, name: str = "") -> Made[Any]:
    """The small tuning that is called `kind`, in as many processes as are joined; found again by `name`."""
    encoded = tune.examples(ITEMS, LAYOUT, open_tokenizer(base.folder / "model"))
    objective: Objective = (Broken if kind == "broken" else NextToken)(encoded)
    if kind == "dpo":
        objective = Preferences([Pair(*two) for two in pairwise(encoded)])
    settings = replace(
        SETTINGS, recompute=kind == "bfloat16", precision="bfloat16" if kind == "bfloat16" else "float32"
    )
    about = (base, replace(certificate(base), data_hash=objective.identity), objective, LAYOUT)
    inputs = {"kind": kind, "name": name}
    if kind == "full":
        made, _ = store.make("checkpoint", inputs, Checkpoint, lambda work: tune.full(*about, settings, work, progress))
        return made
    variant: LoraVariant = "dora" if kind == "dora" else "lora"
    packed: Literal["none", "nf4"] = "nf4" if kind == "qlora" else "none"
    lora = LoraSettings(rank=4, alpha=8.0, targets=MAPS, variant=variant, quantization=packed)
    return store.make("adapter", inputs, Adapter, lambda work: tune.adapt(*about, lora, settings, work, progress))[0]


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
        try:
            tuned(store, base, "broken")
        except BasewrightError as error:
            (folder / f"broken-{team.rank}").write_text(error.message)


def _never(_work: object) -> Weights:
    raise AssertionError("the weights are there")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
