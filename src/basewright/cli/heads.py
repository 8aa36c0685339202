"""What `basewright tune` does beside where labels come from a classification head: checked, scored, shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.data.prepare import Prepared
    from basewright.records import Adapter, Checkpoint, Interval, Made, Scores
    from basewright.store import Store
    from basewright.train.objectives import Objective

SHOWN = {"accuracy": "accuracy", "macro-F1": "macro_f1"}


def check(start: Path, objective: Objective) -> None:
    """An adapter with a head is continued with the same classes by the same numbers, and no other with a head.

    Raises `UsageError`.
    """
    from basewright.errors import UsageError
    from basewright.records import Adapter
    from basewright.store import RECORD, load
    from basewright.train.objectives import Labelled

    head = objective.head if isinstance(objective, Labelled) else None
    known = (start.parent / RECORD).is_file()
    if (known and load(start.parent, Adapter).record.head != head) or (head and not known):
        raise UsageError(
            "the adapter to continue was tuned for other labels, or without a head",
            fix="leave --from out, or give rows with the labels it has, and --head if it has one",
        )


def scores(store: Store, made: Made[Adapter] | Made[Checkpoint], prepared: Prepared, tested: Prepared) -> Scores:
    """Of the head on the held-out rows."""
    from basewright.evaluate import heads
    from basewright.records import Item, Scores
    from basewright.serve.heads import open_result

    pairs = zip(tested.classified, tested.rows, strict=True)
    items = [Item(id=one.id, text=row.asked, label=one.label) for one, row in pairs]
    with show.progress("test") as progress:
        scores, _ = store.make(
            "scores",
            {"items": items, "learned": prepared.labels},
            Scores,
            lambda _: heads.run(
                open_result(made.folder), items, task=tested.name, learned=prepared.labels, progress=progress
            ),
            parents=(made.id,),
        )
    return scores.record


def scored(scores: Scores | None) -> list[str]:
    if scores is None:
        return []
    shown = [f"{name} {_interval(scores.metrics[key])}" for name, key in SHOWN.items()]
    return [f"Test      {', '.join(shown)}, n = {scores.expected:,}; the most frequent label {scores.majority:.1%}"]


def _interval(found: Interval) -> str:
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"


def following(made: Made[Adapter] | Made[Checkpoint], export: Path | None) -> list[str]:
    written = [] if export is None else [f"Export    {export}"]
    return [f"Folder    {made.folder}", *written, f'Next      basewright classify {made.id} "TEXT"']
