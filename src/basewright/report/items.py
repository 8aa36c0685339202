"""What tuning changed, item by item: which it put right, which it got wrong, and label by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import starmap

from basewright.pages.phrases import count, percent, plural
from basewright.pages.sheet import Table
from basewright.records import Built, Item, ItemScore, record

SHOWN = 100
"""Items of one kind that the page holds; the release's proof.json has every answer."""
LETTERS = 800
"""Of an item's text."""


@record
class Flips:
    """Items whose answer became right, or wrong."""

    number: int
    table: Table
    left_out: int


def gained(built: Built) -> Flips:
    """Wrong before, right after; the largest fall of surprise first."""
    return _flips(built, lambda before, after: after.correct and not before.correct)


def lost(built: Built) -> Flips:
    """Right before, wrong after; the largest rise of surprise first."""
    return _flips(built, lambda before, after: before.correct and not after.correct)


def _flips(built: Built, kept: Callable[[ItemScore, ItemScore], bool]) -> Flips:
    found = [pair for pair in _pairs(built) if kept(pair[1], pair[2])]
    found.sort(key=lambda pair: -abs(pair[1].bits - pair[2].bits))
    rows = tuple(starmap(_row, found[:SHOWN]))
    head = ("Text", "Right answer", "Before", "After")
    return Flips(number=len(found), table=Table(head=head, rows=rows), left_out=max(0, len(found) - SHOWN))


def _pairs(built: Built) -> list[tuple[Item, ItemScore, ItemScore]]:
    """Each test item with its answers before and after. The proof compared the two in this order."""
    items = {item.id: item for item in built.task.test}
    proof = built.proof.record
    return [
        (items[before.item], before, after) for before, after in zip(proof.before.items, proof.after.items, strict=True)
    ]


def _row(item: Item, before: ItemScore, after: ItemScore) -> tuple[str, ...]:
    text = item.text if len(item.text) <= LETTERS else f"{item.text[:LETTERS]} …"
    return text, item.label, before.answer, after.answer


def by_label(built: Built) -> Table:
    """How often each label is found, before and after, and what it is then taken for."""
    rows = []
    for label in built.task.labels:
        pairs = [pair for pair in _pairs(built) if pair[0].label == label]
        if pairs:
            found_before = sum(before.correct for _, before, _ in pairs) / len(pairs)
            found_after = sum(after.correct for _, _, after in pairs) / len(pairs)
            rows.append((label, count(len(pairs)), percent(found_before), percent(found_after), _taken_for(pairs)))
    return Table(head=("Label", "Items", "Found before", "Found after", "Then most often taken for"), rows=tuple(rows))


def _taken_for(pairs: list[tuple[Item, ItemScore, ItemScore]]) -> str:
    wrong = Counter(after.answer for _, _, after in pairs if not after.correct)
    if not wrong:
        return ""
    answer, times = min(wrong.items(), key=lambda one: (-one[1], one[0]))
    return f"{answer}, {plural(times, 'time')}"
