"""A chart of one value in each row, with its interval: a name, a mark, the number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from basewright.pages import svg
from basewright.records import record

PHONE = 480
"""Narrower charts put names above their marks."""


@record
class Row:
    name: str
    note: str
    role: str
    value: float
    low: float
    high: float
    shown: str


@record
class Band:
    """Values that mean the same to the reader, and what they mean."""

    low: float
    high: float
    name: str


def rows(
    drawn: Sequence[Row], band: Band | None, tick: Callable[[float], str], width: int, title: str, desc: str
) -> str:
    """SVG of the rows in their order; `tick` writes a value on the axis."""
    phone = width < PHONE
    left, right, each = (10, width - 10, 50) if phone else (250, width - 70, 40)
    top = 28 if band else 8
    bottom = top + each * len(drawn)
    chart = svg.canvas(width, bottom + 26, title, desc)
    low, high = min(row.low for row in drawn), max(row.high for row in drawn)
    if band:
        low, high = min(low, band.low), max(high, band.high)
    x = svg.linear(low - 0.04 * (high - low), high + 0.04 * (high - low), left, right)
    if band:
        _band(chart, band, x, bottom, width)
    for value in svg.ticks(low, high, 4 if phone else 7):
        svg.line(chart, x(value), top - 6, x(value), bottom, "grid zero" if tick(value) == tick(0) else "grid")
        svg.text(chart, x(value), bottom + 18, tick(value), "tick middle")
    for place, row in enumerate(drawn):
        y = top + each * place + (32 if phone else each / 2)
        svg.interval(chart, (x(row.low), y), (x(row.high), y), row.role)
        svg.mark(chart, row.role, x(row.value), y)
        (_names_above if phone else _names_beside)(chart, row, y, width)
    return svg.markup(chart)


def _band(chart: svg.Element, band: Band, x: svg.Place, bottom: float, width: int) -> None:
    svg.band(chart, x(band.low), x(band.high), 22, bottom)
    half = len(band.name) * svg.CHAR / 2
    middle = (x(band.low) + x(band.high)) / 2
    svg.text(chart, min(max(middle, half), width - half), 15, band.name, "note middle")


def whole(value: float) -> str:
    """A share on an axis: 40%."""
    return f"{100 * value:.3g}%"


def _names_above(chart: svg.Element, row: Row, y: float, width: int) -> None:
    edge = width - (len(row.shown) + 2.5) * svg.CHAR
    svg.text(chart, 0, y - 14, row.name, f"name {row.role}", edge - (len(row.note) + 1) * svg.CHAR)
    svg.text(chart, edge, y - 14, row.note, "note end")
    svg.text(chart, width, y - 14, row.shown, "value end")


def _names_beside(chart: svg.Element, row: Row, y: float, width: int) -> None:
    svg.text(chart, 0, y + (-2 if row.note else 5), row.name, f"name {row.role}", 240)
    svg.text(chart, 0, y + 14, row.note, "note")
    svg.text(chart, width, y + 5, row.shown, "value end")


def bars(drawn: Sequence[tuple[str, str, int]], width: int, title: str, desc: str) -> str:
    """SVG of counts as bars from zero: (name, role, count) in each row."""
    phone = width < PHONE
    left, each = (0, 44) if phone else (250, 30)
    most = max(number for *_, number in drawn) or 1
    chart = svg.canvas(width, each * len(drawn) + 6, title, desc)
    for place, (name, role, number) in enumerate(drawn):
        y = each * place + (22 if phone else 5)
        wide = (width - left - 60) * number / most
        svg.bar(chart, left, y, wide, 18, role)
        svg.text(chart, 0, y - 5 if phone else y + 14, name, f"name {role}")
        svg.text(chart, left + wide + 8, y + 14, f"{number:,}", "value")
    return svg.markup(chart)
