"""What a tuning by itself gave, as one HTML page (`pages.sheet`): what was measured, the certificate, the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from basewright.pages import sheet, svg
from basewright.pages.phrases import count, percent, plural, points, size, span
from basewright.pages.rows import PHONE, Row, rows, whole
from basewright.pages.sheet import Table
from basewright.plan.words import clock
from basewright.records import (
    Answered,
    Certificate,
    Continued,
    Interval,
    Judged,
    Plan,
    Sample,
    Stamp,
    Surprise,
    Tuned,
    record,
)
from basewright.report.page import mask
from basewright.report.words import exact

SHOWN = 60
"""Items of one kind that the page holds."""
LETTERS = 600
"""Of one text."""
UNBOUNDED = 1e300
RIGHT = {
    "accuracy": "is right on",
    "exact match": "writes the very answer on",
    "preferred answer likelier": "finds the better answer likelier on",
}


@record
class Steps:
    """The loss of each optimizer step, and what it is of."""

    losses: tuple[float, ...]
    unit: str


def render(
    tuned: Tuned,
    certificate: Certificate,
    steps: Steps,
    *,
    made_on: str,
    data: str,
    held: str,
    settings: Sequence[tuple[str, str, str]],
    needed: str,
    versions: Mapping[str, str],
) -> str:
    """`data` and `held` name the rows that were learned and those that were not; `held` is empty where none were.

    `needed` says what was planned, and what it came to.
    """
    measured = tuned.measured
    facts: dict[str, Any] = {
        "title": f"{tuned.base}, tuned by {tuned.method}",
        "base": tuned.base,
        "data": data,
        "made_on": made_on,
        "id": tuned.made,
        "verdict": tuple(verdict(tuned, held)),
        "cells": cells(tuned, certificate),
        "judged": measured.judged.how if measured.judged else "",
        "surprises": surprises(tuned),
        "tasks": _tasks(tuned),
        "gained": _flips(measured.judged, right_after=True),
        "lost": _flips(measured.judged, right_after=False),
        "samples": Table(head=("Prompt", "The row", "The base", "Tuned"), rows=tuple(map(_sample, measured.samples))),
        "charts": {
            "result": sheet.drawn(lambda width: result(measured.judged, width)),
            "loss": sheet.drawn(lambda width: loss(steps, width)),
        },
        "masks": [mask(one.item, one.tokens) for one in certificate.overlays],
        "needed": needed,
        "settings": Table(head=("Setting", "Value", "Why"), rows=tuple(settings)),
        "layout": tuned.layout.prompt + (", as the user, in the chat template" if tuned.layout.chat else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return sheet.render("report/tuning.html", facts)


# --- words ----------------------------------------------------------------------------------------


def verdict(tuned: Tuned, held: str) -> Iterator[str]:
    """Two or three sentences: what it is better at, how surely, and what it cost."""
    measured = tuned.measured
    judged, gain = measured.judged, measured.held
    if judged:
        yield (
            f"On {plural(judged.gain.difference.n, 'row')} of {held}, none of them learned, the tuned model "
            f"{RIGHT[judged.metric]} {percent(judged.after.value)}, and its base {percent(judged.before.value)}."
        )
        yield _surely(judged)
    elif gain:
        yield (
            f"What rows of {held} say surprises the tuned model by {exact(gain.after)} nats a token, and its base by "
            f"{exact(gain.before)}."
        )
    else:
        yield "No rows were held out, so nothing is known of rows that it did not learn."
    general = measured.general
    moved = "more" if general.after > general.before else "less"
    yield (
        f"General text surprises it {moved} than before: {exact(general.before)} bits a byte became "
        f"{exact(general.after)}."
    )


def _surely(judged: Judged) -> str:
    difference = judged.gain.difference
    sure = f"{100 * difference.confidence:g}%"
    if not judged.gain.separated:
        return f"The two cannot be told apart with {sure} confidence (p = {judged.gain.p_value:.2g})."
    side = "more" if difference.value > 0 else "fewer"
    likewise = span(difference.low, difference.high)
    return (
        f"That is {points(abs(difference.value))} {side}; on rows drawn likewise {likewise} "
        f"with {sure} confidence (exact paired p = {judged.gain.p_value:.2g})."
    )


def cells(tuned: Tuned, certificate: Certificate) -> list[tuple[str, str]]:
    return [
        ("Base", tuned.base),
        ("Method", tuned.method),
        ("Rows learned", count(certificate.rows)),
        ("Tokens learned", count(certificate.supervised_tokens)),
        ("Checks of the rows", f"{len(certificate.checks)} passed"),
    ]


def needed(certificate: Certificate, plan: Plan, stamp: Stamp) -> str:
    """What the plan said before the first step, and what it came to. Neither is part of the certificate, which is of
    the rows: both are of a machine, and a plan is made again each time."""
    time = "" if plan.speed is None else f"about {clock(plan.speed.seconds)} and "
    return (
        f"{count(certificate.tokens)} tokens an epoch. Planned: {time}{size(plan.memory.total)} at the peak; it took "
        f"{clock(stamp.seconds)} and {size(stamp.measured['peak_memory'])}."
    )


# --- tables ---------------------------------------------------------------------------------------


def surprises(tuned: Tuned) -> Table:
    """Held-out rows and general text, before and after."""
    named = (("Held-out rows", tuned.measured.held), ("General text", tuned.measured.general))
    found = tuple(_surprise(name, one) for name, one in named if one)
    return Table(head=("", "Texts", "Base", "Tuned", "Change", "Unit"), rows=found)


def _surprise(name: str, one: Surprise) -> tuple[str, ...]:
    return name, count(one.texts), exact(one.before), exact(one.after), bounds(one.change), one.unit


def bounds(it: Interval) -> str:
    if it.high - it.low > UNBOUNDED:
        return f"{it.value:+.3f}, one text bounds nothing"
    return f"{it.value:+.3f}, {it.low:+.3f} to {it.high:+.3f}"


def _tasks(tuned: Tuned) -> Table:
    found = tuned.measured.tasks.tasks if tuned.measured.tasks else ()
    cells = [
        (one.task, one.metric, f"{one.second.value:.3f}", f"{one.first.value:.3f}", bounds(one.difference), one.verdict)
        for one in found
    ]
    return Table(head=("Task", "Metric", "Base", "Tuned", "Change", "The tuned model is"), rows=tuple(cells))


def _flips(judged: Judged | None, right_after: bool) -> Table:
    items = judged.items if judged else ()
    changed = [one for one in items if one.right_after != one.right_before and one.right_after == right_after]
    return Table(head=("Asked", "Right answer", "Base", "Tuned"), rows=tuple(map(_item, changed[:SHOWN])))


def _item(one: Answered) -> tuple[str, ...]:
    return short(one.asked), short(one.expected), short(one.before), short(one.after)


def _sample(one: Sample) -> tuple[str, ...]:
    return short(one.asked), short(one.expected), _continued(one.before), _continued(one.after)


def _continued(one: Continued) -> str:
    return f"{short(one.text)} ({'ended by itself' if one.finish == 'stop' else 'cut by the limit'})"


def short(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[:LETTERS]} …"


# --- charts ---------------------------------------------------------------------------------------


def result(judged: Judged | None, width: int) -> str:
    """Right answers of the base and the tuned model, with intervals; empty where nothing was judged."""
    if judged is None:
        return ""
    drawn = [_row("tuned", "winner", judged.after), _row("its base", "base", judged.before)]
    if judged.majority:
        always = replace(judged.after, value=judged.majority, low=judged.majority, high=judged.majority)
        drawn.append(_row("most frequent answer", "rival", always))
    said = ", ".join(f"{row.name} {row.shown}" for row in drawn)
    return rows(drawn, None, whole, width, f"Right answers on {plural(judged.after.n, 'held-out row')}", f"{said}.")


def _row(name: str, role: str, it: Interval) -> Row:
    return Row(name=name, note="", role=role, value=it.value, low=it.low, high=it.high, shown=percent(it.value))


def loss(steps: Steps, width: int) -> str:
    """Loss over optimizer steps; empty for fewer than two."""
    values = steps.losses
    if len(values) < 2:
        return ""
    left, right, bottom = 48, width - (12 if width < PHONE else 60), 230
    said = f"{exact(values[0])} at the first of {count(len(values))} steps, {exact(values[-1])} at the last."
    chart = svg.canvas(width, bottom + 34, f"Loss, nats a {steps.unit}, by step", said)
    x, y = svg.linear(1, len(values), left, right), svg.linear(min(values), max(values), bottom, 10)
    for value in svg.ticks(min(values), max(values), 6):
        svg.line(chart, left, y(value), right, y(value), "grid")
        svg.text(chart, left - 8, y(value) + 4, exact(value), "tick end")
    for step in (1, len(values)):
        svg.text(chart, x(step), bottom + 20, count(step), "tick middle")
    svg.path(chart, [(x(step), y(value)) for step, value in enumerate(values, start=1)], "curve winner")
    return svg.markup(chart)
