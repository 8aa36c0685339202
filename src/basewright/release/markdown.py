"""Markdown and numbers as the model card writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from basewright.records import Check, Comparison, Interval


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from (_row(cells) for cells in rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(line(cell).replace("|", "\\|") for cell in cells) + " |"


def checks(checks: Sequence[tuple[str, Check]]) -> Iterator[str]:
    yield from table(
        ("about", "check", "value", "limit", "", "how"),
        [
            (about, c.name, f"{c.value:.6g}", f"{c.limit:.6g}", "passed" if c.passed else "FAILED", c.how)
            for about, c in checks
        ],
    )


def fence(text: str, language: str = "") -> Iterator[str]:
    """A code block that no backticks in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    yield f"{mark}{language}\n{text}\n{mark}"


def line(text: str) -> str:
    """One line, as a table cell or a heading can hold it."""
    return " ".join(text.split())


def percent(it: Interval) -> str:
    return f"{100 * it.value:.1f} % [{100 * it.low:.1f}, {100 * it.high:.1f}], n = {it.n}"


def interval(it: Interval) -> str:
    return f"{it.value:.3f} [{it.low:.3f}, {it.high:.3f}], n = {it.n}"


def comparison(it: Comparison) -> str:
    verdict = "separated" if it.separated else "not separated"
    return (
        f"`{it.first}` minus `{it.second}`: {percent(it.difference)};"
        f" {it.only_first} items only the first got right, {it.only_second} only the second;"
        f" exact paired p = {it.p_value:.2g}, {verdict} at {100 * it.difference.confidence:g} %."
    )


def count(number: int) -> str:
    return f"{number:,}"


def size(bytes_: int) -> str:
    return f"{bytes_ / 2**20:.1f} MiB"
