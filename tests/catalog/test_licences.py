"""The table of licences checks itself, and every card's licence is in it."""

from __future__ import annotations

import re

import pytest

from basewright.catalog.cards import facts
from basewright.catalog.licences import find, table


def test_each_licence_has_one_name_a_source_and_a_date() -> None:
    names = [name for terms in table() for name in {name.casefold() for name in terms.names}]
    assert len(names) == len(set(names))
    for terms in table():
        assert terms.source.url.startswith("https://")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", terms.source.read_on)
        assert terms.marks
        assert terms.agreement == terms.id.startswith("LicenseRef-"), "custom terms must travel as text"


def test_what_must_be_shown_named_or_noted_is_among_the_duties() -> None:
    for terms in table():
        duties = " ".join(terms.duties)
        assert not terms.display or terms.display in duties
        assert not terms.name_prefix or f'"{terms.name_prefix}"' in duties
        assert not terms.notice or "Notice file" in duties
        assert not terms.agreement or "copy" in duties
        assert not terms.non_commercial or "not commercially" in duties
        assert terms.share_alike == ("same licence" in duties)
        assert not terms.most_users or f"{terms.most_users // 1_000_000} million" in duties
        assert not terms.use_policy or "Acceptable Use Policy" in duties or "use restrictions" in duties
        assert len(terms.source.words) <= 200


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("apache-2.0", ["Apache-2.0"]),
        ("LicenseRef-gemma", ["LicenseRef-Gemma"]),
        ("LicenseRef-llama3.2", ["LicenseRef-Llama-3.2"]),
        ("LicenseRef-bigscience-bloom-rail-1.0", ["LicenseRef-OpenRAIL"]),
        ("LicenseRef-bigcode-openrail-m", ["LicenseRef-OpenRAIL"]),
        ("LicenseRef-stability-ai-community", ["LicenseRef-StabilityAI-Community"]),
        ("LicenseRef-Falcon-180B", ["LicenseRef-Falcon-180B"]),
        ("LicenseRef-qwen", ["LicenseRef-Qwen"]),
        ("LicenseRef-opt-175b", ["LicenseRef-OPT-175B"]),
        ("LicenseRef-deepseek", ["LicenseRef-DeepSeek"]),
        ("CC0-1.0 AND PSF-2.0", ["CC0-1.0", "PSF-2.0"]),
        ("unknown", [None]),
        ("MIT AND mine", ["MIT", None]),
    ],
)
def test_a_licence_is_found_by_each_name_that_cards_use(written: str, found: list[str | None]) -> None:
    assert [terms and terms.id for terms in find(written)] == found


def test_the_licence_of_every_card_is_known_or_said_to_be_unknown() -> None:
    strange = {card.id: card.licence for card in facts() if card.licence != "unknown" and None in find(card.licence)}
    assert strange == {}
