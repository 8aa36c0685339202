"""The same question with its evidence at several depths of a long text (needle in a haystack)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

from basewright.errors import DataError
from basewright.evaluate.items import Row, field_text
from basewright.evaluate.spec import DepthSection

FIELD = "haystack"


def expand(row: Row, section: DepthSection, filler: Sequence[str]) -> list[Row]:
    """A row for each depth; they share a group, since their errors are not independent. `filler` is in words."""
    evidence = field_text(row, "evidence")
    return [
        replace(
            row,
            id=f"{row.id}@{depth:g}",
            fields={**row.fields, FIELD: buried(evidence, filler, depth)},
            group=row.group or row.id,
            parts=(*row.parts, f"depth {depth:g}"),
        )
        for depth in section.depths
    ]


def bare(row: Row) -> Row:
    """The evidence alone, as shots show it."""
    return replace(row, fields={**row.fields, FIELD: field_text(row, "evidence")})


def words(text: str, count: int) -> list[str]:
    """`count` words of a text, from its start again where it ends. Raises `DataError` for a text without any."""
    found = text.split()
    if not found:
        raise DataError("the filler of [depth] holds no words", fix="name a file with some text in [depth].filler")
    return list(islice(cycle(found), count))


def buried(evidence: str, filler: Sequence[str], depth: float) -> str:
    """The evidence between two sentences of the filler: 0 is before all of it, 1 after all of it."""
    at = round(depth * len(filler))
    if at > 0:  # on to the end of the sentence
        at = next((i for i in range(at, len(filler)) if filler[i - 1].endswith((".", "!", "?"))), len(filler))
    return " ".join([*filler[:at], evidence, *filler[at:]])
