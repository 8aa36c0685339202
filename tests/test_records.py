"""Records survive the way to disk and back, and refuse what is not theirs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.plain import from_plain, to_plain
from basewright.records import Check, Interval, Layout, Memory, Overlay, TrainSettings

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.builds(Interval, value=finite, low=finite, high=finite, n=st.integers(), confidence=finite, method=st.text()))
def test_there_and_back(value: Interval) -> None:
    assert from_plain(Interval, json.loads(json.dumps(to_plain(value)))) == value


@given(st.builds(Overlay, item=st.text(), tokens=st.lists(st.tuples(st.text(), st.booleans())).map(tuple)))
def test_nested_tuples_there_and_back(value: Overlay) -> None:
    assert from_plain(Overlay, json.loads(json.dumps(to_plain(value)))) == value


def test_a_missing_default_is_filled() -> None:
    plain = {
        "steps": 1, "batch_tokens": 1, "micro_tokens": 1, "learning_rate": 1, "warmup": 0, "weight_decay": 0,
        "clip": 1, "seed": 0,
    }  # fmt: skip
    assert from_plain(TrainSettings, plain).precision == "float32"


@pytest.mark.parametrize(
    "plain",
    [
        {"prompt": "a", "separator": "b", "more": 1},
        {"prompt": 3, "separator": "b"},
        {"separator": "b"},
    ],
)
def test_another_form_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        from_plain(Layout, plain)


def test_a_bool_is_no_number_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError):
        from_plain(Check, {"name": "n", "value": "1", "limit": 1.0, "passed": True, "how": "h"})


def test_memory_adds_up() -> None:
    parts = Memory(weights=1, gradients=2, optimizer=4, activations=8, kv_cache=16, runtime=32)
    assert parts.total == 63
