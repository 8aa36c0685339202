"""What the report says first, and that it says no more than the records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from basewright.pages.phrases import percent
from basewright.records import Built
from basewright.report import tables, words
from tests.choose.making import CASES, TFIDF
from tests.report.making import SCRATCH, TESTED, WHOLE, baselines, built

every_outcome = pytest.mark.parametrize("name", CASES)


@every_outcome
def test_the_verdict_is_two_sentences(name: str) -> None:
    said = words.verdict(built(name))
    assert len(said) == 2
    assert all(sentence.endswith(".") and "  " not in sentence for sentence in said)


def test_a_winner_is_named_with_its_confidence_and_a_tie_as_one() -> None:
    first = words.verdict(built("winner_of_two"))[0]
    assert first.startswith("Take pythia-410m: with 95% confidence it is 0.8 to 4.6 points ahead of opt-350m")
    assert words.verdict(built("not_separated"))[0].startswith("No proven winner: take ")
    assert words.verdict(built("one_candidate"))[0].startswith("Take gpt2: it was the only candidate")


@pytest.mark.parametrize(("share", "proven"), [(1.0, True), (0.875, False)])
def test_a_classical_method_that_wins_comes_first_with_the_reason(share: float, proven: bool) -> None:
    first = words.verdict(beaten(**{TFIDF: share}))[0]
    assert first.startswith(f"{TFIDF}, a classical method, wins")
    assert f"{percent(share)} of {TESTED} test items right" in first
    assert "the model built here; prefer the model built here only if" in first
    assert ("not provably" in first) == (not proven)


def test_whatever_wins_is_said_with_what_follows() -> None:
    scratch = words.verdict(beaten(**{SCRATCH: 1.0}))[0]
    assert "'s architecture trained from random weights wins: 100.0% of" in scratch
    assert scratch.endswith("what the base had read before was of no use for this task.")
    whole = words.verdict(beaten(**{WHOLE: 1.0}))[0]
    assert "with all of its weights tuned wins: 100.0% of" in whole
    assert "basewright tune --method full" in whole
    assert words.verdict(beaten(**{"few-shot": 1.0}))[0].endswith("tuning gave nothing here.")


def beaten(**right: float) -> Built:
    made = built()
    return replace(made, baselines=replace(made.baselines, record=baselines(**right)))


def test_what_the_base_was_worth_is_said_in_rows() -> None:
    said = words.worth(built())
    assert said[0].startswith("With 160 rows the base, all weights tuned, answers 50.0% right; ")
    assert said[0].endswith("without the base that takes about 320.")
    assert said[2].endswith("80.0% right; without the base that takes more than the 640 rows there are.")


def test_rows_needed_are_read_off_the_curve() -> None:
    curve = [(100, 0.2), (400, 0.6)]
    assert words.needed(curve, 0.1) == 100
    assert words.needed(curve, 0.4) == 200
    assert words.needed(curve, 0.6) == 400
    assert words.needed(curve, 0.7) is None


def test_the_result_has_its_interval_its_number_and_what_it_is_ahead_of() -> None:
    made = built()
    after = made.proof.record.after.accuracy
    second = words.verdict(made)[1]
    assert (
        f"{percent(after.value)} of {TESTED} test items right ({percent(after.low)} to {percent(after.high)}" in second
    )
    assert "95% confidence" in second
    assert second.endswith("30.0 to 50.0 points ahead of the same base asked few-shot.")


def test_checks_are_counted_and_what_was_skipped_is_not_among_them() -> None:
    assert words.checked(built()) == "5 checks passed; 1 could not be made here."
    whole = built()
    none = replace(whole.converted, record=replace(whole.converted.record, skipped=()))
    assert words.checked(replace(whole, converted=none)) == "5 checks passed."


def test_forgetting_is_said_with_the_limit_of_the_recipe() -> None:
    said = words.kept(built())
    assert "takes 2.131 bits after tuning and 2.104 before: 1.3% more; the recipe allows 10% more" in said


@every_outcome
def test_every_score_in_the_table_is_of_the_same_items(name: str) -> None:
    made = built(name)
    rows = tables.baselines(made).rows
    assert all(f"n = {TESTED}" in row[1] for row in rows)
    assert len(rows) == 1 + len(made.baselines.record.found)
    assert all(row[2] for row in rows[1:])
