"""`basewright compare`: is one model better than another, and on what?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.records import Comparisons, Flip, Made, Scores, Separation, TaskComparison

SPLITS = ("all", "test")
HEAD = ("task", "metric", "items", "first", "second", "difference", "p (Holm)", "detectable", "first is")
VERDICTS: dict[Separation, str] = {
    "better": "is better than {} on",
    "worse": "is worse than {} on",
    "cannot be separated": "cannot be separated from {} on",
}
WIDE = 60
"""Characters of an answer that are shown."""
UNBOUNDED = 1e300
"""One item of a metric bounds no mean."""


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="That no difference is named where there is none, over all tasks.",
)
@click.option("--items", type=click.IntRange(0), default=0, help="Show so many items of each task that came out apart.")
@show.runs_option
@show.json_option
def command(first: str, second: str, confidence: float, items: int, runs: Path, as_json: bool) -> None:
    """Compare FIRST with SECOND, models that were scored before (the newest score of each task), or ids of scores.

    \b
    basewright compare foundling-prose foundling-code
    """
    from basewright.evaluate.compare import compare

    known = _known(runs)
    found = compare(_scores(first, known), _scores(second, known), confidence)
    if found.first == found.second:  # one model made in two ways; the ids tell them apart
        found = replace(found, first=first, second=second)
    show.result(_text(found, items), found, as_json)
    show.hint(
        "detectable: a true difference so large is found four times in five; - where too few items differ for any"
    )
    for one in found.skipped:
        show.hint(f"{one.task} is not compared: {one.reason}")
    for task in found.tasks:
        for note in task.notes:
            show.hint(f"{task.task}: {note}")
    if not items and any(task.flips for task in found.tasks):
        show.hint("--items 5 shows items they were scored differently on")


def _known(runs: Path) -> list[Made[Scores]]:
    """Every whole record of scores, newest first."""
    from basewright.records import Scores

    store = show.open_store(runs)
    ids = [stamp.id for stamp in store.all() if stamp.kind == "scores"]
    found = (store.find("scores", name.removeprefix("scores-"), Scores) for name in ids)
    return [made for made in found if made]


def _scores(what: str, known: list[Made[Scores]]) -> list[Scores]:
    """The scores with this id, or the newest of each task for the model of this name. Raises `UsageError`."""
    from basewright.errors import UsageError, nearest

    if chosen := [made.record for made in known if made.id == what]:
        return chosen
    newest: dict[str, Scores] = {}
    for made in known:
        if made.record.model == what and made.record.split in SPLITS:
            newest.setdefault(made.record.task, made.record)
    if not newest:
        names = {made.record.model for made in known if made.record.split in SPLITS}
        raise UsageError(f"{what!r} has no scores; {nearest(what, names)}", fix="basewright runs --kind scores")
    return [newest[task] for task in sorted(newest)]


def _text(found: Comparisons, items: int) -> str:
    """The table, what came out apart, and the verdict in a sentence."""
    lines = [f"first: {found.first}   second: {found.second}", show.table([_row(one) for one in found.tasks], HEAD)]
    for task in found.tasks:
        if task.flips and items:
            shown = [_flip_row(flip) for flip in task.flips[:items]]
            lines += ["", f"{task.task}: {len(task.flips)} items came out apart"]
            lines.append(show.table(shown, ("item", task.metric, "first answered", "second answered")))
    return "\n".join([*lines, "", verdict(found)])


def _row(one: TaskComparison) -> tuple[str, ...]:
    gap = one.difference
    return (
        one.task,
        one.metric,
        str(gap.n),
        f"{one.first.value:.4f}",
        f"{one.second.value:.4f}",
        f"{gap.value:+.4f} [{_bound(gap.low)}, {_bound(gap.high)}]",
        f"{one.adjusted:.4f}",
        "-" if one.detectable is None else f"{one.detectable:.4f}",
        one.verdict,
    )


def _flip_row(flip: Flip) -> tuple[str, ...]:
    answers = (repr(answer) for answer in (flip.first, flip.second))
    return flip.item, f"{flip.delta:+.4g}", *(one if len(one) <= WIDE else one[: WIDE - 1] + "…" for one in answers)


def _bound(value: float) -> str:
    if abs(value) < UNBOUNDED:
        return f"{value:+.4f}"
    return "+∞" if value > 0 else "-∞"


def verdict(found: Comparisons) -> str:
    """One sentence: on which tasks the first is better, worse, or neither."""
    parts = []
    for word, words in VERDICTS.items():
        if names := [one.task for one in found.tasks if one.verdict == word]:
            parts.append(f"{words.format(found.second)} {', '.join(names)}")
    return f"With confidence {found.confidence:g}, {found.first} {'; '.join(parts)}."
