"""What was seen in labelled data: every row accounted for, with what a person should know before they train."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basewright.data.rows import identity
from basewright.errors import DataError
from basewright.looking import columns, hints, language
from basewright.looking.columns import Found
from basewright.looking.table import Table
from basewright.records import record

FEWEST = 5
"""Rows a label needs, so that it is learned, chosen on and tested."""


@dataclass(frozen=True, slots=True)
class Row:
    place: str
    text: str
    label: str


@record
class LeftOut:
    why: str
    places: tuple[str, ...]


@record
class Spread:
    least: int
    median: int
    long: int
    """95 % are no longer."""
    most: int


@record
class Seen:
    file: str
    form: str
    read: int
    kept: int
    left_out: tuple[LeftOut, ...]
    """read = kept + those left out."""
    ignored: tuple[str, ...]
    """Files of a folder that hold no rows."""
    text: str
    text_why: str
    label: str
    label_why: str
    also_text: tuple[str, ...]
    also_label: tuple[str, ...]
    """Other columns that could be it."""
    labels: dict[str, int]
    characters: Spread
    languages: dict[str, float]
    """Share of the texts; `unsure` is one of them."""
    repeated: int
    """Rows whose text, but for case and white space, stood in a row before."""
    slips: tuple[tuple[str, str, str], ...]
    """(label, the one it may be meant to be, why)."""
    personal: dict[str, tuple[str, ...]]
    """What looks like personal data, with places; never the data itself."""


def look(file: str, table: Table, text: str | None = None, label: str | None = None) -> tuple[Seen, list[Row]]:
    """What is in `table`, and the rows of it that can be used. Raises `DataError` where they make no task."""
    found = columns.find(table, text, label)
    rows, left_out = _sorted_out(_rows(table, found), table.ragged)
    _require_task(file, found, rows, left_out)
    texts = [row.text for row in rows]
    everything = columns.counts([row.label for row in rows])
    return (
        Seen(
            file=file,
            form=table.form,
            read=len(table.rows) + len(table.ragged),
            kept=len(rows),
            left_out=left_out,
            ignored=table.ignored,
            text=found.text,
            text_why=found.why_text,
            label=found.label,
            label_why=found.why_label,
            also_text=found.also_text,
            also_label=found.also_label,
            labels=dict(everything),
            characters=spread([len(text) for text in texts]),
            languages=dict(language.languages(texts)),
            repeated=len(rows) - len({identity(text) for text in texts}),
            slips=hints.slips(columns.counts([cells.label for cells in _rows(table, found) if cells.label])),
            personal=hints.personal(texts, [row.place for row in rows]),
        ),
        rows,
    )


def spread(lengths: Sequence[int]) -> Spread:
    ordered = sorted(lengths)
    return Spread(
        least=ordered[0],
        median=round(statistics.median(ordered)),
        long=ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        most=ordered[-1],
    )


def _rows(table: Table, found: Found) -> list[Row]:
    at = [table.columns.index(column) for column in (found.text, found.label)]
    cells = [[row[i].strip() for i in at] for row in table.rows]
    return [Row(place, text, label) for place, (text, label) in zip(table.places, cells, strict=True)]


def _sorted_out(rows: Sequence[Row], ragged: tuple[str, ...]) -> tuple[list[Row], tuple[LeftOut, ...]]:
    """The rows that can be used, and why the others cannot."""
    whole = [row for row in rows if row.text and row.label]
    labels: dict[str, set[str]] = {}
    for row in whole:
        labels.setdefault(identity(row.text), set()).add(row.label)
    agreed = [row for row in whole if len(labels[identity(row.text)]) == 1]
    counts = Counter(row.label for row in {identity(row.text): row for row in agreed}.values())
    kept = [row for row in agreed if counts[row.label] >= FEWEST]
    reasons = dict.fromkeys(ragged, "with more cells than there are columns")
    reasons |= {row.place: "without a label" if row.text else "without a text" for row in rows}
    reasons |= {row.place: "whose text also has another label" for row in whole}
    reasons |= {row.place: f"with a label of fewer than {FEWEST} rows" for row in agreed}
    return kept, _grouped(reasons, {row.place for row in kept})


def _grouped(reasons: Mapping[str, str], kept: set[str]) -> tuple[LeftOut, ...]:
    places: dict[str, list[str]] = {}
    for place, why in reasons.items():
        if place not in kept:
            places.setdefault(why, []).append(place)
    return tuple(LeftOut(why=why, places=tuple(found)) for why, found in places.items())


def _require_task(file: str, found: Found, rows: Sequence[Row], left_out: Sequence[LeftOut]) -> None:
    labels = {row.label for row in rows}
    if len(labels) >= 2:
        return
    gone = "; ".join(f"{len(one.places)} rows {one.why}" for one in left_out)
    what = "no row is left" if not rows else f"only one label is left, {next(iter(labels))!r}"
    other = f"; another column may be the label: {', '.join(found.also_label)}" if found.also_label else ""
    raise DataError(
        f"{file} is no task yet, with {found.text!r} as the text and {found.label!r} as the label: {what}"
        + (f" ({gone})" if gone else "")
        + other,
        fix=f"give two labels {FEWEST} rows each or more, or name other columns with --text and --label",
    )
