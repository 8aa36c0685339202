"""The charts of the report stay inside their frame and show every baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from basewright.records import Built
from basewright.report import charts
from tests.choose.making import CASES, TFIDF
from tests.choose.test_charts import both_widths, places
from tests.report.making import SCRATCH, TESTED, WHOLE, built

DRAWN: tuple[Callable[[Built, int], str], ...] = (charts.result, charts.changed, charts.kept, charts.worth)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
@both_widths
def test_everything_is_inside_the_frame(name: str, draw: Callable[[Built, int], str], width: int) -> None:
    chart = ElementTree.fromstring(draw(built(name), width))
    _, _, wide, high = map(float, chart.attrib["viewBox"].split())
    assert wide == width
    assert all(-1 <= x <= wide + 1 and -1 <= y <= high + 1 for x, y in places(chart))


def test_the_result_stands_beside_every_baseline_the_best_first() -> None:
    made = built()
    winner = made.choice.record.winner
    chart = ElementTree.fromstring(charts.result(made, 720))
    names = [one.text for one in chart.iter("text") if "name" in one.attrib["class"]]
    assert names == [f"{winner}, tuned", WHOLE, SCRATCH, TFIDF, "majority", "few-shot"]
    assert chart.findtext("title") == f"Accuracy on {TESTED} test items"


def test_what_the_base_was_worth_is_a_line_with_and_one_without_it() -> None:
    chart = ElementTree.fromstring(charts.worth(built(), 720))
    assert [one.attrib["class"] for one in chart.iter("polyline")] == ["curve rival", "curve rival", "curve winner"]
    desc = chart.findtext("desc")
    assert desc is not None
    assert "At 160, 320, 640 rows" in desc
    made = built()
    none = replace(made.baselines, record=replace(made.baselines.record, curve=()))
    assert charts.worth(replace(made, baselines=none), 720) == ""
