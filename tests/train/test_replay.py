"""Replay: an exact share of each step's tokens and of its loss, the same after any resume."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.data.pack import Order, Packed, pack
from basewright.errors import DataError
from basewright.records import TrainSettings, silent
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import open_tokenizer
from basewright.train import loop, losses
from basewright.train.loop import Rows
from basewright.train.objectives import NextToken
from basewright.train.replay import General, Mixture
from tests.models import TEXTS
from tests.train.test_loop import Setup, settings, weights_hash


def rows_of(lengths: list[int]) -> NextToken:
    """Rows of which the last two tokens are learned."""
    return NextToken([Encoded(tuple(range(n)), (False,) * (n - 2) + (True,) * 2) for n in lengths])


def mixture(lengths: list[int], windows: list[int], chosen: TrainSettings) -> Mixture:
    objective = rows_of(lengths)
    order = Order(objective.lengths, chosen.micro_tokens, chosen.batch_tokens, chosen.seed)
    texts, count = [], 1000
    for length in windows:
        texts.append(tuple(range(count, count + length)))
        count += length
    return Mixture(objective, order, General(texts), chosen)


@given(
    st.lists(st.integers(2, 40), min_size=3, max_size=40),
    st.lists(st.integers(2, 60), min_size=1, max_size=20),
    st.floats(0.05, 0.8),
    st.integers(0, 5),
)
def test_the_share_of_tokens_is_exact_and_none_is_left_out(
    lengths: list[int], windows: list[int], share: float, seed: int
) -> None:
    chosen = settings(micro_tokens=64, batch_tokens=128, replay=share, seed=seed)
    mixed = mixture(lengths, windows, chosen)
    rows = general = 0
    seen: list[int] = []
    for step in range(6):
        packed = mixed.rows(step)
        rows += sum(len(one.ids) for one in packed if not one.replayed)
        assert all(len(one.ids) <= 64 for one in packed)
        seen += [int(i) for one in packed if one.replayed for i in one.ids]
        general = len(seen)
        assert general == mixed.replayed(step + 1)
        assert abs(general - rows * share / (1 - share)) < 1 + 1e-6
    counts = Counter(seen)
    assert max(counts.values(), default=0) - min(counts[i] for i in range(1000, 1000 + sum(windows))) <= 1


@given(st.floats(0.05, 0.8), st.integers(0, 3))
def test_the_share_of_the_loss_is_that_of_the_tokens(share: float, seed: int) -> None:
    chosen = settings(micro_tokens=64, batch_tokens=128, replay=share, seed=seed)
    packed = mixture([30, 31, 32, 33] * 5, [50, 60, 40], chosen).rows(2)
    weights = {
        flag: sum(one.weight * one.supervised for one in packed if one.replayed is flag) for flag in (False, True)
    }
    assert weights[True] / (weights[True] + weights[False]) == pytest.approx(share)


@given(st.permutations(range(8)))
def test_a_step_is_a_function_of_its_number(steps: list[int]) -> None:
    chosen = settings(micro_tokens=64, batch_tokens=128, replay=0.3)

    def make() -> Mixture:
        return mixture([30, 31, 32, 33] * 5, [50, 60, 40], chosen)

    def content(packed: list[Packed]) -> list[Any]:
        return [(one.ids.tolist(), one.weight, one.replayed) for one in packed]

    in_order = make()
    expected = [content(in_order.rows(step)) for step in range(8)]
    other = make()
    assert {step: content(other.rows(step)) for step in steps} == dict(enumerate(expected))


def test_rounds_differ_in_order_and_not_in_what_they_show() -> None:
    general = General([(1, 2, 3), (4, 5), (6, 7, 8, 9), (10, 11)])
    rounds = [general.stretch(11 * number, 11 * number + 11, seed=0) for number in range(6)]
    assert len({tuple(found) for found in rounds}) > 1
    assert all(sorted(found) == sorted(general.windows) for found in rounds)
    whole = [i for found in rounds for one in found for i in one]
    cut = [i for begin in range(0, 66, 5) for one in general.stretch(begin, min(66, begin + 5), 0) for i in one]
    assert cut == whole


def test_windows_are_whole_texts_cut_to_length(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(Setup(tmp_path / "m", settings()).folder)
    general = General.of(TEXTS, tokenizer, 16, 10**6)
    assert max(len(one) for one in general.windows) == 16
    assert [i for one in general.windows for i in one] == [i for t in TEXTS for i in encode.document(tokenizer, t)]
    assert General.of(TEXTS, tokenizer, 16, 40).tokens == 40
    with pytest.raises(DataError, match="no text to replay"):
        General.of([], tokenizer, 16, 40)


def test_h045_killed_and_resumed_with_replay_is_the_same_run(tmp_path: Path) -> None:
    chosen = settings(replay=0.25)
    setup = Setup(tmp_path / "m", chosen)
    general = General.of(TEXTS[:3], open_tokenizer(setup.folder), 32, 10**6)

    class Killed(Exception):
        pass

    def run(scratch: Path, dies: int = -1) -> tuple[str, loop.State]:
        mixed = Mixture(NextToken(setup.rows_of), setup.order, general, chosen)

        def rows(step: int) -> list[Packed]:
            if step == dies:
                raise Killed
            return mixed.rows(step)

        scratch.mkdir(exist_ok=True)
        model = setup.model()
        state = loop.run(model, rows, mixed.loss, chosen, scratch, silent, identity="r")
        return weights_hash(model), state

    whole = run(tmp_path / "whole")
    for dies in (3, 5, 7):
        with pytest.raises(Killed):
            run(tmp_path / "cut", dies)
    assert run(tmp_path / "cut") == whole
    text = (tmp_path / "whole" / loop.EVENTS).read_text()
    assert text.count('"replayed"') == chosen.steps


def test_a_single_token_of_general_text_teaches_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "m", settings())
    one = replace(pack([Encoded((5,), (True,))]), weight=0.0, replayed=True)

    def end(rows: Rows, name: str) -> str:
        (tmp_path / name).mkdir()
        model = setup.model()
        loop.run(model, rows, losses.next_token, settings(steps=2), tmp_path / name, silent, identity="r")
        return weights_hash(model)

    assert end(lambda step: [*setup.rows(step), one], "with") == end(setup.rows, "without")
