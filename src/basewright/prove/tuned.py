"""What stands after a tuning: on held-out rows, on general text, on other tasks, and in its own words."""

from __future__ import annotations

from collections.abc import Sequence

from basewright import store
from basewright.data.prepare import Prepared, plainly, wanted
from basewright.data.rows import identity
from basewright.engine.lm import LM
from basewright.evaluate import compare
from basewright.evaluate import run as own
from basewright.evaluate.task import OwnTask
from basewright.prove import held as measures
from basewright.records import (
    Comparisons,
    Item,
    Judged,
    Layout,
    Ledger,
    Measured,
    Preference,
    Progress,
    Task,
)
from basewright.text import encode

CONFIDENCE = 0.95


def measure(
    base: LM,
    tuned: LM,
    learned: Prepared,
    held: Prepared | None,
    layout: Layout,
    texts: tuple[str, ...],
    tasks: Sequence[OwnTask],
    progress: Progress,
) -> Measured:
    """`learned` are the training rows, `held` rows of which none was learned, `texts` general ones, `tasks` others."""
    rows = [] if held is None else [encode.pieces(tuned.tokenizer, one) for one in wanted(held)]
    return Measured(
        held=measures.surprise(base, tuned, rows, CONFIDENCE, progress) if rows else None,
        judged=_judged(base, tuned, learned, held, layout, progress) if held is not None and rows else None,
        general=measures.general(base, tuned, texts, CONFIDENCE, progress),
        tasks=_tasks(base, tuned, tasks, progress),
        samples=measures.samples(base, tuned, rows, progress) if rows else (),
    )


def _judged(
    base: LM, tuned: LM, learned: Prepared, held: Prepared, layout: Layout, progress: Progress
) -> Judged | None:
    """By what the rows are: labels, pairs of a better and a worse answer, or one short answer."""
    if held.shape == "text-label" and held.chat is None:
        return measures.labels(base, tuned, labelled(learned, held, layout), CONFIDENCE, progress)
    pairs = [one for one in held.taught if isinstance(one, Preference)]
    if pairs:
        return measures.preferred(base, tuned, pairs, CONFIDENCE, progress)
    rows = list(zip(wanted(held), plainly(held), strict=True))
    return measures.greedy(base, tuned, plainly(learned), rows, CONFIDENCE, progress)


def labelled(learned: Prepared, held: Prepared, layout: Layout) -> Task:
    """Rows of text and label as a task: shots from what was learned, the held-out rows to be answered."""
    train, test = _items(learned), _items(held)
    names = tuple(sorted({item.label for item in (*train, *test)}))
    count = sum(fate.rows for fate in held.ledger.fates if fate.what in ("duplicate", "near-duplicate"))
    return Task(
        name=held.name,
        version=store.digest([train, test, layout])[:16],
        kind="classify",
        labels=names,
        layout=layout,
        shots=max(measures.SHOTS),
        train=train,
        choose=(),
        test=test,
        ledger=Ledger(
            read=held.ledger.read, used=len(test), duplicates=count, near_duplicates=0, duplicate_examples=()
        ),
    )


def _items(data: Prepared) -> tuple[Item, ...]:
    return tuple(Item(id=identity(row.turns[0].text), text=row.turns[0].text, label=row.answer) for row in data.rows)


def _tasks(base: LM, tuned: LM, tasks: Sequence[OwnTask], progress: Progress) -> Comparisons | None:
    if not tasks:
        return None
    after, before = (
        [own.run(lm, task, weights=lm.name, confidence=CONFIDENCE, progress=progress) for task in tasks]
        for lm in (tuned, base)
    )
    return compare.compare(after, before, CONFIDENCE)
