"""The charts of a report as SVG: the result beside its baselines, and general text before and after."""

from __future__ import annotations

from basewright.choose import lookup
from basewright.choose.lookup import legible
from basewright.pages.lines import Line, drawn
from basewright.pages.phrases import count, percent, plural
from basewright.pages.rows import Band, Row, bars, rows, whole
from basewright.records import BaselineKind, Built, Interval
from basewright.report import words


def result(built: Built, width: int) -> str:
    """The tuned model and everything else that was asked the same items."""
    choice, after = legible(built.choice.record), built.proof.record.after.accuracy
    drawn = [_row(f"{choice.winner}, tuned", "", "winner", after)]
    for one in built.baselines.record.found:
        role: lookup.Role = "base" if one.kind == "few-shot" else "rival"
        drawn.append(_row(one.name, NOTES.get(one.kind, ""), role, one.accuracy))
    drawn.sort(key=lambda row: -row.value)
    said = ", ".join(f"{row.name} {row.shown}" for row in drawn)
    title = f"Accuracy on {plural(after.n, 'test item')}"
    return rows(drawn, None, whole, width, title, f"Share of items answered right: {said}.")


NOTES: dict[BaselineKind, str] = {
    "few-shot": "the base as it is",
    "all weights": "of the base, not an adapter",
    "from scratch": "the base's architecture alone",
}


def worth(built: Built, width: int) -> str:
    """Accuracy over training rows, with and without the base; empty where no curve was measured."""
    found = built.baselines.record
    if not found.curve:
        return ""
    names = [name for name in found.curve[-1].accuracy if all(name in one.accuracy for one in found.curve)]
    lines = [
        Line(
            name=name,
            role="winner" if name == found.tuned else "rival",
            points=tuple((one.rows, one.accuracy[name]) for one in found.curve),
        )
        for name in names
    ]
    said = "; ".join(f"{one.name} {', '.join(percent(it.value) for _, it in one.points)}" for one in lines)
    rows_said = ", ".join(count(one.rows) for one in found.curve)
    return drawn(lines, width, "Accuracy after so many training rows", f"At {rows_said} rows: {said}.", "training rows")


def _row(name: str, note: str, role: lookup.Role, it: Interval) -> Row:
    return Row(name=name, note=note, role=role, value=it.value, low=it.low, high=it.high, shown=percent(it.value))


def kept(built: Built, width: int) -> str:
    """Bits per byte of general text before and after, against what the recipe allows."""
    proof, limit = built.proof.record, words.allowed(built)
    before, after = proof.general_bits_before, proof.general_bits_after
    drawn = [_point("before", "the base", "base", before), _point("after", "tuned", "winner", after)]
    band = Band(low=before, high=before * (1 + limit), name="allowed") if limit is not None else None
    desc = f"Bits per byte: before {words.exact(before)}, after {words.exact(after)}. Lower is better."
    return rows(drawn, band, words.exact, width, "Surprise at general text", desc)


def _point(name: str, note: str, role: lookup.Role, value: float) -> Row:
    return Row(name=name, note=note, role=role, value=value, low=value, high=value, shown=words.exact(value))


def changed(built: Built, width: int) -> str:
    """How many items stayed right, became right, became wrong and stayed wrong."""
    both = zip(built.proof.record.before.items, built.proof.record.after.items, strict=True)
    pairs = [(before.correct, after.correct) for before, after in both]
    drawn = [
        ("became right", "winner", pairs.count((False, True))),
        ("stayed right", "tied", pairs.count((True, True))),
        ("became wrong", "rival", pairs.count((True, False))),
        ("stayed wrong", "base", pairs.count((False, False))),
    ]
    said = ", ".join(f"{name} {count(number)}" for name, _, number in drawn)
    return bars(drawn, width, f"What tuning changed on {plural(len(pairs), 'test item')}", f"Items that {said}.")
