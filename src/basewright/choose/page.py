"""The answer as one HTML file: no network, no script, the same record always gives the same bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from basewright.choose import charts, lookup, outlook, tables, words
from basewright.choose.lookup import legible
from basewright.choose.phrases import clean, points, share
from basewright.records import Choice

WIDE, PHONE = 720, 358
"""CSS pixels the charts are drawn for; the style sheet shows one of the two."""


def render(
    choice: Choice, *, title: str, command: str, measured: Mapping[str, float], price_per_hour: float | None
) -> str:
    """The page. `command` makes the same answer again; `measured` is answers a second by model, as far as known here;
    `price_per_hour` is of this machine, in any currency.

    Every text in the record is taken for hostile (H106): escaped by the template and by the XML writer, cleaned of
    characters that hide or move text, under a policy that lets nothing but the page's own style sheet work.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, finalize=clean, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = " ".join(_read("page.css").split())
    facts = _facts(legible(choice)) | {
        "title": title,
        "command": command,
        "style": Markup(style),
        "policy": f"default-src 'none'; style-src 'sha256-{_sha256(style)}'; base-uri 'none'; form-action 'none'",
        "costs": tables.costs(choice, measured, price_per_hour),
        "speed_known": any(one.model in measured for one in choice.ranked),
        "price": f"{price_per_hour:g}" if price_per_hour is not None else "",
    }
    drawn = {name: [Markup(text) for text in pair] for name, pair in _charts(choice).items()}
    return environment.from_string(_read("page.html")).render(facts | {"charts": drawn}) + "\n"


def _facts(choice: Choice) -> dict[str, Any]:
    """What the template shows, all of it text, tables of text, or lists of text."""
    return {
        "task": choice.question.task,
        "asked": words.asked(choice),
        "verdict": words.verdict(choice),
        "cells": words.facts(choice),
        "leader": lookup.leader(choice),
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
        "rule": choice.rule,
        "seed": str(choice.question.seed),
        "seed_sd": points(choice.seed_sd),
        "sure": share(choice.question.confidence),
        "margin": points(choice.question.margin),
        "tuned": lookup.tuned(choice),
    }


def _charts(choice: Choice) -> dict[str, tuple[str, str]]:
    draw: dict[str, Callable[[Choice, int], str]] = {
        "accuracy": charts.accuracy,
        "duels": charts.duels,
        "curves": charts.curves,
        "frontier": charts.frontier,
    }
    return {name: (chart(choice, WIDE), chart(choice, PHONE)) for name, chart in draw.items()}


def _read(name: str) -> str:
    return resources.files("basewright.choose").joinpath(name).read_text("utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
