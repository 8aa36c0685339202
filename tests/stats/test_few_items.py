"""The full score from few items: the Bayes step by hand, one walk as many, coverage, relatives, and real models."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from basewright.errors import DataError
from basewright.stats import few_items
from basewright.stats.few_items import Estimator, Smoothing

Array = NDArray[np.float64]
Answers = NDArray[np.uint8]
REAL = Path(__file__).parents[2] / "../shared/data/results/metabench_items/items.npz"
PLAIN = Smoothing(rank=1, own=1.0, floor=0.2, temper=1.0)
"""Own answers, right with 0.8: a posterior that is easily worked out."""


def population(models: int, seed: int = 0) -> tuple[Answers, Array]:
    """Answers to 60 of 400 items of one ability and two lesser factors, and the scores on all 400."""
    random = np.random.default_rng(seed)
    ability = random.normal(size=(models, 3)) * [1.5, 0.5, 0.5]
    slopes = np.random.default_rng(99).normal(size=(3, 400)) * 0.5 + [[1.2], [0.0], [0.0]]
    easy = np.random.default_rng(98).normal(size=400) * 1.5
    right = random.random((models, 400)) < 1 / (1 + np.exp(-(ability @ slopes + easy)))
    return right[:, :60].astype(np.uint8), right.mean(axis=1)


@cache
def fitted() -> Estimator:
    answers, scores = population(600)
    return few_items.fit(answers, scores, 20)


def ask(estimator: Estimator, model: Answers, count: int) -> dict[int, bool]:
    answers: dict[int, bool] = {}
    for _ in range(count):
        item = estimator.next_item(answers)
        answers[item] = bool(model[item])
    return answers


def hidden_nothing(models: int, known: int) -> NDArray[np.bool_]:
    return np.zeros((models, known), dtype=np.bool_)


# --- the step -------------------------------------------------------------------------------------


def test_the_posterior_is_bayes_on_the_known_models() -> None:
    answers = np.array([[1, 1], [1, 0], [0, 0]], dtype=np.uint8)
    bank = few_items.make_bank(answers, np.array([0.9, 0.6, 0.3]), PLAIN)
    walk = few_items.start(bank, hidden_nothing(1, 3))
    walk = few_items.told(bank, walk, np.array([0]), np.array([True]))
    walk = few_items.told(bank, walk, np.array([1]), np.array([False]))
    weights = np.array([0.8 * 0.2, 0.8 * 0.8, 0.2 * 0.8])
    mean = weights @ [0.9, 0.6, 0.3] / weights.sum()
    spread = np.sqrt(weights @ [0.81, 0.36, 0.09] / weights.sum() - mean**2)
    value, deviation = few_items.posterior(bank, walk)
    assert value == pytest.approx([mean], abs=1e-6)
    assert deviation == pytest.approx([spread], abs=1e-6)


def test_the_next_item_lowers_the_expected_variance_the_most() -> None:
    answers, scores = population(150, seed=3)
    bank = few_items.make_bank(answers, scores, PLAIN)
    walk = few_items.start(bank, hidden_nothing(1, 150))
    walk = few_items.told(bank, walk, np.array([4]), np.array([True]))

    def left(item: int) -> float:
        right = few_items.told(bank, walk, np.array([item]), np.array([True]))
        wrong = few_items.told(bank, walk, np.array([item]), np.array([False]))
        weights = np.exp(walk.log_weights[0].astype(float))
        likely = float(weights @ bank.moments[:, item] / weights.sum())
        after = [float(few_items.posterior(bank, one)[1][0]) ** 2 for one in (right, wrong)]
        return likely * after[0] + (1 - likely) * after[1]

    expected = min((item for item in range(60) if item != 4), key=left)
    assert few_items.next_items(bank, walk) == [expected]


def test_one_by_one_is_the_walk_of_many() -> None:
    estimator, (answers, _) = fitted(), population(5, seed=1)
    walk = few_items.start(estimator.bank, hidden_nothing(5, 600))
    for _ in range(12):
        walk = few_items.asked(estimator.bank, walk, answers)
    value, low, high = estimator.bounds(walk)
    for i, model in enumerate(answers):
        alone = ask(estimator, model, 12)
        assert list(alone) == walk.asked[i].tolist()
        found = estimator.estimate(alone)
        assert (found.value, found.low, found.high) == pytest.approx((value[i], low[i], high[i]), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_no_item_is_asked_twice_and_the_interval_holds_its_value(replies: list[bool]) -> None:
    answers: dict[int, bool] = {}
    for reply in replies:
        item = fitted().next_item(answers)
        assert item not in answers
        answers[item] = reply
    found = fitted().estimate(answers)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.n, found.confidence) == (len(replies), 0.95)


def test_a_hidden_model_weighs_nothing() -> None:
    answers, scores = population(200, seed=5)
    hidden = hidden_nothing(1, 200)
    hidden[0, :50] = True
    values = []
    for lie in (0.0, 1.0):
        bank = few_items.make_bank(answers, np.where(np.arange(200) < 50, lie, scores), Smoothing())
        walk = few_items.start(bank, hidden)
        for _ in range(10):
            walk = few_items.asked(bank, walk, answers[:1])
        values.append(few_items.posterior(bank, walk)[0][0])
    assert values[0] == pytest.approx(values[1], abs=1e-5)


# --- how good it is -------------------------------------------------------------------------------


def walked(estimator: Estimator, answers: Answers, count: int) -> tuple[Array, Array, Array]:
    walk = few_items.start(estimator.bank, hidden_nothing(len(answers), len(estimator.bank.scores)))
    for _ in range(count):
        walk = few_items.asked(estimator.bank, walk, answers, estimator.items)
    return estimator.bounds(walk)


@pytest.mark.parametrize("count", [5, 20])
def test_the_interval_covers_models_that_were_not_known(count: int) -> None:
    answers, truth = population(500, seed=7)
    _, low, high = walked(fitted(), answers, count)
    assert 0.925 < float(((low <= truth) & (truth <= high)).mean()) <= 0.985  # 3 errors of 500 about 95 %


def test_asking_by_the_answers_beats_a_fixed_list_and_both_the_mean_of_items() -> None:
    (answers, scores), (new, truth) = population(600), population(300, seed=8)
    items = few_items.choose_items(answers, scores, 10)
    fixed = few_items.fit(answers, scores, 10, items=items)
    ours, listed = (float(np.abs(walked(one, new, 10)[0] - truth).mean()) for one in (fitted(), fixed))
    line = np.polynomial.Polynomial.fit(answers[:, :10].mean(axis=1), scores, 3)
    naive = float(np.abs(line(new[:, :10].mean(axis=1)) - truth).mean())
    assert ours < listed < naive


def test_relatives_are_hidden_when_the_interval_is_calibrated() -> None:
    """Every model has a copy: looked up, its score would be known for sure; the interval must not promise that."""
    answers, scores = population(300, seed=9)
    doubled = few_items.fit(np.vstack([answers, answers]), np.tile(scores, 2), 15)
    new, truth = population(300, seed=10)
    _, low, high = walked(doubled, new, 15)
    assert float(((low <= truth) & (truth <= high)).mean()) > 0.92


def test_relatives_are_copies_and_families() -> None:
    answers, _ = population(100, seed=11)
    answers[1] = answers[0]
    answers[1, 0] ^= 1
    close = few_items.relatives(answers, ["a", "b", "a", *(str(i) for i in range(97))])
    assert close[0, 1]
    assert close[0, 2]
    assert close.diagonal().all()
    assert not few_items.relatives(answers)[0, 2]


# --- a fixed list ---------------------------------------------------------------------------------


def test_a_list_repeats_no_item_and_leaves_copies_and_constants_for_last() -> None:
    answers, scores = population(200, seed=12)
    table = np.hstack([answers[:, :10], answers[:, :10], np.ones((200, 1), dtype=np.uint8)])
    items = few_items.choose_items(table, scores, 21)
    assert sorted(items) == list(range(21))
    assert {item % 10 for item in items[:10]} == set(range(10))
    assert 20 not in items[:10]


def test_a_fixed_list_is_asked_in_its_order() -> None:
    answers, scores = population(150, seed=13)
    estimator = few_items.fit(answers, scores, 3, items=(7, 3, 11))
    assert list(ask(estimator, answers[0], 3)) == [7, 3, 11]
    with pytest.raises(ValueError, match="no item is left"):
        estimator.next_item({7: True, 3: False, 11: True})


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": np.full((150, 60), 2, dtype=np.uint8)}, "table of 0 and 1"),
        ({"scores": np.full(149, 0.5)}, "different models"),
        ({"families": ["a"]}, "different models"),
        ({"scores": np.full(150, 55.0)}, "share between 0 and 1"),
        ({"scores": np.full(150, np.nan)}, "share between 0 and 1"),
        ({"answers": np.zeros((50, 60), dtype=np.uint8), "scores": np.zeros(50)}, "too few"),
        ({"count": 61}, "cannot be asked"),
        ({"count": 3, "items": (1, 2)}, "cannot be asked"),
        ({"count": 2, "items": (1, 1)}, "names an item twice"),
        ({"count": 2, "items": (1, 60)}, "there is none of"),
    ],
)
def test_tables_that_cannot_be_learned_from_are_refused(change: dict[str, Any], message: str) -> None:
    answers, scores = population(150)
    given_: dict[str, Any] = {"answers": answers, "scores": scores, "count": 5} | change
    with pytest.raises(DataError, match=message) as refused:
        few_items.fit(**given_)
    assert refused.value.fix


def test_an_estimate_needs_a_number_of_answers_it_was_calibrated_for() -> None:
    for answers in ({}, dict.fromkeys(range(21), True)):
        with pytest.raises(ValueError, match="calibrated for 1 to 20"):
            fitted().estimate(answers)


@pytest.mark.parametrize("families", [["one"] * 150, ()])
def test_known_models_that_are_all_relatives_calibrate_nothing(families: list[str]) -> None:
    answers, scores = population(150)
    table = answers if families else np.tile(answers[:1], (150, 1))
    with pytest.raises(DataError, match="not their relatives"):
        few_items.fit(table, scores, 5, families=families)


def test_models_of_one_score_give_that_score() -> None:
    answers, _ = population(150)
    estimator = few_items.fit(answers, np.full(150, 0.5), 5)
    found = estimator.estimate(ask(estimator, answers[0], 5))
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)


# --- real models ----------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.exists(), reason="shared/data/results/metabench_items is absent")
def test_25_items_of_mmlu_give_the_score_of_real_models_within_a_point_and_a_half() -> None:
    with np.load(REAL) as data:
        answers, scores = data["mmlu__y"], data["mmlu__fullscore"].astype(float) / 100
        authors = [name.split("/")[0] for name in data["mmlu__models"]]
    order = np.random.default_rng(4).permutation(len(scores))
    new, known = order[:200], order[200:2200]
    estimator = few_items.fit(answers[known], scores[known], 25, families=[authors[i] for i in known])
    walk = few_items.start(estimator.bank, few_items.relatives(answers, authors)[np.ix_(new, known)])
    for _ in range(25):
        walk = few_items.asked(estimator.bank, walk, answers[new])
    value, low, high = estimator.bounds(walk)
    assert 100 * float(np.abs(value - scores[new]).mean()) < 1.5
    assert float(((low <= scores[new]) & (scores[new] <= high)).mean()) > 0.9
