"""The windows of rolling log-likelihood, and the one way a text becomes (context, continuation)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from basewright.engine.fake import bytes_tokenizer
from basewright.engine.lm import Request, pairs, windows

FIRST = -1


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 12))
def test_windows_predict_each_id_exactly_once(ids: list[int], context: int) -> None:
    cut = list(windows(ids, FIRST, context))
    assert [target for _, targets in cut for target in targets] == ids
    assert all(len(inputs) <= context and len(targets) <= len(inputs) for inputs, targets in cut)


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 12))
def test_windows_condition_each_id_on_what_comes_before_it(ids: list[int], context: int) -> None:
    text = [FIRST, *ids]
    at = 1
    for inputs, targets in windows(ids, FIRST, context):
        end = at + len(targets)
        assert inputs == text[end - 1 - len(inputs) : end - 1]
        assert targets == text[at:end]
        at = end


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 12))
def test_every_window_but_a_short_first_one_is_full(ids: list[int], context: int) -> None:
    """The last ids see as much as they can, as in lm-evaluation-harness."""
    lengths = [len(inputs) for inputs, _ in windows(ids, FIRST, context)]
    assert lengths[0] == min(context, len(ids))
    assert all(length == context for length in lengths[1:])


@given(st.text(max_size=12), st.lists(st.text(max_size=6), max_size=3))
def test_pairs_lose_no_character(context: str, continuations: Sequence[str]) -> None:
    tokenizer = bytes_tokenizer()
    (found,) = pairs(tokenizer, 10_000, [Request(context, tuple(continuations))])
    for (before, after), continuation in zip(found, continuations, strict=True):
        if continuation:
            assert tokenizer.text(before + after) == context + continuation
        assert bool(after) == bool(continuation)
