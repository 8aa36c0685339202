"""The loop keeps its promises: exact resume, token-weighted accumulation, and no step on a loss that is not finite."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from basewright import signals, store
from basewright.data.pack import Order, Packed, pack
from basewright.errors import Interrupted, Refused, StoreError
from basewright.records import TrainSettings, silent
from basewright.text import encode
from basewright.text.tokenizer import open_tokenizer
from basewright.train import attention, loop, losses
from tests.models import TEXTS, tiny_llama


def settings(**changed: Any) -> TrainSettings:
    values: dict[str, Any] = {
        "steps": 8, "batch_tokens": 128, "micro_tokens": 128, "learning_rate": 0.01, "warmup": 2,
        "weight_decay": 0.1, "clip": 1.0, "seed": 3, "save_every": 2,
    }  # fmt: skip
    return TrainSettings(**{**values, **changed})


class Setup:
    """A tiny model with the rows of a few texts."""

    def __init__(self, folder: Path, chosen: TrainSettings) -> None:
        attention.install()
        self.folder = tiny_llama(folder, std=0.05) if not (folder / "config.json").exists() else folder
        tokenizer = open_tokenizer(self.folder)
        self.rows_of = [encode.example(tokenizer, text[:20], text[20:60]) for text in TEXTS]
        lengths = tuple(len(row.ids) for row in self.rows_of)
        self.order = Order(lengths, chosen.micro_tokens, chosen.batch_tokens, chosen.seed)

    def model(self) -> Any:
        from basewright.engine.torch_lm import load_model

        return load_model(self.folder, attention=attention.NAME)

    def rows(self, step: int) -> list[Packed]:
        return [pack([self.rows_of[i] for i in micro]) for micro in self.order.step(step)]


def weights_hash(model: Any) -> str:
    return store.digest([p.detach().flatten().tolist() for p in model.parameters()])


def train(setup: Setup, chosen: TrainSettings, scratch: Path, **more: Any) -> tuple[str, loop.State]:
    scratch.mkdir(exist_ok=True)
    model = setup.model()
    state = loop.run(model, setup.rows, losses.next_token, chosen, scratch, silent, identity="test", **more)
    return weights_hash(model), state


def test_training_learns(tmp_path: Path) -> None:
    chosen = settings(steps=30, learning_rate=0.02)
    _, state = train(Setup(tmp_path / "m", chosen), chosen, tmp_path / "s")
    assert state.last_loss < 0.6 * state.first_loss


@pytest.mark.parametrize("kills", [(3,), (1, 2, 5), (0, 4, 4, 7)])
def test_h045_h046_stopped_and_resumed_is_the_same_run(tmp_path: Path, kills: tuple[int, ...]) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    whole, state = train(setup, chosen, tmp_path / "whole")

    class Killed(Exception):
        pass

    for at in kills:

        def rows(step: int, at: int = at) -> list[Packed]:
            if step == at:
                raise Killed
            return setup.rows(step)

        (tmp_path / "cut").mkdir(exist_ok=True)
        with pytest.raises(Killed):
            loop.run(setup.model(), rows, losses.next_token, chosen, tmp_path / "cut", silent, identity="test")
    resumed, after = train(setup, chosen, tmp_path / "cut")
    assert resumed == whole
    assert after == state


def test_h039_a_damaged_newest_checkpoint_is_skipped(tmp_path: Path) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    whole, _ = train(setup, chosen, tmp_path / "whole")
    folders = sorted((tmp_path / "whole").glob("step-*"))
    assert [folder.name for folder in folders] == ["step-00000004", "step-00000006"]  # two are kept
    path = folders[-1] / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    resumed, _ = train(setup, chosen, tmp_path / "whole")
    assert resumed == whole


def test_h057_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    train(setup, chosen, tmp_path / "s")
    with pytest.raises(StoreError, match="other settings or data"):
        train(setup, settings(learning_rate=0.02), tmp_path / "s")


def test_h047_a_checkpoint_with_another_tensor_is_refused(tmp_path: Path) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    train(setup, chosen, tmp_path / "s")
    from safetensors.torch import load_file, save_file

    for folder in (tmp_path / "s").glob("step-*"):
        tensors = load_file(folder / "tensors.safetensors")
        tensors["weight/unknown"] = torch.zeros(1)
        save_file(tensors, folder / "tensors.safetensors")
        os.rename(folder, folder.with_suffix(".x"))
        store.commit(folder.with_suffix(".x"), folder)
    with pytest.raises(StoreError, match="holds weight/unknown"):
        train(setup, chosen, tmp_path / "s")


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_h049_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path, poison: str) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    model = setup.model()
    before = weights_hash(model)
    (tmp_path / "s").mkdir()

    def loss(model: Any, row: Packed) -> torch.Tensor:
        nats = losses.next_token(model, row)
        if poison == "loss":
            return nats * math.nan
        nats.register_hook(lambda grad: grad * math.inf)
        return nats

    with pytest.raises(Refused, match="step 1 has loss"):
        loop.run(model, setup.rows, loss, chosen, tmp_path / "s", silent, identity="test")
    assert weights_hash(model) == before


@pytest.mark.parametrize("micro", [64, 128, 400])
def test_h054_accumulation_changes_nothing(tmp_path: Path, micro: int) -> None:
    """One step over all rows, whatever the micro-batches: the same loss, norm and weights to float32 rounding."""
    setup = Setup(tmp_path / "m", settings(micro_tokens=400))
    reference, split = setup.model(), setup.model()
    chosen = settings(steps=1, micro_tokens=400, learning_rate=0.01)
    fills = Order(tuple(len(row.ids) for row in setup.rows_of), micro, 10**6, 0).epoch(0)[0]
    assert len(fills) == {64: 7, 128: 3, 400: 1}[micro] or len(fills) > 1
    parts = [pack([setup.rows_of[i] for i in part]) for part in fills]
    whole = [pack(setup.rows_of)]
    for name in "ab":
        (tmp_path / name).mkdir()
    loop.run(reference, lambda _: whole, losses.next_token, chosen, tmp_path / "a", silent, identity="x")
    loop.run(split, lambda _: parts, losses.next_token, chosen, tmp_path / "b", silent, identity="x")
    events = [json.loads((tmp_path / name / "events.jsonl").read_text().splitlines()[0]) for name in "ab"]
    assert events[0]["loss"] == pytest.approx(events[1]["loss"], rel=1e-6)
    assert events[0]["norm"] == pytest.approx(events[1]["norm"], rel=1e-5)


def test_h048_nothing_to_train_is_refused(tmp_path: Path) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    model = setup.model().requires_grad_(False)
    with pytest.raises(Refused, match="no parameter would be trained"):
        loop.run(model, setup.rows, losses.next_token, chosen, tmp_path, silent, identity="x")


def test_h050_a_request_to_stop_saves_and_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(save_every=100)
    setup = Setup(tmp_path / "m", chosen)
    whole, _ = train(setup, chosen, tmp_path / "whole")
    received: list[int] = []
    monkeypatch.setattr(signals, "_received", received)

    def rows(step: int) -> list[Packed]:
        if step == 3:
            received.append(signal.SIGTERM)
        return setup.rows(step)

    (tmp_path / "s").mkdir()
    with pytest.raises(Interrupted):
        loop.run(setup.model(), rows, losses.next_token, chosen, tmp_path / "s", silent, identity="test")
    assert [folder.name for folder in (tmp_path / "s").glob("step-*")] == ["step-00000004"]
    received.clear()
    assert train(setup, chosen, tmp_path / "s")[0] == whole


PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.train.test_loop import Setup, settings, train
chosen = settings(steps=12, save_every=1)
print(train(Setup(Path(sys.argv[1]), chosen), chosen, Path(sys.argv[2]))[0])
"""


def test_h050_a_request_before_the_first_step_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings()
    setup = Setup(tmp_path / "m", chosen)
    monkeypatch.setattr(signals, "_received", [signal.SIGTERM])
    with pytest.raises(Interrupted):
        train(setup, chosen, tmp_path / "s")
    assert not list((tmp_path / "s").glob("step-*"))


@pytest.mark.slow
def test_p1_kill_9_at_any_time_then_resume_gives_the_same_bits(tmp_path: Path) -> None:
    import random
    import time

    tiny_llama(tmp_path / "m", std=0.05)

    def start(scratch: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "m"), str(tmp_path / scratch)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])

    began = time.monotonic()
    expected, _ = start("whole").communicate(timeout=120)
    length = time.monotonic() - began
    draw = random.Random(1)
    for number in range(8):
        for _ in range(3):
            process = start(f"cut{number}")
            try:
                process.wait(draw.uniform(0.3, 1.0) * length)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        assert start(f"cut{number}").communicate(timeout=120)[0] == expected


def test_the_schedule_by_hand() -> None:
    chosen = settings(steps=10, warmup=2, learning_rate=1.0)
    rates = [loop.learning_rate(step, chosen) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert 0 < rates[9] < 0.05


def test_a_schedule_whose_end_is_decided_late() -> None:
    chosen = settings(steps=100, warmup=2, learning_rate=1.0, slow_from=4, decay_from=64, decay="linear")
    rates = [loop.learning_rate(step, chosen) for step in range(100)]
    assert rates[:5] == [0.5, 1.0, 1.0, 1.0, 1.0]
    assert rates[16] == pytest.approx(0.5)
    assert rates[64] == pytest.approx(0.25)
    assert rates[82] == pytest.approx(0.125)
    assert rates[99] == pytest.approx(0.25 / 36)
    later = settings(steps=900, warmup=2, learning_rate=1.0, slow_from=4, decay_from=800, decay="linear")
    assert [loop.learning_rate(step, later) for step in range(64)] == rates[:64]
