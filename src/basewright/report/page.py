"""The report as one HTML file (`pages.sheet`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from basewright.choose import page as chosen
from basewright.choose import words as choosing
from basewright.pages import sheet
from basewright.records import Built, record
from basewright.report import charts, items, tables, words


@record
class Token:
    text: str
    learned: bool
    """Whether the loss counts on it."""
    ends_line: bool


@record
class Mask:
    """One training row as the model reads it."""

    item: str
    tokens: tuple[Token, ...]
    learned: str
    """The learned tokens once more, for those who do not see the marks."""


def render(
    built: Built,
    *,
    command: str,
    measured: Mapping[str, float],
    price_per_hour: float | None,
    versions: Mapping[str, str],
) -> str:
    """The page. `command` makes the same again; `measured` is answers a second by model, as far as known here;
    `price_per_hour` is of this machine, in any currency; `versions` are of the libraries at hand, by name."""
    facts = {
        "title": f"{built.release.record.name}: report of the build",
        "task": built.task.name,
        "made_on": built.release.stamp.started[:10],
        "command": command,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "choice": chosen.facts(built.choice.record, measured, price_per_hour),
        "charts": {name: sheet.drawn(partial(chart, built)) for name, chart in DRAWN.items()},
        "masks": [mask(one.item, one.tokens) for one in built.certificate.record.overlays],
        "broken": any("\ufffd" in text for one in built.certificate.record.overlays for text, _ in one.tokens),
        "explained": choosing.terms(built.choice.record),
    }
    return sheet.render("report/page.html", {**facts, **_said(built), **_tables(built)})


DRAWN: dict[str, Callable[[Built, int], str]] = {
    "result": charts.result,
    "changed": charts.changed,
    "kept": charts.kept,
    "worth": charts.worth,
}


def _said(built: Built) -> dict[str, Any]:
    return {
        "asked": words.asked(built),
        "tested": str(len(built.proof.record.after.items)),
        "verdict": words.verdict(built),
        "cells": words.cells(built),
        "checked": words.checked(built),
        "gain": words.gain(built),
        "measured": words.measured(built),
        "kept": words.kept(built),
        "baselines": words.baselines(built),
        "skipped": words.skipped(built),
        "duties": built.release.record.duties,
        "gists": words.gists(built),
    }


def _tables(built: Built) -> dict[str, Any]:
    return {
        "before_after": tables.before_after(built),
        "labels": items.by_label(built),
        "gained": items.gained(built),
        "lost": items.lost(built),
        "rivals": tables.baselines(built),
        "curve": tables.curve(built),
        "data": tables.data(built),
        "row_checks": tables.checks(built.certificate.record.checks),
        "model_checks": tables.checks(built.proof.record.checks),
        "forms": tables.forms(built),
        "parity": tables.parity(built),
        "training": tables.training(built),
        "lineage": tables.lineage(built),
    }


def mask(item: str, tokens: Sequence[tuple[str, bool]]) -> Mask:
    """A row with its learned tokens marked, for a page."""
    shown = tuple(
        Token(text=text.replace("\n", "↵"), learned=learned, ends_line="\n" in text) for text, learned in tokens
    )
    return Mask(item=item, tokens=shown, learned=", ".join(f"“{one.text}”" for one in shown if one.learned) or "none")
