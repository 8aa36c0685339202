"""The answer on a terminal: at most 30 lines of 100 columns."""

from __future__ import annotations

from collections.abc import Mapping

from basewright.choose import lookup, outlook, tables, words
from basewright.choose.lookup import legible, role, scored
from basewright.pages.phrases import clean, columns, count, figure, pad, percent, plural, share, size, wrap
from basewright.records import Choice, Interval, Standing

LINES, WIDTH, NAME, BAR = 30, 100, 30, 20
MARKS = {"winner": "▶ ", "tied": "= ", "rival": "◆ ", "base": "  ", "dropped": "  "}


def terminal(choice: Choice, measured: Mapping[str, float]) -> str:
    """`measured` is answers a second by model, as far as known."""
    small = legible(choice, NAME)
    speeds = {
        short.model: measured[one.model]
        for short, one in zip(small.ranked, choice.ranked, strict=True)
        if one.model in measured
    }
    above = [
        *wrap(f"Which base model for {clean(choice.question.task)}?", WIDTH, 1),
        "",
        *(line for sentence in words.verdict(small) for line in wrap(sentence, WIDTH, 4 if small.beaten_by else 2)),
        "",
    ]
    below = ["", *_left(small), *_claims(small), *_changes(small), *wrap(tables.bill(small), WIDTH, 1)]
    return "\n".join([*above, *_standings(small, speeds, LINES - len(above) - len(below)), *below])


def _standings(choice: Choice, speeds: Mapping[str, float], lines: int) -> list[str]:
    found = scored(choice)
    if not found:
        return []
    sure = share(found[0].score.confidence) if found[0].score else ""
    head = f"  accuracy on {plural(choice.items, 'item')}, with {sure} intervals"
    most = lines - 1 if len(found) <= lines - 1 else lines - 2
    kept = found[: max(1, most)]
    bounds = [one.score for one in kept if one.score]
    low, high = min(one.low for one in bounds), max(one.high for one in bounds)
    width = max(columns(one.model) for one in kept)
    rows = [_row(choice, one, speeds, width, low, high) for one in kept]
    rest = [f"  … and {count(len(found) - len(kept))} more"] if len(kept) < len(found) else []
    return [head, *rows, *rest]


def _row(choice: Choice, one: Standing, speeds: Mapping[str, float], width: int, low: float, high: float) -> str:
    assert one.score is not None
    held, speed, kind = lookup.memory(one), speeds.get(one.model), role(choice, one)
    cells = [
        MARKS[kind] + pad(one.model, width),
        f"{percent(one.score.value):>6}",
        _bar(one.score, low, high),
        f"{size(held) if held is not None else '':>8}",
        f"{f'{figure(speed)}/s' if speed else '':>8}",
        words.label(choice, one),
    ]
    return "  ".join(cells).rstrip()


def _bar(score: Interval, low: float, high: float) -> str:
    def place(value: float) -> int:
        return round((value - low) / (high - low) * (BAR - 1)) if high > low else 0

    begin, middle, end = place(score.low), place(score.value), place(score.high)
    return "".join("●" if at == middle else "─" if begin <= at <= end else " " for at in range(BAR))


def _left(choice: Choice) -> list[str]:
    out = [f"{row[0]} ({row[1]}{f', by {row[3]}' if row[3] else ''})" for row in tables.eliminated(choice).rows]
    return wrap(f"Left early: {', '.join(out)}.", WIDTH, 2) if out else []


def _claims(choice: Choice) -> list[str]:
    said = words.claims(choice)
    if not said:
        return []
    head = f"What holds of {lookup.leader(choice)}, the last two with {share(choice.question.confidence)} confidence:"
    return [head, *(line for one in said for line in _bullet(f"{one.scope.lower()}: {one.finding}", 1))]


def _changes(choice: Choice) -> list[str]:
    said = outlook.would_change(choice)[:2]
    return ["What would change it:", *(line for one in said for line in _bullet(one, 2))]


def _bullet(text: str, lines: int) -> list[str]:
    return [("  " if place else "- ") + line for place, line in enumerate(wrap(text, WIDTH - 2, lines))]
