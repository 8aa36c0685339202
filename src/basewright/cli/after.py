"""What `basewright tune` does when the last step is done, for a model that writes: measured, carded, exported, told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basewright import path, tuned
from basewright.cli import show, together
from basewright.errors import UsageError
from basewright.evaluate.task import OwnTask
from basewright.evaluate.task import load as load_task
from basewright.records import Check, Continued, Made, Sample, Surprise, Tuned
from basewright.store import Store

SHOWN = 200
"""Characters of a prompt that are shown."""


@dataclass(frozen=True, slots=True)
class Wishes:
    tasks: tuple[OwnTask, ...]
    """Asked before and after."""
    export: Path | None


@dataclass(frozen=True, slots=True)
class Stands:
    tuned: Made[Tuned]
    page: Path | None
    """None where another process wrote it."""
    merged: tuple[Check, ...] | None
    """Checks of the export; None without one."""


def wishes(keep: tuple[Path, ...], export: Path | None, head: bool) -> Wishes:
    """Before anything is trained. Raises `UsageError` for what cannot be had, and as a task's file does."""
    if head and keep:
        raise UsageError("--keep is for models that write", fix="leave --keep out")
    if export is not None:
        tuned.check_target(export)
    return Wishes(tuple(map(load_task, keep)), export)


def stand(store: Store, run: tuned.Run, wished: Wishes) -> Stands:
    with show.progress("after") as progress:
        done, _ = tuned.finish(store, run, wished.tasks, progress)
        merged = (
            None if wished.export is None else tuned.export(store, run, done.record.measured, wished.export, progress)
        )
    page = tuned.page(run, done, store.root, path.versions()) if together.first() else None
    return Stands(done, page, merged)


def plain(stands: Stands) -> dict[str, Any]:
    done = stands.tuned
    made = {"id": done.id, "folder": str(done.folder), "record": done.record}
    return made | {"page": str(stands.page), "merged": stands.merged}


def words(stands: Stands, run: tuned.Run, wished: Wishes) -> Iterator[str]:
    """What stands, in lines."""
    done = stands.tuned
    yield from _measured(done.record, run.held.name if run.held else "")
    yield f"Folder    {done.folder}"
    yield f"Card      {done.folder / next(name for name in done.record.files if name.endswith('README.md'))}"
    yield f"Page      {stands.page}"
    if wished.export is not None:
        yield f"Export    {wished.export}"
    yield f"Ask it    basewright complete {done.id} --text '…'"


def _measured(record: Tuned, held: str) -> Iterator[str]:
    measured = record.measured
    if judged := measured.judged:
        gain = judged.gain.difference
        verdict = "separated" if judged.gain.separated else "not separated"
        yield (
            f"Held      {judged.metric} {judged.before.value:.1%} → {judged.after.value:.1%} on {gain.n} rows of "
            f"{held} ({gain.low:+.1%} to {gain.high:+.1%}, {verdict}); {judged.how}"
        )
    if measured.held:
        yield f"Loss      {_moved(measured.held)}"
    yield f"General   {_moved(measured.general)}"
    for one in measured.tasks.tasks if measured.tasks else ():
        yield f"Task      {one.task}: {one.metric} {one.second.value:.4f} → {one.first.value:.4f}, {one.verdict}"
    if measured.samples:
        yield "\n" + "\n".join(map(_sample, measured.samples)) + "\n"


def _moved(one: Surprise) -> str:
    change, texts = one.change, f"{one.texts} texts"
    bounds = "no interval" if change.high - change.low > 1e300 else f"{change.low:+.4f} to {change.high:+.4f}"
    return f"{one.before:.4f} → {one.after:.4f} {one.unit} on {texts} ({bounds})"


def _sample(one: Sample) -> str:
    def said(who: str, wrote: Continued) -> str:
        end = "ended by itself" if wrote.finish == "stop" else "cut by the limit"
        return f"  {who:<8}{wrote.text!r}  ({end})"

    asked = one.asked if len(one.asked) <= SHOWN else "… " + one.asked[-SHOWN:]
    return "\n".join(
        [f"Prompt    {asked!r}", f"  {'row':<8}{one.expected!r}", said("base", one.before), said("tuned", one.after)]
    )
