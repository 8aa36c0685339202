"""kill -9 at random points of a tuning, in chains, then the same call: the bits of a run that nobody disturbed (P1).

A server that has loaded the libraries, and computed nothing, forks each run: a kill falls into the work and not into an
import.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import pytest

from basewright import store
from basewright.records import (
    Adapter,
    Certificate,
    Checkpoint,
    LoraSettings,
    LoraVariant,
    Made,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import tune
from basewright.train.objectives import NextToken, Objective
from basewright.train.preferences import Preferences
from basewright.train.replay import General
from tests.models import TEXTS
from tests.train import test_heads as heads
from tests.train.test_preferences import pairs, ratings
from tests.train.test_tune import ITEMS, LAYOUT, LORA, SETTINGS, certificate, pulled

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["basewright.train.tune", "tests.train.test_kills"])
RUN = replace(SETTINGS, steps=16, save_every=2, micro_tokens=64)
CHAIN = 10
"""Kills of one run, at most."""
Method = Literal["lora", "dora", "pissa", "full", "dpo", "kto", "lora-head", "full-head", "lora beside", "dpo beside"]
"""Beside the rows: all that a run can have there, validation with early stop, an average of the weights and replay."""
METHODS: tuple[Method, ...] = get_args(Method)
PREFERRED = ("dpo", "kto", "dpo beside")
VARIANTS: dict[Method, LoraVariant] = {"dora": "dora", "pissa": "pissa"}


def objective(method: Method, tokenizer: Tokenizer) -> Objective:
    if method in ("dpo", "dpo beside"):
        return Preferences(pairs(tokenizer))
    return ratings(tokenizer) if method == "kto" else NextToken(tune.examples(ITEMS, LAYOUT, tokenizer))


class Work:
    """One method on a tiny base: made in a child, in a store of its own."""

    def __init__(self, folder: Path, method: Method) -> None:
        self.folder = folder
        self.method = method
        self.base: Made[Weights] = pulled(folder, "bfloat16")
        tokenizer = open_tokenizer(self.base.folder / "model")
        self.objective = objective(method, tokenizer)
        self.paper: Certificate = replace(certificate(self.base), data_hash=self.objective.identity)
        if method.endswith("-head"):
            self.objective = heads.objective(self.base)
            self.paper = heads.certificate(self.base, self.objective)
        self.train: TrainSettings = replace(RUN, precision="float32" if method.startswith("full") else "bfloat16")
        if method in PREFERRED:  # a pair is longer than a row, and a group of ratings than a pair
            self.train = replace(self.train, micro_tokens=256, batch_tokens=512, beta=0.1)
        self.beside = tune.ALONE
        if method in ("lora beside", "dpo beside"):
            self.train = replace(self.train, validate_tokens=200, patience=2, ema=0.9, replay=0.2, learning_rate=0.05)
            self.beside = tune.Beside(self.objective.only([0, 1]), General.of(TEXTS, tokenizer, 32, 10**6))

    def make(self, name: str) -> None:
        about, runs = (self.base, self.paper, self.objective, LAYOUT), Store(self.folder / name)
        if self.method.startswith("full"):
            runs.make("checkpoint", {}, Checkpoint, lambda work: tune.full(*about, self.train, work, silent))
            return
        lora: LoraSettings = replace(LORA, variant=VARIANTS.get(self.method, "lora"))
        runs.make(
            "adapter",
            {},
            Adapter,
            lambda work: tune.adapt(*about, lora, self.train, work, silent, beside=self.beside),
        )

    def result(self, name: str) -> dict[str, str]:
        """Hash of every file of the one result; its record has a time in it and is left out."""
        (folder,) = (path.parent for path in (self.folder / name).glob(f"*/{store.RECORD}"))
        assert store.faults(folder) == []
        return {entry.name: entry.sha256 for entry in store.entries(folder) if entry.name != store.RECORD}


def ended(job: Callable[[], None], seconds: float) -> bool:
    """Whether the job came to its end before it was killed. Fails when it failed by itself."""
    child = FORKS.Process(target=job)
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode == 0


def chains(work: Work, kills: int, draw: random.Random) -> Iterator[tuple[str, int]]:
    """Runs killed up to CHAIN times and then let be, until so many kills have hit; (store, kills) of each."""
    began = time.monotonic()
    assert ended(partial(work.make, "whole"), 600)
    length = time.monotonic() - began
    hit, number = 0, 0
    while hit < kills:
        name, number = f"cut{number}", number + 1
        planned, mine = min(draw.randint(1, CHAIN), kills - hit), 0
        while mine < planned and not ended(partial(work.make, name), draw.uniform(0, 0.7 * length)):
            mine += 1
        if mine == planned:
            assert ended(partial(work.make, name), 600)
        hit += mine
        yield name, mine


def check(folder: Path, method: Method, kills: int, seed: int) -> None:
    work = Work(folder, method)
    for name, hits in chains(work, kills, random.Random(seed)):
        assert work.result(name) == work.result("whole"), f"{name} after {hits} kills"


@pytest.mark.parametrize("method", ["lora", "full", "lora-head", "dpo", "lora beside"])
def test_p1_killed_and_run_again_a_tuning_gives_the_same_bits(tmp_path: Path, method: Method) -> None:
    check(tmp_path, method, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_p1_fifty_kills_of_each_method(tmp_path: Path, method: Method) -> None:
    check(tmp_path, method, kills=50, seed=2)
