"""Figures against their definitions and against scikit-learn; intervals of figures that are no mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.evaluate import metrics
from basewright.evaluate.question import Judged, Question

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40)


def judged(of: list[tuple[int, int]], groups: list[str] | None = None) -> list[Judged]:
    names = groups or [""] * len(of)
    return [
        Judged(Question(id=str(n), asks=(), gold=gold, group=name), "", {"right": float(gold == chosen)}, chosen)
        for n, ((gold, chosen), name) in enumerate(zip(of, names, strict=True))
    ]


@given(pairs)
def test_macro_f1_is_scikit_learns(of: list[tuple[int, int]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    gold, chosen = np.array(of).T
    expected = sklearn.f1_score(gold, chosen, average="macro", zero_division=0)
    assert metrics.macro_f1(gold, chosen) == pytest.approx(expected)


@given(pairs)
def test_quadratic_kappa_is_scikit_learns(of: list[tuple[int, int]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    gold, chosen = np.array(of).T
    if len({*gold, *chosen}) < 2:
        assert metrics.quadratic_kappa(gold, chosen) == 0
        return
    expected = sklearn.cohen_kappa_score(gold, chosen, labels=range(5), weights="quadratic")
    assert metrics.quadratic_kappa(gold, chosen) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("the Cat sat.", "cat sat", 1),
        ("a cat", "the dog", 0),
        ("in the year 1066", "1066", 0.5),  # precision 1/3, recall 1
        ("Norman Conquest of England", "the Norman conquest", 2 * 0.5 / 1.5),
        ("to be or not to be", "to be", 2 * (2 / 6) / (2 / 6 + 1)),
        ("", "something", 0),
    ],
)
def test_token_f1_as_in_squad(answer: str, gold: str, f1: float) -> None:
    assert metrics.token_f1(answer, gold) == pytest.approx(f1)


def test_normal_forms_are_taken_in_one_order() -> None:
    assert metrics.normal("  The  U.S., an  Éclair ", metrics.SQUAD) == "us éclair"
    assert metrics.normal("1,234.5 and 1,2", ["thousands"]) == "1234.5 and 1,2"
    assert metrics.normal("-3.5. ", ["ending"]) == "-3.5"
    assert metrics.normal(" A  b ", ["spaces"]) == "A b"
    assert metrics.normal(" A  b ", []) == " A  b "


def test_the_bootstrap_covers_what_is_known() -> None:
    """On a figure that is a mean, it is near the interval of that mean."""
    generator = np.random.default_rng(3)
    of = [(0, int(generator.random() < 0.3)) for _ in range(200)]
    runs = [judged(of)]
    found = metrics.resampled(lambda gold, chosen: float(np.mean(gold == chosen)), runs, 0.95)
    expected = metrics.means(["right"], runs, 0.95)["right"]
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.015)
    assert found == metrics.resampled(lambda gold, chosen: float(np.mean(gold == chosen)), runs, 0.95)


def test_h076_items_of_a_group_are_drawn_together() -> None:
    of = [(0, 0)] * 100 + [(0, 1)] * 100
    alone = metrics.resampled(metrics.macro_f1, [judged(of)], 0.95)
    shared = metrics.resampled(metrics.macro_f1, [judged(of, [f"g{n // 20}" for n in range(200)])], 0.95)
    assert shared.value == alone.value
    assert shared.high - shared.low > 2 * (alone.high - alone.low)
    one = metrics.resampled(metrics.macro_f1, [judged(of, ["g"] * 200)], 0.95)
    assert (one.low, one.high) == (-1e308, 1e308)


@settings(max_examples=20, deadline=None)
@given(pairs)
def test_the_value_does_not_depend_on_the_order_of_items(of: list[tuple[int, int]]) -> None:
    shuffled = [of[n] for n in np.random.default_rng(len(of)).permutation(len(of))]
    for figure in (metrics.macro_f1, metrics.quadratic_kappa):
        one, two = (figure(*np.array(some).T) for some in (of, shuffled))
        assert one == pytest.approx(two, abs=1e-12)


def test_a_ratio_of_totals() -> None:
    found = metrics.ratio([2.0, 6.0, 4.0], [1.0, 3.0, 4.0], ["", "", ""], 0.95)
    assert (found.value, found.n) == (12 / 8, 3)
    grouped = metrics.ratio([2.0, 6.0, 4.0], [1.0, 3.0, 4.0], ["a", "a", "b"], 0.95)
    assert (grouped.value, grouped.n) == (12 / 8, 3)


def test_the_share_of_the_commonest_label() -> None:
    assert metrics.commonest(["a", "b", "a", "c"]) == 0.5
    assert metrics.commonest(["", ""]) == 0
