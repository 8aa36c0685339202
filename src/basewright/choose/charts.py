"""The charts of an answer as SVG: accuracy, duels, learning curves, accuracy against memory.

Each is drawn for a width in CSS pixels, so that its text is readable on a phone too. What a mark means is said by
its shape and a word, never by colour alone. Empty where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from basewright.choose import lookup, words
from basewright.choose.lookup import legible, role, scored
from basewright.pages import svg
from basewright.pages.phrases import bits, count, percent, plural, points, share, short, signed, size, span
from basewright.pages.rows import PHONE, Band, Row, rows, whole
from basewright.records import Choice, Interval, Standing

FEW = 4
"""Of more curves than these only the ones to take are drawn with the interval of their forecast; the table has all."""


def accuracy(choice: Choice, width: int) -> str:
    """Everyone that was scored, with intervals; the band is what is within the margin of the best."""
    choice = legible(choice)
    drawn = [
        Row(
            name=one.model,
            note=words.label(choice, one),
            role=role(choice, one),
            value=one.score.value,
            low=one.score.low,
            high=one.score.high,
            shown=percent(one.score.value),
        )
        for one in scored(choice)
        if one.score
    ]
    if not drawn:
        return ""
    best, margin = drawn[0].value, choice.question.margin
    band = Band(low=best - margin, high=best, name=f"within {points(margin)} of the best")
    said = ", ".join(f"{row.name} {row.shown}" for row in drawn)
    title = f"Accuracy on {plural(choice.items, 'item')}"
    return rows(drawn, band, whole, width, title, f"Share of items answered right: {said}.")


def duels(choice: Choice, width: int) -> str:
    """How far the leader is ahead of each other, in points; the band is what does not matter."""
    choice = legible(choice)
    if not choice.duels:
        return ""
    bounds = lookup.future if lookup.tuned(choice) else lookup.on_items
    drawn = [
        Row(
            name=duel.second,
            note="",
            role=role(choice, lookup.standing(choice, duel.second)),
            value=duel.difference,
            low=bounds(duel)[0],
            high=bounds(duel)[1],
            shown=signed(duel.difference),
        )
        for duel in choice.duels
    ]
    margin, sure = choice.question.margin, share(choice.question.confidence)
    said = ", ".join(f"{row.name} {span(row.low, row.high)}" for row in drawn)
    title = f"Points that {lookup.leader(choice)} is ahead of each other"
    band = Band(low=-margin, high=margin, name="too little to matter")
    return rows(drawn, band, signed, width, title, f"{sure} bounds: {said}.")


# --- learning curves ------------------------------------------------------------------------------


def curves(choice: Choice, width: int) -> str:
    """Bits of surprise over training examples, with forecasts (dashed) and their intervals; lower is better."""
    choice = legible(choice)
    lines = [one for one in choice.ranked if one.rungs]
    if not lines:
        return ""
    right, bottom = width - (112 if width < PHONE else 200), 270
    ends = [_end(one) for one in lines]
    said = ", ".join(f"{one.model} {bits(value)}" for one, (_, value) in zip(lines, ends, strict=True))
    title = "Surprise at the right label, in bits, after so many training examples; lower is better"
    chart = svg.canvas(width, bottom + 46, title, f"The last of each line, measured or forecast: {said}.")
    values = [rung.bits.value for one in lines for rung in one.rungs] + [value for _, value in ends]
    room = (max(values) - min(values)) / 5 or 0.1
    examples = sorted({rung.examples for one in lines for rung in one.rungs} | {at for at, _ in ends})
    x = svg.logarithmic(examples[0], max(examples[-1], examples[0] + 1), 44, right)
    y = svg.linear(min(values) - room, max(values) + room, bottom, 10)
    for value in svg.ticks(min(values) - room, max(values) + room, 7):
        svg.line(chart, 44, y(value), right, y(value), "grid")
        svg.text(chart, 36, y(value) + 4, bits(value), "tick end")
    _examples(chart, examples, x, bottom)
    for one in reversed(lines):
        _curve(chart, role(choice, one), one, x, y, len(lines) <= FEW)
    order = sorted(range(len(lines)), key=lambda number: y(ends[number][1]))
    beside = svg.apart([y(ends[number][1]) for number in order], 15, 14, bottom)
    for number, y_name in zip(order, beside, strict=True):
        at, value = ends[number]
        svg.line(chart, x(at) + 5, y(value), right + 14, y_name, "leader" if x(at) >= right else "leader far")
        name = lines[number]
        svg.text(chart, right + 17, y_name + 4, name.model, f"name {role(choice, name)}", width - right - 17)
    return svg.markup(chart)


def _end(one: Standing) -> tuple[int, float]:
    """Examples and bits at the right end of a curve."""
    if one.forecast:
        return one.forecast.examples, one.forecast.bits.value
    return one.rungs[-1].examples, one.rungs[-1].bits.value


def _examples(chart: svg.Element, values: Sequence[int], x: svg.Place, bottom: float) -> None:
    """Ticks at the rungs and the target, as many as have room; the largest always."""
    kept = [values[-1]]
    for value in reversed(values[:-1]):
        if x(kept[-1]) - x(value) > 46:
            kept.append(value)
    for value in kept:
        svg.text(chart, x(value), bottom + 18, count(value), "tick middle")
    svg.text(chart, (x(values[0]) + x(values[-1])) / 2, bottom + 38, "training examples", "tick middle")


def _curve(chart: svg.Element, kind: str, one: Standing, x: svg.Place, y: svg.Place, few: bool) -> None:
    measured = [(x(rung.examples), y(rung.bits.value)) for rung in one.rungs]
    svg.path(chart, measured, f"curve {kind}")
    if one.forecast:
        at, ahead = x(one.forecast.examples), one.forecast.bits
        svg.path(chart, [measured[-1], (at, y(ahead.value))], f"curve forecast {kind}")
        if few or kind in ("winner", "tied"):
            svg.interval(chart, (at, y(ahead.low)), (at, y(ahead.high)), kind)
    for place in measured:
        svg.mark(chart, kind, *place, size=4)


# --- accuracy against memory ----------------------------------------------------------------------


def frontier(choice: Choice, width: int) -> str:
    """Accuracy with intervals against memory in use; the line joins those that no other beats for less memory.

    A mark stands at the widest precision, the one that was scored; a tick to its left at each narrower one.
    """
    choice = legible(choice)
    known = [(one, one.score, held) for one in scored(choice) if one.score and (held := lookup.memory(one))]
    if not known:
        return ""
    bottom = 330
    on = [(one, score, held) for one, score, held in known if one.frontier]
    said = ", ".join(f"{one.model} {percent(score.value)} in {size(held)}" for one, score, held in on)
    chart = svg.canvas(width, bottom + 46, "Accuracy against memory in use", f"On the frontier: {said or 'none'}.")
    least = min(cost.memory for one, _, _ in known for cost in one.costs if cost.memory > 0)
    x = svg.logarithmic(least / 1.5, max(held for *_, held in known) * 1.5, 52, width - 8)
    low, high = min(score.low for _, score, _ in known), max(score.high for _, score, _ in known)
    y = svg.linear(low - 0.06 * (high - low), high + 0.06 * (high - low), bottom, 10)
    _grid(chart, (x, y), (least / 1.5, max(held for *_, held in known) * 1.5), (low, high), width, bottom)
    svg.path(chart, _stairs([(x(held), y(score.value)) for _, score, held in on]), "stairs")
    taken = [(x(held) - 9, y(score.value) - 9, x(held) + 9, y(score.value) + 9) for _, score, held in known]
    bars = [(x(held) - 3, y(score.high), x(held) + 3, y(score.low)) for _, score, held in known]
    for one, score, held in reversed(known):
        _point(chart, one, score, role(choice, one), (x, y), held)
    for one, score, held in sorted(known, key=lambda found: not found[0].frontier):
        _named(chart, one.model, role(choice, one), (x(held), y(score.value)), (taken, bars), width, bottom)
    return svg.markup(chart)


def _grid(
    chart: svg.Element,
    scales: tuple[svg.Place, svg.Place],
    memory: tuple[float, float],
    share_right: tuple[float, float],
    width: int,
    bottom: float,
) -> None:
    x, y = scales
    for value in svg.ticks(*share_right, 7):
        svg.line(chart, 52, y(value), width - 8, y(value), "grid")
        svg.text(chart, 46, y(value) + 4, whole(value), "tick end")
    for value in svg.powers(*memory, 4 if width < PHONE else 8):
        svg.text(chart, x(value), bottom + 18, size(value), "tick middle")
    svg.text(chart, (52 + width) / 2, bottom + 38, "memory in use, on a logarithmic scale", "tick middle")


def _stairs(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """From the cheapest up: what is to be had for at most so much memory."""
    rising = sorted(places)
    steps = [(right[0], left[1]) for left, right in pairwise(rising)]
    return [corner for pair in zip(rising, [*steps, rising[-1]], strict=True) for corner in pair] if rising else []


def _point(
    chart: svg.Element, one: Standing, score: Interval, kind: str, scales: tuple[svg.Place, svg.Place], held: int
) -> None:
    x, y = scales
    narrower = [cost.memory for cost in one.costs if 0 < cost.memory < held]
    if narrower:
        svg.line(chart, x(min(narrower)), y(score.value), x(held), y(score.value), "leader")
    for memory in narrower:
        svg.line(chart, x(memory), y(score.value) - 4, x(memory), y(score.value) + 4, "leader")
    svg.interval(chart, (x(held), y(score.low)), (x(held), y(score.high)), kind)
    svg.mark(chart, kind, x(held), y(score.value))


def _named(
    chart: svg.Element,
    name: str,
    kind: str,
    place: tuple[float, float],
    drawn: tuple[list[svg.Box], list[svg.Box]],
    width: int,
    bottom: float,
) -> None:
    """The name where it covers no mark, no other name, and if that can be no bar; none where there is no room."""
    (x, y), (taken, bars) = place, drawn
    fits = short(name, 16 if width < PHONE else 28)
    ways = [
        (at_x, y + down, anchor) for down in (-5, 14, -20, 29) for at_x, anchor in ((x + 11, "start"), (x - 11, "end"))
    ]
    boxes = [(way, svg.box(way[0], way[1], fits, way[2])) for way in ways]
    inside = [(way, box) for way, box in boxes if box[0] >= 52 and box[2] <= width and box[1] >= 0 and box[3] <= bottom]
    free = [(way, box) for way, box in inside if not any(svg.overlap(box, one) for one in taken)]
    clear = [(way, box) for way, box in free if not any(svg.overlap(box, one) for one in bars)]
    for (at_x, at_y, anchor), box in (clear or free)[:1]:
        taken.append(box)
        svg.text(chart, at_x, at_y, fits, f"name {anchor} {kind}")
