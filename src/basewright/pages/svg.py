"""Drawing SVG that a page can hold: scales, ticks, lines, marks, labels. Everything is escaped by the XML writer.

Coordinates are CSS pixels; colours are classes of the page's style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from basewright.pages.phrases import columns, short

Element = ElementTree.Element
Place = Callable[[float], float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
CHAR = 7.3
"""Width of a column of text at 13 pixels, on the safe side."""


def canvas(width: int, height: int, title: str, desc: str) -> Element:
    """An image with a name and a description for those who do not see it; marks inside are silent."""
    svg = Element("svg", {"viewBox": f"0 0 {width} {height}", "width": str(width), "role": "img"})
    ElementTree.SubElement(svg, "title").text = title
    ElementTree.SubElement(svg, "desc").text = desc
    return svg


def markup(svg: Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")


def _add(parent: Element, tag: str, kind: str, **values: float | str) -> Element:
    shown = {key: f"{value:.1f}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return ElementTree.SubElement(parent, tag, {"class": kind, **shown})


def line(svg: Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    _add(svg, "line", kind, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2))


def path(svg: Element, places: Sequence[tuple[float, float]], kind: str) -> None:
    _add(svg, "polyline", kind, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places))


def band(svg: Element, left: float, right: float, top: float, bottom: float) -> None:
    _add(svg, "rect", "band", x=float(left), y=float(top), width=float(right - left), height=float(bottom - top))


def bar(svg: Element, x: float, y: float, width: float, height: float, role: str) -> None:
    _add(svg, "rect", f"bar {role}", x=float(x), y=float(y), width=float(width), height=float(height))


def text(svg: Element, x: float, y: float, words: str, kind: str, width: float = math.inf) -> None:
    """Cut in the middle where `width` is not enough; the whole is then its tooltip."""
    fits = words if width == math.inf else short(words, max(4, int(width / CHAR)))
    made = _add(svg, "text", kind, x=float(x), y=float(y))
    made.text = fits
    if fits != words:
        ElementTree.SubElement(made, "title").text = words


def mark(svg: Element, role: str, x: float, y: float, size: float = 6) -> None:
    """A shape for each role, so that colour is not needed: disc and ring, ring, diamond, small disc."""
    if role == "rival":
        corners = ((x, y - size), (x + size, y), (x, y + size), (x - size, y))
        _add(svg, "polygon", "mark rival", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners))
        return
    if role == "winner" and size > 4:
        _add(svg, "circle", "halo", cx=float(x), cy=float(y), r=float(size + 3))
    _add(svg, "circle", f"mark {role}", cx=float(x), cy=float(y), r=float(size if role != "base" else size - 1))


def interval(svg: Element, start: tuple[float, float], end: tuple[float, float], role: str) -> None:
    """A bar with caps across its ends."""
    line(svg, *start, *end, f"interval {role}")
    upright = start[0] == end[0]
    for x, y in (start, end):
        along, across = (4, 0) if upright else (0, 4)
        line(svg, x - along, y - across, x + along, y + across, f"interval {role}")


def linear(low: float, high: float, start: float, end: float) -> Place:
    """Values from `low` to `high` onto places from `start` to `end`; what lies beyond is put on the border."""
    wide = high - low or 1.0
    return lambda value: start + (min(max(value, low), high) - low) / wide * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Place:
    to = linear(math.log(low), math.log(high), start, end)
    return lambda value: to(math.log(value))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values between the two: multiples of 1, 2 or 5 times a power of ten."""
    wide = high - low or 1.0
    power = 10.0 ** math.floor(math.log10(wide / most))
    step = next(power * times for times in (1, 2, 5, 10) if wide / (power * times) <= most)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def powers(low: float, high: float, most: int) -> list[float]:
    """Powers of two between the two, every second, fourth and so on where they would be too many."""
    found = [2.0**number for number in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    return found[:: max(1, math.ceil(len(found) / most))]


def apart(places: Sequence[float], gap: float, first: float, last: float) -> list[float]:
    """Ascending places, moved so that they are `gap` apart and between `first` and `last` where that has room."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap if moved else first))
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], last - gap * (len(moved) - 1 - at))
    return moved


def box(x: float, y: float, words: str, anchor: str) -> Box:
    """What a label with its baseline at `y` covers."""
    wide = columns(words) * CHAR
    left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return left, y - 11, left + wide, y + 4


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
