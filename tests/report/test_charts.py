"""The charts of the report stay inside their frame and show every baseline."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from basewright.records import Built
from basewright.report import charts
from tests.choose.making import CASES, TFIDF
from tests.choose.test_charts import both_widths, places
from tests.report.making import built

DRAWN: tuple[Callable[[Built, int], str], ...] = (charts.result, charts.changed, charts.kept)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
@both_widths
def test_everything_is_inside_the_frame(name: str, draw: Callable[[Built, int], str], width: int) -> None:
    chart = ElementTree.fromstring(draw(built(name), width))
    _, _, wide, high = map(float, chart.attrib["viewBox"].split())
    assert wide == width
    assert all(-1 <= x <= wide + 1 and -1 <= y <= high + 1 for x, y in places(chart))


def test_the_result_stands_beside_every_baseline_the_best_first() -> None:
    chart = ElementTree.fromstring(charts.result(built("classical_wins"), 720))
    names = [one.text for one in chart.iter("text") if "name" in one.attrib["class"]]
    assert names[:2] == [TFIDF, "foundling-prose, tuned"]
    assert {"most frequent label", "foundling-prose, few-shot"} <= set(names)
    notes = [one.text for one in chart.iter("text") if one.attrib["class"] == "note"]
    assert notes.count("on 2,000 other items") == 2
