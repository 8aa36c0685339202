"""Sweeps: what is tried, who goes on, and what the intervals say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basewright.errors import UsageError
from basewright.records import Validation, ValidationPoint
from basewright.train import effort, sweep, watch

LENGTHS = (40,) * 300
MAPS = ("q_proj",)


def derive(method: effort.Method = "lora", held: tuple[int, ...] = (40,) * 20, **given: Any) -> effort.Derived:
    return effort.derive(
        method, "standard", LENGTHS, width=512, stored="float32", maps=MAPS, given=effort.Given(**given), held=held
    )


def tried(derived: effort.Derived, rank: bool = False, rate: bool = False) -> list[sweep.Settings]:
    return sweep.settings(derived, rank_given=rank, rate_given=rate)


def test_what_is_given_is_not_tried() -> None:
    derived = derive()
    rate = derived.train.learning_rate
    assert {rank for rank, _ in tried(derived)} == {8, 16, 32}
    assert len(tried(derived)) == 9
    assert [rank for rank, _ in tried(derived, rank=True)] == [16] * 3
    assert {one for _, one in tried(derived, rate=True)} == {rate}
    assert {rank for rank, _ in tried(derive("full"))} == {None}
    with pytest.raises(UsageError, match="nothing to sweep"):
        tried(derived, rank=True, rate=True)
    with pytest.raises(UsageError, match="no validation rows"):
        tried(derive(held=()))


class Runs:
    """Runs whose loss is a function of rank, rate and steps; each row differs from it by its own number."""

    def __init__(self, folder: Path, noise: float) -> None:
        self.folder = folder
        self.noise = noise
        self.made: list[tuple[int, float, int]] = []

    def __call__(self, derived: effort.Derived) -> sweep.Ran:
        assert derived.lora is not None
        key = (derived.lora.rank, derived.train.learning_rate, derived.train.steps)
        assert derived.lora.alpha == 2.0 * derived.lora.rank
        self.made.append(key)
        loss = 1 + abs(np.log(key[1] / 0.003)) + 0.1 * abs(key[0] - 32) / 32 + 10 / key[2]
        folder = self.folder / f"{len(self.made)}"
        folder.mkdir()
        draw = np.random.default_rng(100 + len(self.made))
        rows = [{"row": i, "nats": 2 * (loss + self.noise * float(draw.normal())), "tokens": 2} for i in range(200)]
        (folder / watch.ROWS).write_text("".join(json.dumps(row) + "\n" for row in rows))
        point = ValidationPoint(step=key[2], tokens=1, held=float(loss))
        return Validation(data_hash="", rows=200, curve=(point,), written=point.step, stopped=False), folder


@pytest.mark.parametrize(("noise", "separated"), [(0.01, True), (10.0, False)])
def test_two_thirds_leave_and_the_best_is_told_apart_or_not(tmp_path: Path, noise: float, separated: bool) -> None:
    derived = derive()
    derived = replace(derived, train=replace(derived.train, learning_rate=0.001))
    runs = Runs(tmp_path, noise)
    found = sweep.sweep(derived, tried(derived), runs)
    steps = derived.train.steps
    assert [(trial.rung, trial.kept) for trial in found.trials] == [
        (1, True), (1, True), (1, True), *[(1, False)] * 6, (2, True), (2, False), (2, False)
    ]  # fmt: skip
    assert {trial.steps for trial in found.trials} == {round(steps / 9), round(steps / 3)}
    assert sum(one[2] for one in runs.made) == pytest.approx(2 * steps, rel=0.1)
    assert (found.winner.rank, found.winner.learning_rate) == (32, 0.003)
    assert [one.separated for one in found.others] == [separated] * 2
    last = sweep.at(derived, (32, 0.003))
    assert last.train == replace(derived.train, learning_rate=0.003)
    assert {value.name: value.value for value in last.values if value.why == "of the sweep"} == {
        "rank": 32, "learning rate": 0.003
    }  # fmt: skip


def test_the_intervals_hold(tmp_path: Path) -> None:
    """Runs that are equally good are told apart in five sweeps of a hundred at most."""
    draw = np.random.default_rng(3)
    wrong = 0
    for _ in range(300):
        rows = [[{"nats": float(one), "tokens": 2.0} for one in draw.exponential(2.0, 60)] for _ in range(3)]
        ordered = sorted(rows, key=lambda them: sum(row["nats"] for row in them))
        confidence = 1 - 0.05 / 3
        wrong += any(sweep._difference(other, ordered[0], confidence).low > 0 for other in ordered[1:])
    assert wrong / 300 < 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
