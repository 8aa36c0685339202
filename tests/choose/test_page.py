"""The answer's page: whole, the same every time, harmless whatever names it shows, readable by everybody."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from basewright.choose import tables, words
from basewright.choose.page import render
from basewright.records import Choice
from tests.choose.making import CASES, HOSTILE, renamed
from tests.pages.reading import Read, assert_alone, policy_lets_only_the_style_work

every_case = pytest.mark.parametrize("made", CASES.values(), ids=CASES.keys())
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking many names takes minutes; the payload that fails is seen without."""


def page(made: Choice, title: str = "Choice", command: str = "basewright choose a.toml") -> str:
    return render(made, title=title, command=command, measured={"pythia-410m": 35.2}, price_per_hour=0.35)


@every_case
def test_the_page_is_whole_and_the_same_every_time(made: Choice) -> None:
    text = page(made)
    read = Read(text)
    assert text == page(made)
    assert all(sentence in read.text for sentence in words.verdict(made))
    assert read.tags.count("h1") == 1
    assert read.tags.count("svg") == 2 * read.tags.count("figure")


@every_case
def test_it_needs_no_network_and_no_script(made: Choice) -> None:
    assert_alone(page(made))


def test_the_policy_lets_only_the_own_style_sheet_work() -> None:
    policy_lets_only_the_style_work(page(CASES["twelve"]))


@settings(max_examples=12, deadline=None, phases=UNSHRUNK)
@given(st.lists(st.text(min_size=1) | st.sampled_from(HOSTILE), min_size=13, max_size=13, unique=True), st.data())
def test_h106_whatever_a_candidate_is_called_it_stays_text(names: list[str], data: st.DataObject) -> None:
    made = CASES["twelve"]
    reasons = [one.dropped.reason for one in made.ranked if one.dropped]
    other = data.draw(st.text() | st.sampled_from(HOSTILE))
    texts = dict(zip([one.model for one in made.ranked], names, strict=True))
    hostile = renamed(made, texts | dict.fromkeys([*reasons, made.question.task, made.rule, "float64"], other))
    plain, read = Read(page(made)), Read(page(hostile, title=other, command=other))
    assert set(read.tags) <= set(plain.tags)
    assert read.attributes <= plain.attributes
    assert not any(char in read.text for char in "\x00\x1b\u202e\u2066\u200b")


def test_h106_payloads_are_seen_as_they_were_written() -> None:
    shown = '"><script>alert(1)</script>{{ 7*7 }}'
    read = Read(page(renamed(CASES["winner_of_two"], {"pythia-410m": shown})))
    assert f"Take {shown}: it answers 87.3%" in read.text
    assert "49" not in read.text.replace(shown, "")[:400]


def test_everything_after_the_first_screen_is_folded_in_its_order() -> None:
    text = page(CASES["twelve"])
    assert "<details open" not in text
    names = re.findall(r"<h2>(.*?)</h2>", text)
    assert names == [
        "Why",
        "Learning curves",
        "Cost and frontier",
        "Who left",
        "Classical rivals",
        "What would change the answer",
        "What was spent",
        "Do it again",
        "Five terms",
    ]
    first = text[: text.index("<h2>")]
    assert first.index("<h1>") < first.index('class="first"') < first.index("<figure>")


def test_every_chart_is_a_table_too() -> None:
    read = Read(page(CASES["twelve"]))
    assert read.tags.count("figure") == 4
    assert read.tags.count("table") == read.tags.count("caption") == 6  # and who left, and what was spent
    cells = [cell for row in tables.duels(CASES["twelve"]).rows for cell in row]
    assert all(cell in read.text for cell in cells)


def test_the_command_the_seed_and_the_price_are_there() -> None:
    text = Read(page(CASES["winner_of_two"], command="basewright choose 'a b.toml' && x")).text
    assert "basewright choose 'a b.toml' && x" in text
    assert "Seed 0;" in text
    assert "0.00276" in text
    assert "A machine costs 0.35 an hour" in text
    unknown = render(CASES["winner_of_two"], title="t", command="c", measured={}, price_per_hour=None)
    assert "Speed was not measured." in unknown


def test_the_template_and_style_sheet_are_packaged() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert {"**/*.html", "**/*.css"} <= set(project["tool"]["setuptools"]["package-data"]["basewright"])
