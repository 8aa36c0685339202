"""Ordered scales: the likeliest number or the expected one, how far off it is, and kappa."""

from __future__ import annotations

import math

import pytest

from basewright.errors import DataError
from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

RATING = {"kind": "rating", "prompt": "T: {text}\nR:", "scale": [1, 2, 3, 4, 5]}


def rows(*stars: int | str | float) -> list[dict[str, object]]:
    return [{"text": f"text {n}", "rating": star} for n, star in enumerate(stars)]


def test_the_likeliest() -> None:
    """Always 4: off by 3, 0, 1; a rater who never varies agrees no more than chance."""
    lm = Told(lambda _context, text: -1.0 if text == " 4" else -2.0)
    scores = run(lm, make(RATING, *rows(1, "4", 5.0)))
    assert [scores.metrics[name].value for name in ("mean_absolute_error", "accuracy")] == pytest.approx([4 / 3, 1 / 3])
    assert scores.metrics["quadratic_kappa"].value == 0
    assert list(scores.metrics) == ["mean_absolute_error", "quadratic_kappa", "accuracy"]
    assert {item.answer for item in scores.items} == {"4"}


def test_the_expected() -> None:
    weights = {" 1": 0.1, " 2": 0.0001, " 3": 0.2, " 4": 0.3, " 5": 0.4}
    lm = Told(lambda _context, text: math.log(weights[text]))
    (item,) = run(lm, make({**RATING, "decision": "expected"}, *rows(5))).items
    value = (0.1 + 0.0002 + 0.6 + 1.2 + 2.0) / 1.0001
    assert float(item.answer) == pytest.approx(value, abs=1e-4)
    assert item.values == {"mean_absolute_error": pytest.approx(5 - value), "accuracy": 0}  # 4 is nearest


def test_kappa_of_a_perfect_and_of_a_reversed_rater() -> None:
    for sign, kappa in ((1, 1.0), (-1, -1.0)):
        said = {f"text {n}": f" {3 + sign * (n % 5 - 2)}" for n in range(20)}
        lm = Told(lambda context, text, said=said: -1.0 if text == said[context[3:-3]] else -9.0)  # type: ignore[misc]
        scores = run(lm, make(RATING, *rows(*(n % 5 + 1 for n in range(20)))))
        assert scores.metrics["quadratic_kappa"].value == pytest.approx(kappa)


def test_numbers_in_words_and_off_the_scale() -> None:
    lm = Told()
    run(lm, make({**RATING, "scale": [0, 10], "words": ["bad", "good"]}, *rows(10)))
    assert lm.asked[0].continuations == (" bad", " good")
    with pytest.raises(DataError, match=r"line 1 has the rating 6, which is not on the scale"):
        make(RATING, *rows(6))
    with pytest.raises(DataError, match=r"rating 2\.5"):
        make(RATING, *rows(2.5))
