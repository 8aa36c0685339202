"""What else is asked the test items, and the curve of what the base was worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright.making import RATES
from basewright.records import Baselines, Built
from basewright.worth import SCRATCH, TFIDF, TUNED, WHOLE
from tests.walks import prepare, walk


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    recipe = prepare(tmp_path_factory.mktemp("worth"), examples=800)
    with recipe.open("a") as file:
        file.write("[baselines]\ncurve = true\n")
    return walk(recipe)[0]


def test_everything_was_asked_the_test_items_of_the_tuned_model(built: Built) -> None:
    found = built.baselines.record.found
    tested = [one.item for one in built.proof.record.after.items]
    assert all([one.item for one in baseline.items] == tested for baseline in found)
    assert {one.name for one in found} == {"few-shot", "majority", TFIDF, "linear probe", WHOLE, SCRATCH}
    right = built.proof.record.after.accuracy.value
    assert all(one.ahead.difference.value == pytest.approx(right - one.accuracy.value) for one in found)


def test_random_weights_are_given_as_many_steps_and_a_rate_of_their_own(built: Built) -> None:
    how = next(one.how for one in built.baselines.record.found if one.name == SCRATCH)
    assert f"{built.adapter.record.train.steps} steps" in how
    assert any(how.endswith(f"rate {rate:g}") for rate in RATES)


def test_the_curve_ends_in_the_scores_of_all_rows(built: Built) -> None:
    curve = built.baselines.record.curve
    every = len(built.task.train)
    assert [one.rows for one in curve] == [round(every / 4), round(every / 2), every]
    assert all(set(one.accuracy) == {TUNED, WHOLE, SCRATCH, TFIDF} for one in curve)
    assert curve[-1].accuracy[TUNED] == built.proof.record.after.accuracy
    whole = {one.name: one.accuracy for one in built.baselines.record.found}
    assert curve[-1].accuracy[SCRATCH] == whole[SCRATCH]


def test_what_the_recipe_leaves_out_is_said(tmp_path: Path) -> None:
    recipe = prepare(tmp_path, examples=400)
    recipe.write_text(recipe.read_text().replace("[choose]", "classical = false\n[choose]"))
    with recipe.open("a") as file:
        file.write("[baselines]\nall_weights = false\n")
    found: Baselines = walk(recipe)[0].baselines.record
    assert [one.name for one in found.found] == ["few-shot"]
    assert found.skipped == ("training all weights: the recipe says so",)


def test_a_model_with_a_head_stands_beside_the_others(tmp_path: Path) -> None:
    recipe = prepare(tmp_path, examples=400)
    with recipe.open("a") as file:
        file.write('[baselines]\nall_weights = false\nencoder = "./one"\n')
    built = walk(recipe)[0]
    one = next(one for one in built.baselines.record.found if one.kind == "encoder")
    assert "a classification head" in one.how
    assert [answer.item for answer in one.items] == [item.id for item in built.task.test]
    assert one.accuracy.value > 0.5
