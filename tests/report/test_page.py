"""The report is whole for every outcome, harmless whatever its rows and labels say, and folded until wanted."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from basewright.catalog import cards
from basewright.pages import phrases
from basewright.plan import make
from basewright.records import Ask, Built, Machine, Overlay, Plans
from basewright.report import tables, words
from tests.choose.making import CASES, HOSTILE
from tests.pages.reading import Read, assert_alone, policy_lets_only_the_style_work
from tests.release.making import LABELS
from tests.report.making import CLAUSE, built, page, renamed

OUTCOMES: dict[str, Built] = {
    **{name: built(name) for name in CASES},
    "no GGUF": built("winner_of_two", formats=()),
    "two licences": built("winner_of_two", licence="CC0-1.0 AND PSF-2.0"),
}
SECTIONS = [
    "Before and after",
    "Baselines",
    "Candidates",
    "Cost against quality",
    "Who left",
    "Forgetting",
    "Certificate",
    "Conversions",
    "Licence",
    "Do it again",
    "Five terms",
]
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking many texts takes minutes; the payload that fails is seen without."""
every_outcome = pytest.mark.parametrize("made", OUTCOMES.values(), ids=OUTCOMES.keys())


def test_what_training_was_planned_to_need_stands_beside_the_certificate() -> None:
    made = built()
    model = made.choice.record.winner or ""
    plan = make.make(
        cards.get("foundling-prose"),
        Machine(devices=(), cores=1, ram=2**33, disk_free=None),
        Ask(job="lora", context=64, micro_tokens=64, batch=1, rank=8),
    )
    planned = Plans(plans=(replace(plan, model="another"), replace(plan, model=model)))
    rows = [row for row in tables.data(replace(made, plans=planned)).rows if row[0] == "Planned for training"]
    tokens = phrases.count(made.adapter.record.tokens)
    assert rows == [("Planned for training", f"{tokens} tokens, {phrases.size(plan.memory.total)} at the peak")]


@every_outcome
def test_every_section_is_there_and_folded(made: Built) -> None:
    text = page(made)
    read = Read(text)
    assert text == page(made)
    assert re.findall(r"<h2>(.*?)</h2>", text) == SECTIONS
    assert read.tags.count("h1") == 1
    assert "<details open" not in text
    assert all(sentence in read.text for sentence in [*words.verdict(made), words.checked(made), words.kept(made)])
    assert "None" not in read.text
    assert "nan" not in re.findall(r"\w+", read.text)


@every_outcome
def test_it_needs_no_network_and_no_script(made: Built) -> None:
    assert_alone(page(made))
    policy_lets_only_the_style_work(page(made))


@every_outcome
def test_every_chart_says_what_it_shows(made: Built) -> None:
    text = page(made)
    charts = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(charts) >= 6
    assert all(re.search(r'role="img"><title>[^<]+</title><desc>[^<]+</desc>', chart) for chart in charts)


@settings(max_examples=12, deadline=None, phases=UNSHRUNK)
@given(st.lists(st.text(min_size=1) | st.sampled_from(HOSTILE), min_size=9, max_size=9, unique=True))
def test_h106_whatever_rows_labels_and_tokens_say_it_stays_text(texts: list[str]) -> None:
    made = built("twelve")
    was = [
        CLAUSE.format(0),
        CLAUSE.format(1),
        *LABELS,
        " payment",
        "contract-clauses",
        "pythia-410m",
        "foundling-prose",
    ]
    hostile = renamed(made, dict(zip(was, texts, strict=True)))
    text = page(hostile, command=texts[0], versions={texts[1]: texts[2]})
    plain, read = Read(page(made)), Read(text)
    assert text.encode()
    assert set(read.tags) <= set(plain.tags)
    assert read.attributes <= plain.attributes
    assert not any(char in read.text for char in "\x00\x1b\u202e\u2066\u200b")


def test_h106_a_row_that_is_markup_is_read_as_it_was_written() -> None:
    shown = '"><script>alert(1)</script>{{ 7*7 }}'
    read = Read(page(renamed(built(), {CLAUSE.format(1): shown})))
    assert shown in read.text
    assert "script" not in read.tags


def test_what_is_learned_is_marked_by_more_than_colour_and_said_in_words() -> None:
    text = page(built())
    mask = re.search(r'<p class="mask">(.*?)</p>', text, re.S)
    assert mask is not None
    assert re.findall(r"<mark>(.*?)</mark>", mask[1]) == [" payment", "&lt;|end|&gt;"]
    assert "<span> due↵</span><br>" in mask[1]
    assert "Learned: “ payment”, “<|end|>”" in Read(text).text
    style = re.search(r"\.mask mark \{(.*?)\}", text)
    assert style is not None
    assert {"underline", "700", "outline"} <= set(re.findall(r"underline|700|outline", style[1]))


def test_a_row_of_which_nothing_is_learned_says_so() -> None:
    made = built()
    silent = replace(made.certificate.record, overlays=(Overlay(item="x", tokens=(("a", False),)),))
    assert "Learned: none" in Read(page(replace(made, certificate=replace(made.certificate, record=silent)))).text


def test_who_left_and_what_was_not_checked_is_there_with_the_reason() -> None:
    text = Read(page(built("twelve"))).text
    assert "its learning curve does not reach the leader's" in text
    assert "llama.cpp is not installed, so q8_0 was not run in it" in text


def test_a_licence_with_duties_lists_them_all() -> None:
    made = built("winner_of_two", licence="Apache-2.0")
    assert made.release.record.duties
    assert all(duty in Read(page(made)).text for duty in made.release.record.duties)
    assert "Nothing is asked" in Read(page(built())).text


def test_it_can_be_made_again_from_what_it_says() -> None:
    made = built()
    text = Read(page(made, command="basewright build 'a b.toml' && x")).text
    assert "basewright build 'a b.toml' && x" in text
    for one in (made.choice, made.certificate, made.adapter, made.proof, made.converted, made.release):
        assert one.id in text
    assert made.adapter.record.base_commit in text
    assert "torch 2.13.0" in text
