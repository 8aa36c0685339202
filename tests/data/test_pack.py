"""Packing: what a position must predict, and an order that is a pure function of (seed, step)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.data.pack import IGNORE, Order, pack, windowed
from basewright.errors import DataError
from basewright.text.encode import Encoded


def test_labels_are_the_next_id_of_the_same_row() -> None:
    row = pack([Encoded((1, 2, 3), (False, True, True)), Encoded((4, 5), (False, True))])
    assert row.ids.tolist() == [1, 2, 3, 4, 5]
    assert row.labels.tolist() == [2, 3, IGNORE, 5, IGNORE]
    assert row.positions.tolist() == [0, 1, 2, 0, 1]
    assert (row.lengths, row.supervised) == ((3, 2), 3)


def test_windows_cut_what_is_seen_and_nothing_that_is_learned() -> None:
    row = pack([Encoded(tuple(range(5)), (True,) * 5), Encoded((7, 8), (True, True))])
    cut = windowed(row, 2)
    assert cut.lengths == (2, 2, 1, 2)
    assert cut.positions.tolist() == [0, 1, 0, 1, 0, 0, 1]
    assert cut.ids.tolist() == row.ids.tolist()
    assert cut.labels.tolist() == row.labels.tolist()


lengths = st.lists(st.integers(1, 50), min_size=1, max_size=60).map(tuple)


@given(lengths, st.integers(0, 2**31), st.integers(0, 5), st.sampled_from([50, 128]), st.sampled_from([1, 3]))
def test_h046_every_segment_is_seen_once_an_epoch(
    lengths: tuple[int, ...], seed: int, epoch: int, micro: int, times: int
) -> None:
    order = Order(lengths, micro, micro * times, seed)
    steps = order.epoch(epoch)
    seen = [segment for step in steps for row in step for segment in row]
    assert sorted(seen) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= micro for step in steps for row in step)
    assert all(len(step) <= times for step in steps)


@given(lengths, st.integers(0, 2**31))
def test_a_step_needs_no_history(lengths: tuple[int, ...], seed: int) -> None:
    order = Order(lengths, 64, 64, seed)
    walked = [step for epoch in range(3) for step in order.epoch(epoch)]
    assert [Order(lengths, 64, 64, seed).step(k) for k in range(len(walked))] == walked


def test_epochs_and_seeds_have_other_orders() -> None:
    lengths = (5,) * 40
    assert Order(lengths, 64, 64, 0).epoch(0) != Order(lengths, 64, 64, 0).epoch(1)
    assert Order(lengths, 64, 64, 0).epoch(0) != Order(lengths, 64, 64, 1).epoch(0)


def test_a_segment_that_does_not_fit_is_refused_not_cut() -> None:
    with pytest.raises(DataError, match="65 tokens does not fit"):
        Order((3, 65), 64, 64, 0)


def test_positions_are_integers() -> None:
    assert pack([Encoded((1, 2), (True, True))]).positions.dtype == np.int64
