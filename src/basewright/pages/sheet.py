"""One HTML file from a template and facts: no network, no script, the same facts always give the same bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from basewright.pages.phrases import clean
from basewright.records import record

WIDE, PHONE = 720, 358
"""CSS pixels charts are drawn for; the style sheet shows one of the two."""


@record
class Table:
    """Cells are text, ready to be shown."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def render(template: str, facts: Mapping[str, Any]) -> str:
    """`template` is a file of the package, as `choose/page.html`; `facts` are texts, tables and lists of them, and
    charts as `drawn` gives them.

    Every text is taken for hostile (H106): escaped by the template and by the XML writer, cleaned of characters that
    hide or move text, under a policy that lets nothing but the page's own style sheet work.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        finalize=clean,
        loader=FunctionLoader(_read),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = " ".join(_read("pages/page.css").split())
    frame = {
        "style": Markup(style),
        "policy": f"default-src 'none'; style-src 'sha256-{_sha256(style)}'; base-uri 'none'; form-action 'none'",
    }
    return environment.get_template(template).render({**facts, **frame}) + "\n"


def drawn(chart: Callable[[int], str]) -> tuple[Any, Any]:
    """A chart at both widths, as markup that a template does not escape again; two empty ones where it has nothing."""
    from markupsafe import Markup

    return Markup(chart(WIDE)), Markup(chart(PHONE))


def _read(name: str) -> str:
    return resources.files("basewright").joinpath(name).read_text("utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
