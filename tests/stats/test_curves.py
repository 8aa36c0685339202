"""Learning curves: the laws against curves made by them, AtS against its authors' figures, intervals against truth."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.stats import curves
from basewright.stats.intervals import UNBOUNDED

RUNGS = [200 << doubling for doubling in range(10)]
TABLES = Path(__file__).parents[2] / "../shared/data/results/rectified_ft"


def rectified(n: int) -> float:
    return 60 / (40 + math.pow(n, 0.6)) + 0.5


def test_fit_finds_the_rectified_law_where_it_holds() -> None:
    found = curves.fit(RUNGS, [rectified(n) for n in RUNGS])
    assert found.law == curves.RECTIFIED
    assert found.at(4 * RUNGS[-1]) == pytest.approx(rectified(4 * RUNGS[-1]), rel=0.02)


def test_fit_finds_a_power_law_by_a_line() -> None:
    found = curves.fit(RUNGS, [9 * n**-0.2 for n in RUNGS])
    assert found.at(16 * RUNGS[-1]) == pytest.approx(9 * (16 * RUNGS[-1]) ** -0.2, rel=0.01)
    assert curves.line(RUNGS, [9 * n**-0.2 for n in RUNGS]).parameters == pytest.approx((math.log(9), -0.2))


def test_few_rungs_are_a_line() -> None:
    assert curves.fit([200, 400, 800], [2.0, 1.5, 1.4]).law == curves.LINE


@settings(max_examples=50)
@given(st.lists(st.floats(0, 30), min_size=2, max_size=10), st.integers(0, 9))
def test_any_losses_give_a_finite_curve(losses: list[float], ahead: int) -> None:
    for law in (curves.fit, curves.line):
        value = law(RUNGS[: len(losses)], losses).at(RUNGS[ahead])
        assert math.isfinite(value)
        assert value >= 0


@settings(max_examples=30)
@given(st.floats(0.01, 100))
def test_the_unit_of_losses_does_not_matter(unit: float) -> None:
    losses = [rectified(n) for n in RUNGS]
    one, other = curves.fit(RUNGS, losses), curves.fit(RUNGS, [unit * loss for loss in losses])
    assert one.law == other.law
    assert other.at(409_600) == pytest.approx(unit * one.at(409_600), rel=1e-6)


@pytest.mark.parametrize(
    ("examples", "losses"),
    [
        ([200], [1.0]),
        ([0, 200], [1.0, 0.5]),
        ([400, 200], [1.0, 0.5]),
        ([200, 200], [1.0, 0.5]),
        ([200, 400], [1.0]),
        ([200, 400], [1.0, -0.5]),
        ([200, 400], [1.0, math.nan]),
    ],
)
def test_what_is_no_curve_is_refused(examples: list[int], losses: list[float]) -> None:
    for law in (curves.fit, curves.line, curves.accept_then_stop):
        with pytest.raises(ValueError, match="a learning curve needs"):
            law(examples, losses)


# --- accept then stop -----------------------------------------------------------------------------


def test_accept_then_stop_leaves_out_the_pre_power_phase() -> None:
    power = [8 * n**-0.15 * (1 + 1e-4 * (-1) ** place) for place, n in enumerate(RUNGS)]
    flat = [min(loss, power[4]) for loss in power]
    assert curves.accept_then_stop(RUNGS, flat).parameters[1] == pytest.approx(-0.15, abs=2e-3)


@pytest.mark.skipif(not TABLES.is_dir(), reason="shared/data/results/rectified_ft is not here")
@pytest.mark.parametrize(
    ("dataset", "budget", "pearson"),
    [("flan", 8, 0.9087), ("flan", 512, 0.4556), ("wmt19", 32, 0.9768), ("gigaword", 128, 0.9112)],
)
def test_accept_then_stop_is_that_of_its_authors(dataset: str, budget: int, pearson: float) -> None:
    # published_different_law_for_selection.csv of linhaowei1/Fine-tuning-Scaling-Law
    sizes, losses = table(dataset)
    rungs = sizes.index(sizes[-1] // budget) + 1
    found = [curves.accept_then_stop(sizes[:rungs], row[:rungs].tolist()).at(sizes[-1]) for row in losses]
    assert float(np.corrcoef(found, losses[:, -1])[0, 1]) == pytest.approx(pearson, abs=1e-4)


# --- forecasts ------------------------------------------------------------------------------------


def items(rungs: list[int], count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Bits of items that differ in how hard they are, around a power law."""
    hard = np.random.default_rng(seed).gamma(2, 0.5, count)
    return np.array([hard * 6 * n**-0.2 for n in rungs])


def test_a_forecast_holds_its_own_curve_and_widens_with_distance() -> None:
    table = items(RUNGS[:4], 300, 1)
    widths = []
    for target in (RUNGS[3], RUNGS[4], RUNGS[6], RUNGS[9]):
        value, low, high, law = curves.forecast(RUNGS[:4], table, target, 0.95, 0)
        assert low < 6 * target**-0.2 < high
        assert low < value < high
        assert law == curves.LINE
        widths.append(math.log(high / low))
    assert widths == sorted(widths)


def test_a_forecast_widens_with_confidence_and_with_fewer_items() -> None:
    def width(count: int, confidence: float) -> float:
        _, low, high, _ = curves.forecast(RUNGS[:3], items(RUNGS[:3], count, 2), RUNGS[4], confidence, 0)
        return math.log(high / low)

    assert width(400, 0.8) < width(400, 0.95) < width(400, 0.999)
    assert width(2000, 0.95) < width(30, 0.95)


def test_a_forecast_is_the_same_every_time() -> None:
    table = items(RUNGS, 100, 3)
    assert curves.forecast(RUNGS, table, 10**6, 0.9, 5) == curves.forecast(RUNGS, table, 10**6, 0.9, 5)


def test_scatter_about_the_curve_widens_a_forecast() -> None:
    smooth = items(RUNGS[:4], 200, 4)
    rough = smooth * np.array([1.0, 1.2, 0.8, 1.1])[:, None]
    spans = [curves.forecast(RUNGS[:4], each, RUNGS[5], 0.95, 0) for each in (smooth, rough)]
    assert spans[1][2] / spans[1][1] > 1.2 * spans[0][2] / spans[0][1]


def test_the_rectified_law_is_not_drawn_out_far() -> None:
    table = np.array([[rectified(n)] for n in RUNGS])
    assert curves.forecast(RUNGS, table, 2 * RUNGS[-1], 0.95, 0)[3] == curves.RECTIFIED
    assert curves.forecast(RUNGS, table, 8 * RUNGS[-1], 0.95, 0)[3] == curves.LINE


def test_one_rung_says_nothing_of_the_slope() -> None:
    assert curves.forecast([200], [[1.0, 3.0]], 400, 0.95, 0) == (2.0, 0.0, UNBOUNDED, curves.FLAT)


def test_losses_that_are_not_of_the_rungs_are_refused() -> None:
    no_items: list[list[float]] = [[], []]
    for losses in (np.array([1.0, 2.0]), np.array([[1.0]]), np.array(no_items)):
        with pytest.raises(ValueError, match="one row for each rung"):
            curves.forecast([200, 400], losses, 800, 0.95, 0)
    with pytest.raises(ValueError, match="a learning curve needs"):
        curves.forecast([200], [[math.nan]], 800, 0.95, 0)


def test_forecasts_cover_at_their_level_when_tunings_scatter() -> None:
    """Ladders of new items and noisy tunings, and the mean over all items of one more such tuning."""
    random = np.random.default_rng(6)
    held = 0
    for seed in range(300):
        seen = np.array([random.gamma(2, 0.5, 200)] * 4) * (6 * np.array(RUNGS[:4]) ** -0.2)[:, None]
        noise = np.exp(0.015 * random.standard_normal(5))
        _, low, high, _ = curves.forecast(RUNGS[:4], seen * noise[:4, None], RUNGS[4], 0.9, seed)
        held += low <= 6 * RUNGS[4] ** -0.2 * noise[4] <= high
    assert held / 300 >= 0.88


@pytest.mark.skipif(not TABLES.is_dir(), reason="shared/data/results/rectified_ft is not here")
@pytest.mark.parametrize("dataset", ["flan", "wmt19", "gigaword"])
def test_forecasts_of_real_tunings_cover_at_their_level(dataset: str) -> None:
    """From 200, 400 and 800 examples to the full size, 2048 times as many, and one doubling ahead."""
    sizes, losses = table(dataset)
    for place, least in ((3, 0.95), (len(sizes) - 1, 0.9)):
        found = [curves.forecast(sizes[:3], row[:3, None], sizes[place], 0.95, 0) for row in losses]
        held = [low <= row[place] <= high for (_, low, high, _), row in zip(found, losses, strict=True)]
        assert sum(held) / len(held) >= least


def table(dataset: str) -> tuple[list[int], np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    with (TABLES / f"{dataset}.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    sizes = [int(name) for name in rows[0] if name.isdigit() and name != "0"]
    return sizes, np.array([[float(row[str(size)]) for size in sizes] for row in rows])
