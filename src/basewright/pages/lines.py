"""A chart of shares over a count on a logarithmic scale: a line and a mark with its interval for each series."""

from __future__ import annotations

from collections.abc import Sequence

from basewright.pages import svg
from basewright.pages.phrases import count
from basewright.pages.rows import PHONE, whole
from basewright.records import Interval, record

BOTTOM = 270


@record
class Line:
    name: str
    role: str
    points: tuple[tuple[int, Interval], ...]
    """(count, share), by count ascending."""


def drawn(lines: Sequence[Line], width: int, title: str, desc: str, axis: str) -> str:
    """SVG of the lines; each is named at its right end."""
    right = width - (112 if width < PHONE else 200)
    at = sorted({number for one in lines for number, _ in one.points})
    shares = [share for one in lines for _, share in one.points]
    low, high = min(share.low for share in shares), max(share.high for share in shares)
    chart = svg.canvas(width, BOTTOM + 46, title, desc)
    x = svg.logarithmic(at[0], max(at[-1], at[0] + 1), 52, right)
    y = svg.linear(low, max(high, low + 0.01), BOTTOM, 10)
    for value in svg.ticks(low, high, 7):
        svg.line(chart, 52, y(value), right, y(value), "grid")
        svg.text(chart, 44, y(value) + 4, whole(value), "tick end")
    for number in at:
        svg.text(chart, x(number), BOTTOM + 18, count(number), "tick middle")
    svg.text(chart, (52 + right) / 2, BOTTOM + 38, axis, "tick middle")
    for one in reversed(lines):
        _line(chart, one, x, y)
    _names(chart, lines, y, right, width)
    return svg.markup(chart)


def _line(chart: svg.Element, one: Line, x: svg.Place, y: svg.Place) -> None:
    svg.path(chart, [(x(number), y(share.value)) for number, share in one.points], f"curve {one.role}")
    for number, share in one.points:
        svg.interval(chart, (x(number), y(share.low)), (x(number), y(share.high)), one.role)
        svg.mark(chart, one.role, x(number), y(share.value), size=4)


def _names(chart: svg.Element, lines: Sequence[Line], y: svg.Place, right: float, width: int) -> None:
    order = sorted(lines, key=lambda one: y(one.points[-1][1].value))
    ends = [y(one.points[-1][1].value) for one in order]
    for one, end, place in zip(order, ends, svg.apart(ends, 15, 14, BOTTOM), strict=True):
        svg.line(chart, right + 5, end, right + 14, place, "leader")
        svg.text(chart, right + 17, place + 4, one.name, f"name {one.role}", width - right - 17)
