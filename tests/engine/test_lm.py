"""The windows of rolling log-likelihood, and the one way a text becomes (context, continuation)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from basewright.engine.fake import bytes_tokenizer
from basewright.engine.lm import pair, windows

FIRST = -1


def cut(ids: list[int], context: int) -> list[tuple[list[int], list[int]]]:
    """(inputs, targets) of each window."""
    found = windows(ids, FIRST, context)
    return [([*one.context, *one.continuation[:-1]], list(one.continuation)) for one in found]


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 12))
def test_windows_predict_each_id_exactly_once(ids: list[int], context: int) -> None:
    assert [target for _, targets in cut(ids, context) for target in targets] == ids
    assert all(len(inputs) <= context and len(targets) <= len(inputs) for inputs, targets in cut(ids, context))


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 12))
def test_windows_condition_each_id_on_what_comes_before_it(ids: list[int], context: int) -> None:
    text = [FIRST, *ids]
    at = 1
    for inputs, targets in cut(ids, context):
        end = at + len(targets)
        assert inputs == text[end - 1 - len(inputs) : end - 1]
        assert targets == text[at:end]
        at = end


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 12))
def test_every_window_but_a_short_first_one_is_full(ids: list[int], context: int) -> None:
    """The last ids see as much as they can, as in lm-evaluation-harness."""
    lengths = [len(inputs) for inputs, _ in cut(ids, context)]
    assert lengths[0] == min(context, len(ids))
    assert all(length == context for length in lengths[1:])


@given(st.text(max_size=12), st.text(min_size=1, max_size=6))
def test_a_pair_loses_no_character(context: str, continuation: str) -> None:
    tokenizer = bytes_tokenizer()
    found = pair(tokenizer, context, continuation)
    assert tokenizer.text([*found.context, *found.continuation]) == context + continuation
    assert found.context
    assert found.continuation
