"""Places are filled once; braces in what is filled in are text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import DataError
from basewright.evaluate import template


@given(st.text(), st.text())
def test_what_is_filled_in_is_text(one: str, two: str) -> None:
    assert template.fill("<{a}|{b c}>", {"a": one, "b c": two}, "row") == f"<{one}|{two}>"


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [
        ("{{a}} is {a}", "{a} is x"),
        ('{"k": 1} {', '{"k": 1} {'),
        ("}{n} {f} {yes} {lines}", "}3 0.5 true p\nq"),
    ],
)
def test_braces_and_values(pattern: str, filled: str) -> None:
    fields = {"a": "x", "n": 3, "f": 0.5, "yes": True, "lines": ["p", "q"], '"k": 1': '{"k": 1}'}
    assert template.fill(pattern, fields, "row") == filled


@pytest.mark.parametrize(("name", "value"), [("a", None), ("a", {}), ("a", []), ("a", [None])])
def test_what_is_no_text_is_refused(name: str, value: object) -> None:
    with pytest.raises(DataError, match="d line 3: field 'a' is no text"):
        template.fill("{a}", {name: value}, "d line 3")


def test_an_unknown_place_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"d line 3 has no field 'qestion'.*did you mean 'question'"):
        template.fill("{qestion}", {"question": "x", "id": "1"}, "d line 3")


def test_a_prompt_does_not_end_in_white_space() -> None:
    assert template.prompt("Q: {q}", {"q": "what? \n"}, "row") == "Q: what?"
