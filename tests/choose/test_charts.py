"""The charts stay inside their frame, whatever is drawn, and can be read without seeing colour, or anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.choose import charts, lookup
from basewright.pages import svg
from basewright.records import Choice, Forecast, Interval
from basewright.stats.intervals import UNBOUNDED
from tests.choose.making import CASES, base, choice, dropped

Draw = Callable[[Choice, int], str]
DRAWN: tuple[Draw, ...] = (charts.accuracy, charts.duels, charts.curves, charts.frontier)
every_chart = pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
every_case = pytest.mark.parametrize("made", CASES.values(), ids=CASES.keys())
both_widths = pytest.mark.parametrize("width", [720, 358])


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def places(chart: ElementTree.Element) -> list[tuple[float, float]]:
    """Every corner of every mark and line."""
    found = []
    for one in chart.iter():
        values = one.attrib
        found += [(float(values[f"x{i}"]), float(values[f"y{i}"])) for i in (1, 2) if f"x{i}" in values]
        found += [(float(values["cx"]), float(values["cy"]))] if "cx" in values else []
        found += [(float(values["x"]), float(values["y"]))] if "x" in values else []
        found += [(float(x), float(y)) for x, y in (pair.split(",") for pair in values.get("points", "").split())]
    return found


@every_case
@every_chart
@both_widths
def test_everything_is_inside_the_frame(made: Choice, draw: Draw, width: int) -> None:
    text = draw(made, width)
    if not text:
        return
    chart = parsed(text)
    _, _, wide, high = map(float, chart.attrib["viewBox"].split())
    assert wide == width
    assert all(-1 <= x <= wide + 1 and -1 <= y <= high + 1 for x, y in places(chart))
    assert "nan" not in text
    assert "inf" not in text.replace("information", "")


@every_case
@every_chart
def test_a_chart_says_what_it_shows(made: Choice, draw: Draw) -> None:
    if not (text := draw(made, 720)):
        return
    chart = parsed(text)
    title, desc = chart.find("title"), chart.find("desc")
    assert chart.attrib["role"] == "img"
    assert title is not None
    assert title.text
    assert desc is not None
    assert desc.text
    names = [one.model for one in lookup.legible(made).ranked]
    assert any(name in f"{title.text} {desc.text}" for name in names)


def test_nothing_to_draw_is_empty() -> None:
    assert charts.duels(CASES["one_candidate"], 720) == ""
    assert charts.curves(CASES["few_shot_only"], 720) == ""
    unscored = replace(
        CASES["one_candidate"], ranked=(replace(CASES["one_candidate"].ranked[0], score=None, costs=()),)
    )
    assert charts.accuracy(unscored, 720) == ""
    assert charts.frontier(unscored, 720) == ""


def test_roles_differ_in_shape_and_not_only_in_colour() -> None:
    shapes = {}
    for role in ("winner", "tied", "rival", "base", "dropped"):
        canvas = svg.canvas(100, 100, "t", "d")
        svg.mark(canvas, role, 50, 50)
        marks = [(one.tag, one.attrib.get("r")) for one in canvas if one.tag in ("circle", "polygon")]
        hollow = role in ("tied", "dropped")  # by the style sheet; their outlines differ in width
        shapes[role] = (tuple(marks), hollow)
    assert len({shape for role, shape in shapes.items() if role != "dropped"}) == 4


def test_bounds_without_end_are_drawn_to_the_border() -> None:
    endless = Interval(value=0.4, low=-UNBOUNDED, high=UNBOUNDED, n=2, confidence=0.95, method="t")
    one = replace(base("a", 0.9), forecast=Forecast(examples=10_000, bits=endless, law="line"))
    made = choice([one, base("b", 0.8)])
    wild = replace(made, duels=tuple(replace(duel, low=-UNBOUNDED, high=UNBOUNDED) for duel in made.duels))
    for draw in DRAWN:
        chart = parsed(draw(wild, 720))
        assert all(-1 <= x <= 721 for x, _ in places(chart))


def test_names_beside_the_curves_do_not_cover_each_other() -> None:
    many = choice([base(f"m{n}", 0.9 - n / 1000) for n in range(9)], [dropped(f"d{n}", "curve") for n in range(5)])
    chart = parsed(charts.curves(many, 720))
    names = sorted(float(one.attrib["y"]) for one in chart.iter("text") if "name" in one.attrib["class"])
    assert len(names) == 14
    assert all(right - left >= 14.9 for left, right in pairwise(names))


def test_names_in_the_frontier_do_not_cover_each_other() -> None:
    for made in CASES.values():
        chart = parsed(charts.frontier(made, 358))
        texts = [one for one in chart.iter("text") if "name" in one.attrib["class"]]
        anchors = ["end" if " end " in one.attrib["class"] else "start" for one in texts]
        boxes = [
            svg.box(float(one.attrib["x"]), float(one.attrib["y"]), one.text or "", anchor)
            for one, anchor in zip(texts, anchors, strict=True)
        ]
        assert texts
        assert not any(svg.overlap(a, b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_the_frontier_joins_those_on_it_from_the_cheapest_up() -> None:
    chart = parsed(charts.frontier(CASES["winner_of_two"], 720))
    stairs = next(one for one in chart.iter("polyline") if one.attrib["class"] == "stairs")
    corners = [tuple(map(float, pair.split(","))) for pair in stairs.attrib["points"].split()]
    assert corners == sorted(corners, key=lambda corner: (corner[0], -corner[1]))
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners))


def test_a_name_that_is_cut_is_whole_in_its_tooltip() -> None:
    chart = parsed(charts.accuracy(CASES["long_names"], 358))
    cut = next(one for one in chart.iter("text") if "…" in (one.text or "") and one.find("title") is not None)
    whole = cut.find("title")
    assert whole is not None
    assert len(whole.text or "") > len(cut.text or "")


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(2, 9))
def test_ticks_are_round_few_and_inside(low: float, wide: float, most: int) -> None:
    found = svg.ticks(low, low + wide, most)
    assert len(found) <= most + 1
    assert all(low - 1e-6 * wide <= value <= low + wide * (1 + 1e-6) for value in found)


@given(st.lists(st.floats(0, 300), max_size=15))
def test_places_moved_apart_keep_order_and_distance(values: list[float]) -> None:
    moved = svg.apart(sorted(values), 15, 14, 300)
    assert all(right - left >= 14.999 for left, right in pairwise(moved))
    assert all(14 <= place <= 300.001 for place in moved)
