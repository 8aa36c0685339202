"""The answer as one HTML file (`pages.sheet`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from basewright.choose import charts, lookup, outlook, tables, words
from basewright.choose.lookup import legible
from basewright.pages import sheet
from basewright.pages.phrases import share
from basewright.records import Choice


def render(
    choice: Choice, *, title: str, command: str, measured: Mapping[str, float], price_per_hour: float | None
) -> str:
    """The page. `command` makes the same answer again; `measured` is answers a second by model, as far as known here;
    `price_per_hour` is of this machine, in any currency."""
    found = facts(choice, measured, price_per_hour)
    own = {"title": title, "command": command, "explained": words.terms(choice)}
    return sheet.render("choose/page.html", {**found, **own, "facts": found})


def facts(choice: Choice, measured: Mapping[str, float], price_per_hour: float | None) -> dict[str, Any]:
    """What `sections.html` shows, all of it text, tables of text, lists of text, or charts."""
    readable = legible(choice)
    return {
        "task": readable.question.task,
        "asked": words.asked(choice),
        "verdict": words.verdict(choice),
        "cells": words.facts(choice),
        "leader": lookup.leader(readable),
        "claims": words.claims(choice),
        "rivals": words.rivals(choice),
        "cheapest": words.cheapest(choice),
        "changes": outlook.would_change(choice),
        "bill": tables.bill(choice),
        "standings": tables.standings(choice),
        "duels": tables.duels(choice),
        "curves": tables.curves(choice),
        "eliminated": tables.eliminated(choice),
        "spent": tables.spent(choice),
        "rule": readable.rule,
        "seed": str(choice.question.seed),
        "sure": share(choice.question.confidence),
        "tuned": lookup.tuned(choice),
        "costs": tables.costs(choice, measured, price_per_hour),
        "speed_known": any(one.model in measured for one in choice.ranked),
        "price": f"{price_per_hour:g}" if price_per_hour is not None else "",
        "charts": {name: sheet.drawn(partial(chart, choice)) for name, chart in DRAWN.items()},
    }


DRAWN: dict[str, Callable[[Choice, int], str]] = {
    "accuracy": charts.accuracy,
    "duels": charts.duels,
    "curves": charts.curves,
    "frontier": charts.frontier,
}
