"""Validation: looked at by tokens seen, the best is written, and a killed run stops where the other would have."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from basewright import signals
from basewright.data.pack import Packed
from basewright.errors import Interrupted, Refused
from basewright.records import TrainSettings, Validation, ValidationPoint, silent
from basewright.text import encode
from basewright.text.tokenizer import open_tokenizer
from basewright.train import loop, losses, ranks, watch
from basewright.train.objectives import NextToken
from basewright.train.watch import Watched
from tests.models import TEXTS
from tests.train.test_loop import Setup, settings, weights_hash


def watched(**changed: Any) -> TrainSettings:
    """Every 150 tokens of about 120 a step; the rate is high, so that the loss rises again."""
    values: dict[str, Any] = {"steps": 24, "validate_tokens": 150, "patience": 3, "learning_rate": 0.02}
    return settings(**{**values, **changed})


def held_rows(setup: Setup) -> Watched:
    """The texts with their words the other way round: rows that are like those trained on, and are not."""
    tokenizer = open_tokenizer(setup.folder)
    turned = [" ".join(reversed(text.split())) for text in TEXTS]
    return Watched.of(NextToken([encode.example(tokenizer, text[:20], text[20:60]) for text in turned]), 128)


def run(setup: Setup, chosen: TrainSettings, scratch: Path, rows: Any = None) -> tuple[str, loop.State]:
    scratch.mkdir(exist_ok=True)
    model = setup.model()
    state = loop.run(
        model, rows or setup.rows, losses.next_token, chosen, scratch, silent, identity="t", watched=held_rows(setup)
    )
    return weights_hash(model), state


class Killed(Exception):
    pass


def killed_at(setup: Setup, chosen: TrainSettings, scratch: Path, step: int) -> None:
    def rows(at: int) -> list[Packed]:
        if at == step:
            raise Killed
        return setup.rows(at)

    with pytest.raises(Killed):
        run(setup, chosen, scratch, rows)


@pytest.mark.parametrize(("kills", "ema"), [((3,), 0.0), ((1, 4, 9), 0.9), ((0, 6, 6, 7, 8), 0.9)])
def test_h045_h046_killed_and_resumed_it_stops_at_the_same_step_with_the_same_bits(
    tmp_path: Path, kills: tuple[int, ...], ema: float
) -> None:
    chosen = watched(ema=ema)
    setup = Setup(tmp_path / "m", chosen)
    whole, state = run(setup, chosen, tmp_path / "whole")
    assert state.step < chosen.steps  # it stopped early, so that there is something to repeat
    assert max(kills) < state.step
    for step in kills:
        killed_at(setup, chosen, tmp_path / "cut", step)
    assert run(setup, chosen, tmp_path / "cut") == (whole, state)


def test_the_best_weights_are_written_and_not_the_last(tmp_path: Path) -> None:
    chosen = watched()
    setup = Setup(tmp_path / "m", chosen)
    best, state = run(setup, chosen, tmp_path / "s")
    lowest = watch.best(state.looks)
    assert lowest is not None
    assert lowest.step < state.step
    model = setup.model()
    (tmp_path / "short").mkdir()
    killed_at(setup, watched(save_every=1), tmp_path / "short", lowest.step)
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "short" / f"step-{lowest.step:08d}" / "tensors.safetensors")
    model.load_state_dict({name: saved[f"weight/{name}"] for name, _ in model.named_parameters()}, strict=False)
    assert weights_hash(model) == best
    assert held_rows(setup).loss(ranks.Alone(model)) == pytest.approx(lowest.held, abs=1e-7)


def test_looks_are_by_tokens_seen_and_are_written_down(tmp_path: Path) -> None:
    chosen = watched(patience=0, steps=9)
    setup = Setup(tmp_path / "m", chosen)
    _, state = run(setup, chosen, tmp_path / "s")
    loop.write_steps(tmp_path / "s" / loop.EVENTS, tmp_path / "steps.jsonl")
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    seen = [0, *(step["tokens"] for step in steps)]
    crossed = [i for i in range(1, len(seen)) if seen[i] // 150 > seen[i - 1] // 150]
    assert [point.step for point in state.looks] == [0, *sorted({*crossed, 9})]
    assert {step["step"]: step["held"] for step in steps if "held" in step} == {
        point.step: point.held for point in state.looks if point.step
    }
    assert "tokens_per_second" in loop.measured(tmp_path / "s" / loop.EVENTS)
    between = [step["loss"] for step in steps[: state.looks[1].step]]
    assert min(between) <= (state.looks[1].trained or 0.0) <= max(between)


def test_the_validation_loss_is_that_of_the_rows_by_themselves(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "m", watched())
    held, model = held_rows(setup), setup.model().eval()
    held.write(model, tmp_path / watch.ROWS)
    rows = [json.loads(line) for line in (tmp_path / watch.ROWS).read_text().splitlines()]
    alone = sum(row["nats"] for row in rows) / sum(row["tokens"] for row in rows)
    assert held.loss(ranks.Alone(model)) == pytest.approx(alone, rel=1e-6)


def test_validating_moves_nothing(tmp_path: Path) -> None:
    plain = settings(steps=6)
    setup = Setup(tmp_path / "m", plain)
    chosen = settings(steps=6, validate_tokens=10**9)  # looks before the first and after the last step alone
    (tmp_path / "plain").mkdir()
    model = setup.model()
    loop.run(model, setup.rows, losses.next_token, plain, tmp_path / "plain", silent, identity="t")
    assert run(setup, chosen, tmp_path / "s")[0] == weights_hash(model)


def test_h050_asked_to_stop_in_the_middle_of_a_look_it_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = watched(save_every=100)
    setup = Setup(tmp_path / "m", chosen)
    whole = run(setup, chosen, tmp_path / "whole")
    received: list[int] = []
    monkeypatch.setattr(signals, "_received", received)
    plain, looks = Watched.loss, []

    def loss(self: Watched, model: Any) -> float | None:
        looks.append(1)
        if len(looks) == 3:
            received.append(signal.SIGTERM)
        return plain(self, model)

    monkeypatch.setattr(Watched, "loss", loss)
    with pytest.raises(Interrupted):
        run(setup, chosen, tmp_path / "s")
    assert len(list((tmp_path / "s").glob("step-*"))) == 1
    received.clear()
    assert run(setup, chosen, tmp_path / "s") == whole


def test_a_checkpoint_whose_best_weights_are_gone_is_not_resumed(tmp_path: Path) -> None:
    chosen = watched()
    setup = Setup(tmp_path / "m", chosen)
    whole = run(setup, chosen, tmp_path / "whole")
    killed_at(setup, chosen, tmp_path / "cut", 7)
    kept = sorted((tmp_path / "cut").glob("best-*"))
    assert kept
    for folder in kept:
        (folder / "tensors.safetensors").write_bytes(b"")
    assert run(setup, chosen, tmp_path / "cut") == whole


def test_h049_a_validation_loss_that_is_not_finite_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = watched()
    setup = Setup(tmp_path / "m", chosen)
    monkeypatch.setattr(Watched, "loss", lambda *_: float("nan"))
    with pytest.raises(Refused, match="validation rows have loss nan"):
        run(setup, chosen, tmp_path / "s")


def test_the_average_by_hand(tmp_path: Path) -> None:
    """The average of three steps is what its formula gives from the weights of those steps."""
    chosen = settings(steps=3, ema=0.9)
    setup = Setup(tmp_path / "m", chosen)
    steps: list[torch.Tensor] = []
    model = setup.model()
    (tmp_path / "s").mkdir()

    def rows(step: int) -> list[Packed]:
        steps.append(model.model.norm.weight.detach().clone())
        return setup.rows(step)

    loop.run(model, rows, losses.next_token, chosen, tmp_path / "s", silent, identity="t")
    last = setup.model()
    (tmp_path / "last").mkdir()
    loop.run(last, setup.rows, losses.next_token, settings(steps=3), tmp_path / "last", silent, identity="t")
    mean = steps[0]
    for number, weights in enumerate([*steps[1:], last.model.norm.weight.detach()], start=1):
        kept = min(0.9, (1 + number) / (10 + number))
        mean = kept * mean + (1 - kept) * weights
    torch.testing.assert_close(model.model.norm.weight.detach(), mean)
    assert not torch.equal(model.model.norm.weight, last.model.norm.weight)


def curve(*held: float) -> list[ValidationPoint]:
    return [ValidationPoint(step=step, tokens=step, held=one, trained=0.5) for step, one in enumerate(held)]


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ((3.0, 2.0, 1.0), "it still fell at the last look"),
        ((3.0, 1.0, 1.5), r"then it rose to 1.500 while training rows went to 0.500: later steps overfitted"),
        ((3.0, 1.0, 1.001), "then it was level"),
        ((1.0, 2.0, 3.0), "no step was better than the base itself"),
    ],
)
def test_words(held: tuple[float, ...], words: str) -> None:
    points = curve(*held)
    lowest = watch.best(points)
    assert lowest is not None
    found = Validation(data_hash="", rows=1, curve=tuple(points), written=lowest.step, stopped=False)
    assert words in watch.words(found)


def test_patience_counts_looks_since_the_lowest() -> None:
    chosen = watched(patience=2)
    assert not watch.exhausted(curve(3.0, 1.0, 2.0), chosen)
    assert watch.exhausted(curve(3.0, 1.0, 2.0, 1.0), chosen)
    assert not watch.exhausted(curve(3.0, 1.0, 2.0, 1.0), watched(patience=0))
    assert not watch.exhausted(curve(3.0), chosen)
