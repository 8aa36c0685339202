"""The sentences say what the record says, no more; on a terminal they stay within 30 lines of 100 columns."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from basewright.choose import lookup, outlook, tables, words
from basewright.choose.terminal import LINES, WIDTH, terminal
from basewright.pages.phrases import against, columns, figure, points, short, size, span, wrap
from basewright.records import Choice
from tests.choose.making import CASES, HOSTILE, TFIDF, base, choice, dropped, renamed, rival

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking many names takes minutes; the payload that fails is seen without."""
every_case = pytest.mark.parametrize("made", CASES.values(), ids=CASES.keys())
gaps = st.integers(0, 60).map(lambda number: number / 1000)
halves = st.integers(1, 40).map(lambda number: number / 1000)


def two(gap: float, half: float, seed_error: float) -> Choice:
    pair = [base("a", 0.85, 400_000_000), base("b", 0.85 - gap, 300_000_000)]
    return choice(pair, half=half, seed_error=seed_error)


# --- the verdict ----------------------------------------------------------------------------------


@every_case
def test_the_verdict_is_two_or_three_sentences_that_name_what_to_take(made: Choice) -> None:
    said = words.verdict(made)
    assert 2 <= len(said) <= 3
    assert lookup.legible(made).winner in said[0]
    assert all(line.endswith(".") and "  " not in line for line in said)


@pytest.mark.parametrize("name", ["classical_wins", "classical_wins_unproven"])
def test_a_classical_rival_that_wins_is_the_first_thing_said(name: str) -> None:
    first = words.verdict(CASES[name])[0]
    assert first.startswith(f"{TFIDF}, a classical method, wins")
    assert "prefer that one only if" in first
    assert ("not provably" in first) == (name == "classical_wins_unproven")
    assert dict(words.facts(CASES[name]))["Take"] == TFIDF


@given(gaps, halves, halves)
def test_h076_a_winner_is_only_said_to_be_ahead_as_far_as_is_proven(gap: float, half: float, seed: float) -> None:
    made = two(gap, half, seed)
    duel, (first, second) = made.duels[0], words.verdict(made)
    if duel.low > 0:
        assert first.startswith("Take a: it answers 85.0% of the items right; the closest base model, b, ")
        ahead = against(duel.low, duel.high, "b")
        assert second == f"With 95% confidence it is {ahead}, also on new items and if both are tuned again."
    elif duel.outcome == "tie within the margin":
        assert first.startswith("Take b: it is within 1 point of the best, a, and the cheapest of the 2 that are.")
    else:
        assert first.startswith(
            "No proven winner: take b to go on, the cheapest of 2 that 2,000 items cannot separate."
        )
        assert against(duel.low, duel.high, "b") in second


def test_a_lead_that_another_tuning_may_turn_is_said_to_be_one() -> None:
    made = two(0.02, 0.011, 0.012)
    won = replace(made, duels=(replace(made.duels[0], outcome="better"),), verdict="winner", winner="a", tied=())
    assert words.verdict(won)[1] == (
        "With 95% confidence it is 0.9 to 3.1 points ahead of b on new items, with these tunings: tuned again, the "
        "order may change."
    )


def test_what_the_budget_left_out_is_not_covered() -> None:
    assert words.verdict(CASES["twelve"])[2] == (
        "Not covered: Qwen3-0.6B-Base, left out when the budget ended and not beaten."
    )
    assert dict(words.facts(CASES["twelve"]))["Confidence"] == "95% that it is the best of those measured"


def test_one_candidate_is_taken_and_said_to_be_alone() -> None:
    assert words.verdict(CASES["one_candidate"])[0] == (
        "Take gpt2: it was the only candidate, with 80.0% of the items right."
    )
    assert words.verdict(CASES["only_one_left"])[0].startswith("Take gpt2: it alone came to the end")
    assert words.claims(CASES["one_candidate"]) == []


def test_a_leader_that_is_a_classical_rival_leaves_no_claim_between_the_models() -> None:
    made = CASES["classical_wins"]
    turned = tuple(replace(duel, first=TFIDF, second="foundling-prose") for duel in made.duels if duel.second == TFIDF)
    said = words.verdict(replace(made, duels=turned))
    assert said[1].startswith("Of the base models take foundling-prose: it has the best score of them")


# --- claims and rivals ----------------------------------------------------------------------------


@given(gaps, halves, halves)
def test_a_claim_that_reaches_further_never_says_more(gap: float, half: float, seed: float) -> None:
    items, future, tunings = (claim.finding for claim in words.claims(two(gap, half, seed)))
    assert items in ("beats b", "is within 1 point of b")  # of two that score the same
    if tunings == "beats b":
        assert future == items == tunings
    if tunings == "is within 1 point of b":
        assert future in (tunings, "beats b")


def test_the_three_claims_of_an_open_question() -> None:
    assert [claim.finding for claim in words.claims(CASES["not_separated"])] == [
        "beats all 3 others",
        f"is not separated from SmolLM2-135M; beats opt-350m and {TFIDF}",
        f"is not separated from SmolLM2-135M and opt-350m; beats {TFIDF}",
    ]
    assert words.claims(CASES["few_shot_only"])[2].finding == "nothing is claimed, since nothing was tuned"


def test_the_rivals_are_set_against_the_winner() -> None:
    said = words.rivals(CASES["winner_of_two"])
    assert said[0] == f"{TFIDF} answers 80.2% right and takes 312 KiB; pythia-410m is 7.1 points ahead of it."
    assert words.rivals(CASES["one_candidate"]) == []


def test_the_cheapest_within_the_margin_may_be_a_rival() -> None:
    made = choice([base("a", 0.85), rival(TFIDF, 0.845)])
    assert words.cheapest(made) == (
        f"The cheapest within 1 point of the best measured accuracy is {TFIDF}: 84.5% in 312 KiB."
    )


# --- what would change it -------------------------------------------------------------------------


def test_how_many_items_would_separate_by_hand() -> None:
    # 2 points apart, off by 2.5 for items and 0.5 for seeds: 1.5 points are left for items, (2.5 / 1.5)^2 x 2,000
    assert outlook.would_change(two(0.02, 0.025, 0.005))[0] == (
        "Telling a and b apart, 2 points from each other, would take about 5,600 items (now 2,000)."
    )


@given(gaps, halves, halves)
def test_as_many_items_and_tunings_as_are_asked_for_are_enough(gap: float, half: float, seed: float) -> None:
    made = two(gap, half, seed)
    if made.duels[0].outcome != "not separated":
        return
    said = outlook.would_change(made)[0]
    numbers = {
        noun: int(number.replace(",", "")) for number, noun in re.findall(r"about ([\d,]+) (item|tuning)s", said)
    }
    narrow = half * math.sqrt(2000 / numbers.get("item", 2000)) + seed * math.sqrt(3 / numbers.get("tuning", 3))
    assert narrow <= max(gap, 0.01 - gap) * 1.0001


@given(st.floats(1, 1e9))
def test_numbers_asked_for_are_rounded_up_by_little(value: float) -> None:
    rounded = outlook.rounded_up(value)
    assert rounded == outlook.PRACTICAL or value <= rounded <= 1.1 * value + 1


def test_what_would_change_each_answer() -> None:
    said = {name: " ".join(outlook.would_change(made)) for name, made in CASES.items()}
    assert "Another seed: tuned again, a score moves by about 1.2 points" in said["winner_of_two"]
    assert "A smaller margin: below 0.8 points pythia-410m and opt-350m are not shown" in said["tie_of_three"]
    assert "More training: by 10,000 examples opt-350m is forecast to pass SmolLM2-135M" in said["not_separated"]
    assert "A larger budget: bloom-560m left when the one of 20,000 examples ended" in said["not_separated"]
    assert f"Telling foundling-prose and {TFIDF} apart" in said["classical_wins_unproven"]
    assert "Never tuned: foundling-prose and Llama-3.2-3B" in said["twelve"]
    assert said["one_candidate"] == "Nothing measured here points to another answer."


def test_forecasts_that_overlap_are_said_to() -> None:
    crossing = choice([base("a", 0.85, drift=0.1), base("b", 0.80, drift=0.0)])
    assert "though the forecasts overlap" in " ".join(outlook.would_change(crossing))
    clear = choice([base("a", 0.85, drift=0.4), base("b", 0.80)])
    assert "pass a (" in " ".join(outlook.would_change(clear))
    assert "overlap" not in " ".join(outlook.would_change(clear))


# --- tables ---------------------------------------------------------------------------------------


@every_case
def test_tables_are_whole(made: Choice) -> None:
    made_of = [tables.standings, tables.duels, tables.eliminated, tables.curves, tables.spent]
    for table in [make(made) for make in made_of] + [tables.costs(made, {}, None)]:
        assert all(len(row) == len(table.head) for row in table.rows)
    assert len(tables.standings(made).rows) == len(made.ranked)
    assert len(tables.eliminated(made).rows) == sum(one.dropped is not None for one in made.ranked)


def test_who_left_when_and_by_what() -> None:
    rows = tables.eliminated(CASES["twelve"]).rows
    assert rows[0] == (
        "opt-125m",
        "race on items",
        "1,600 examples, 740 items",
        "pythia-410m",
        "behind by more than the margin",
    )
    assert {row[1] for row in rows} == set(tables.LEFT_AT.values())


def test_the_price_of_a_thousand_answers() -> None:
    table = tables.costs(CASES["winner_of_two"], {"pythia-410m": 35.2}, 0.35)
    assert table.head[-1] == "Per 1,000 answers"
    assert [row[-1] for row in table.rows] == [figure(1000 * 0.35 / 3600 / 35.2), "", "", "", ""]
    assert "Answers/s" not in tables.costs(CASES["winner_of_two"], {}, 0.35).head


def test_what_was_spent_against_everything() -> None:
    assert tables.spent(CASES["few_shot_only"]).rows == (
        ("Training examples seen", "0", "14,000", "0%"),
        ("Items answered", "4,000", "18,000", "22%"),
        ("Tunings", "0", "12", "0%"),
    )
    assert tables.bill(CASES["few_shot_only"]) == "Spent 4,000 answers (22%) of what measuring everything takes."


# --- the terminal ---------------------------------------------------------------------------------


@every_case
def test_the_terminal_page_fits(made: Choice) -> None:
    lines = terminal(made, {one.model: 12_345.6 for one in made.ranked}).split("\n")
    assert len(lines) <= LINES == 30
    assert max(map(columns, lines)) <= WIDTH == 100
    assert words.verdict(lookup.legible(made, 30))[0].split(":")[0] in " ".join(lines)


@settings(max_examples=30, deadline=None, phases=UNSHRUNK)
@given(st.lists(st.text(min_size=1) | st.sampled_from(HOSTILE), min_size=12, max_size=12, unique=True))
def test_h106_names_do_not_reach_the_terminal_as_they_are(names: list[str]) -> None:
    made = renamed(CASES["twelve"], dict(zip([one.model for one in CASES["twelve"].ranked], names, strict=False)))
    page = terminal(made, {})
    assert len(page.split("\n")) <= LINES
    assert all(columns(line) <= WIDTH for line in page.split("\n"))
    assert not {unicodedata.category(char) for char in page.replace("\n", "")} & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    assert page.encode()


def test_many_candidates_and_long_words_still_fit() -> None:
    many = [base(f"candidate-{number}-" + "x" * 60, 0.9 - number / 200) for number in range(40)]
    out = [dropped(f"gone-{number}", "curve", "candidate-0-" + "x" * 60) for number in range(40)]
    page = terminal(choice(many, out, task="t" * 300), {})
    assert len(page.split("\n")) <= LINES
    assert "… and 3" in page


# --- phrases --------------------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True), st.integers(12, 60))
def test_legible_names_stay_different_and_settle(names: list[str], width: int) -> None:
    made = choice([base(name, 0.9 - place / 50) for place, name in enumerate(names)])
    shown = [one.model for one in lookup.legible(made, width).ranked]
    assert len(set(shown)) == len(shown)
    assert all(columns(name) <= width for name in shown)
    assert lookup.legible(lookup.legible(made, width), width) == lookup.legible(made, width)


@given(st.text(), st.integers(4, 40))
def test_short_and_wrap_keep_to_the_width(text: str, width: int) -> None:
    assert columns(short(text, width)) <= width
    lines = wrap(text, width, 2)
    assert len(lines) <= 2
    assert all(columns(line) <= width for line in lines)


def test_numbers_read_well() -> None:
    assert [points(value) for value in (0.01, 0.0214, 0.0004, 0.1)] == [
        "1 point",
        "2.1 points",
        "0.04 points",
        "10 points",
    ]
    assert span(-0.014, 0.024) == "−1.4 to +2.4"
    assert span(0.021, 0.021) == "+2.1"
    assert against(-0.03, -0.01, "b") == "1.0 to 3.0 points behind b"
    assert against(0.0, 0.0, "b") == "level with b"
    assert [size(value) for value in (12, 320_000, 5 * 2**30)] == ["12 B", "312 KiB", "5 GiB"]
    assert [figure(value) for value in (18_049.0, 35.21, 0.00276, 1e-6)] == [
        "18,000",
        "35.2",
        "0.00276",
        "under 0.0001",
    ]
