"""Filters and orders over facts that are partly unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.catalog import query
from basewright.catalog.query import Entry, Filter
from basewright.errors import UsageError
from basewright.records import ModelFacts


def entry(name: str, **facts: object) -> Entry:
    known: dict[str, object] = {
        "id": name, "family": "f", "kind": "decoder", "nature": "base", "location": f"hub:o/{name}",
        "licence": "MIT", "sources": (),
    }  # fmt: skip
    return Entry(facts=ModelFacts(**{**known, **facts}), card=None)  # type: ignore[arg-type]


SMALL = entry("small", published="124M", context=1024, languages=("en",), released="2019-02", gated=False)
LARGE = entry("large", published="8B", context=8192, languages=("en", "de"), licence="Apache-2.0", gated=True)
BARE = entry("bare", kind="encoder")
ALL = [LARGE, SMALL, BARE]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (Filter(), ["large", "small", "bare"]),
        (Filter(kinds=("encoder",)), ["bare"]),
        (Filter(licences=("mit", "apache-2.0")), ["large", "small", "bare"]),
        (Filter(languages=("de",)), ["large"]),
        (Filter(least=10**9), ["large"]),
        (Filter(most=10**9), ["small"]),
        (Filter(context=1024), ["large", "small"]),
        (Filter(open_only=True), ["small"]),
        (Filter(languages=("en",), most=124_000_000), ["small"]),
    ],
)
def test_what_is_unknown_never_matches(asked: Filter, names: list[str]) -> None:
    assert [one.facts.id for one in query.select(ALL, asked)] == names


def test_a_word_that_nothing_has_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'apache-2\.0'"):
        query.select(ALL, Filter(licences=("Apache2",)))
    with pytest.raises(UsageError, match="did you mean 'size'"):
        query.ordered(ALL, "sizes")


def test_order_puts_the_unknown_last_either_way() -> None:
    assert [one.facts.id for one in query.ordered(ALL, "size")] == ["small", "large", "bare"]
    assert [one.facts.id for one in query.ordered(ALL, "size", descending=True)] == ["large", "small", "bare"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8B", 8 * 10**9),
        ("1.5b", 1_500_000_000),
        ("124,439,808", 124_439_808),
        ("350 M", 350_000_000),
        ("131072", 131072),
    ],
)
def test_numbers_as_people_write_them(text: str, count: int) -> None:
    assert query.number(text) == count


@given(st.text(max_size=12))
def test_any_other_text_is_no_number(text: str) -> None:
    found = query.printed(text)
    assert found is None or found >= 0


def test_no_number_says_how_to_write_one() -> None:
    with pytest.raises(UsageError, match="'big' is no number"):
        query.number("big")
