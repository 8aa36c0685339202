"""Labelled rows and a layout become a `Task`: the same items, split and shots for every model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from basewright import store
from basewright.data import rows, split
from basewright.errors import DataError, nearest
from basewright.records import Item, Layout, Task
from basewright.text import layout as layouts


def make(
    name: str,
    data: Path,
    *,
    columns: tuple[str, str] = rows.COLUMNS,
    choose: float,
    test: float | Path,
    layout: Layout,
    shots: int,
) -> Task:
    """Read, check, deduplicate and split. Raises `DataError` or `Refused` (a test file that overlaps).

    `columns` are the names of the text's and of the label's.
    """
    layouts.check(layout)
    items, ledger = split.deduplicate(rows.read(data, columns))
    labels = rows.check_labels(items, data.name)
    if isinstance(test, Path):
        parts = split.divide(items, choose=choose)
        parts["test"] = tuple(split.deduplicate(rows.read(test, columns))[0])
        split.refuse_overlap(items, parts["test"], test.name)
        _refuse_unknown_labels(parts["test"], labels, test.name)
    else:
        parts = split.divide(items, choose=choose, test=test)
    content = {"items": parts, "layout": layout, "shots": shots}
    return Task(
        name=name,
        version=store.digest(content)[:16],
        kind="classify",
        labels=labels,
        layout=layout,
        shots=shots,
        train=parts["train"],
        choose=parts["choose"],
        test=parts["test"],
        ledger=ledger,
    )


def _refuse_unknown_labels(items: Sequence[Item], labels: Sequence[str], where: str) -> None:
    for item in items:
        if item.label not in labels:
            raise DataError(
                f"{where} has label {item.label!r}, which no training row has; {nearest(item.label, labels)}",
                fix="correct the label, or add training rows with it",
            )


def shots(items: Sequence[Item], count: int) -> list[Item]:
    """`count` solved examples for a prompt: the labels in turn, within a label in order of id."""
    by_label: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.id):
        by_label.setdefault(item.label, []).append(item)
    queues = [by_label[label] for label in sorted(by_label)]
    picked: list[Item] = []
    while len(picked) < count and any(queues):
        for queue in queues:
            if queue and len(picked) < count:
                picked.append(queue.pop(0))
    return picked
