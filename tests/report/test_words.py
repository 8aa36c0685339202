"""What the report says first, and that it says no more than the records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from basewright.pages.phrases import percent
from basewright.records import Built
from basewright.report import tables, words
from tests.choose.making import CASES, TFIDF
from tests.report.making import TESTED, built

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


@pytest.mark.parametrize("name", ["classical_wins", "classical_wins_unproven"])
def test_a_classical_method_that_wins_comes_first_with_the_reason(name: str) -> None:
    first = words.verdict(built(name))[0]
    assert first.startswith(f"{TFIDF}, a classical method, wins")
    assert "of the items to choose on right, in 312 KiB of memory; prefer the model built here only if" in first
    assert ("not provably" in first) == (name == "classical_wins_unproven")


def test_a_model_that_passed_the_classical_method_later_claims_nothing_before_both_are_asked_the_same() -> None:
    first = words.verdict(scored(built("classical_wins"), 0.95))[0]
    assert "was ahead when candidates were compared" in first
    assert "tuned in full that one has come to 95.0% of other items, so ask both the same ones" in first


def scored(made: Built, accuracy: float) -> Built:
    """The same with another accuracy after tuning."""
    proof = made.proof.record
    share = replace(proof.after.accuracy, value=accuracy, low=accuracy - 0.05, high=accuracy + 0.03)
    after = replace(proof.after, metrics=proof.after.metrics | {"accuracy": share})
    return replace(made, proof=replace(made.proof, record=replace(proof, after=after)))


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
def test_no_score_stands_in_the_column_of_other_items(name: str) -> None:
    made = built(name)
    rows = tables.baselines(made).rows
    tested = [row for row in rows if row[2]]
    assert [row[0].rsplit(", ", 1)[-1] for row in tested] == ["tuned in full", "few-shot", "most frequent label"]
    rivals = {one.model for one in made.choice.record.ranked if one.kind == "classical"}
    assert all(row[2] == "" for row in rows if row[0] in rivals)
