"""The charts of a report as SVG: the result beside its baselines, and general text before and after."""

from __future__ import annotations

from basewright.choose import lookup
from basewright.choose.lookup import legible
from basewright.pages.phrases import count, percent, plural
from basewright.pages.rows import Band, Row, bars, rows, whole
from basewright.records import Built, Interval
from basewright.report import tables, words
from basewright.stats import intervals


def result(built: Built, width: int) -> str:
    """The tuned model, the same base few-shot, the most frequent label, and the classical methods asked other rows."""
    proof, choice = built.proof.record, legible(built.choice.record)
    after, tested = proof.after.accuracy, plural(proof.after.accuracy.n, "test item")
    always = intervals.proportion(round(proof.after.majority * after.n), after.n, after.confidence)
    drawn = [
        _row(f"{choice.winner}, tuned", "", "winner", after),
        _row(f"{choice.winner}, few-shot", "the base as it is", "base", proof.before.accuracy),
        _row("most frequent label", "no text is read", "rival", always),
    ]
    other = f"on {plural(choice.items, 'other item')}"
    for one in choice.ranked:
        if one.kind == "classical" and one.score and one.model != tables.MAJORITY:
            drawn.append(_row(one.model, other, "rival", one.score))
    drawn.sort(key=lambda row: -row.value)
    said = ", ".join(f"{row.name} {row.shown}{f' {row.note}' if row.note == other else ''}" for row in drawn)
    return rows(drawn, None, whole, width, f"Accuracy on {tested}", f"Share of items answered right: {said}.")


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
