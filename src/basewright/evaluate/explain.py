"""How far a score moves when only the way of asking changes: the start token, the layout, the normalisation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from basewright.engine.lm import LM
from basewright.errors import DataError
from basewright.evaluate import metrics
from basewright.evaluate import task as tasks
from basewright.evaluate.kinds.choice import METRICS
from basewright.evaluate.run import run
from basewright.evaluate.spec import ChoiceSpec, GenerationSpec, PromptedSpec, RatingSpec, TaskSpec
from basewright.evaluate.task import OwnTask
from basewright.records import Interval, Progress, Scores, record, silent
from basewright.stats import paired

SHOTS = 5
"""Shown in a task that has none."""
LEADS = {"": "nothing", " ": "a space", "\n": "a new line"}
SEPARATORS = {"\n": "a new line", "\n\n": "an empty line"}


@record
class Change:
    what: str
    score: Interval | None
    """The task's main metric; None where it cannot be asked so, and `note` says why."""
    difference: Interval | None
    """Less the score of the task as it stands, paired by item."""
    note: str = ""


def explain(
    lm: LM, task: OwnTask, *, confidence: float = 0.95, limit: int | None = None, progress: Progress = silent
) -> list[Change]:
    """The score as the task stands, then with one thing changed at a time, all on the same items.

    Raises like `run` for the task as it stands.
    """
    base = run(lm, task, confidence=confidence, limit=limit, progress=progress)
    main = next(iter(base.metrics))
    found = [Change(what="as it stands", score=base.metrics[main], difference=None)]
    if isinstance(task.spec, ChoiceSpec):  # these are known already
        others = [name for name in METRICS.values() if name != main]
        found += [_change(f"normalisation: {name}", base, name, base, confidence) for name in others]
    for what, other, update in _variants(lm, task.spec):
        try:
            asked = tasks.make(task.spec.model_copy(update=update), task.material)
            scores = run(other, asked, confidence=confidence, limit=limit, progress=progress)
        except DataError as error:
            found.append(Change(what=what, score=None, difference=None, note=error.message))
        else:
            found.append(_change(what, scores, main, base, confidence))
    return found


def _change(what: str, scores: Scores, name: str, base: Scores, confidence: float) -> Change:
    main = next(iter(base.metrics))
    new, old = [item.values[name] for item in scores.items], [item.values[main] for item in base.items]
    groups = [item.group for item in base.items]
    if main == "bits_per_byte":  # a long document weighs more
        sizes = [item.values["bytes"] for item in base.items]
        moved = [(a - b) * size for a, b, size in zip(new, old, sizes, strict=True)]
        difference = metrics.ratio(moved, sizes, groups, confidence)
    else:
        difference = paired.interval(new, old, groups, confidence)
    return Change(what=what, score=scores.metrics[name], difference=difference)


def _variants(lm: LM, spec: TaskSpec) -> Iterator[tuple[str, LM, dict[str, Any]]]:
    """(what changes, the model to ask, the settings that change)."""
    if lm.tokenizer.bos_id is not None:
        what = "without the start token" if lm.tokenizer.bos else "with the start token"
        yield what, _flipped(lm), {}
    if isinstance(spec, RatingSpec):
        other = "expected" if spec.decision == "likeliest" else "likeliest"
        yield f"the {other} number", lm, {"decision": other}
    if isinstance(spec, PromptedSpec):
        yield from ((what, lm, update) for what, update in _layouts(spec))


def _layouts(spec: PromptedSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    bare = spec.answer.lstrip()
    if spec.shots or not isinstance(spec, GenerationSpec):  # what a model writes is only shown how to begin
        for lead, name in LEADS.items():
            if lead + bare != spec.answer:
                yield f"{name} before the answer", {"answer": lead + bare}
    if not spec.shots:
        yield f"{SHOTS} shots", {"shots": SHOTS}
        return
    yield "no shots", {"shots": 0, "orders": 1}
    for separator, name in SEPARATORS.items():
        if separator != spec.separator:
            yield f"{name} between shots", {"separator": separator}


def _flipped(lm: LM) -> LM:
    """The same model, which is told to do the other thing about the start token."""
    other: Any = copy.copy(lm)
    other.tokenizer = replace(lm.tokenizer, bos=not lm.tokenizer.bos)
    return cast(LM, other)
