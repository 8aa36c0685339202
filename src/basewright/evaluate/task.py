"""A task's file and its data become questions: the same ones, in the same order, for every model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from basewright import store
from basewright.evaluate import depth, items, shots, spec
from basewright.evaluate.items import Row
from basewright.evaluate.kinds.table import KINDS
from basewright.evaluate.question import Question
from basewright.evaluate.spec import PromptedSpec, TaskSpec

NOT_ASKED: dict[str, Any] = {"name": True, "data": True, "shots_data": True, "columns": True, "depth": {"filler"}}
"""Settings that say where things are; what is read from there is in the version by itself."""


@dataclass(frozen=True, slots=True)
class Material:
    """What was read from the files of a task."""

    rows: tuple[Row, ...]
    shots: tuple[Row, ...] | None = None
    """None: from the other rows."""
    filler: str = ""
    duplicates: int = 0
    """Rows left out because an earlier one has the same content."""


@dataclass(frozen=True, slots=True)
class OwnTask:
    spec: TaskSpec
    version: str
    """Hash of the questions, the shots to pick from, and how it is asked."""
    questions: tuple[Question, ...]
    """Ordered by a hash of their ids: the order of the file means nothing, and the first few are a sample."""
    pool: tuple[Question, ...]
    material: Material


def load(path: Path) -> OwnTask:
    """Read a task's TOML file and the data beside it. Raises `UsageError` or `DataError`."""
    found = spec.read(path)
    rows = items.read(path.parent / found.data, found.columns)
    material = Material(rows=rows.rows, duplicates=rows.duplicates)
    if isinstance(found, PromptedSpec) and found.shots_data:
        material = replace(material, shots=items.read(path.parent / found.shots_data, found.columns).rows)
    if isinstance(found, PromptedSpec) and found.depth:
        material = replace(material, filler=items.read_text(path.parent / found.depth.filler))
    return make(found, material)


def make(stated: TaskSpec, material: Material) -> OwnTask:
    """The questions of a task. Raises `DataError` for a row that cannot be asked."""
    kind = KINDS[stated.kind]
    settled = kind.settle(stated, [*material.rows, *(material.shots or ())])
    section = settled.depth if isinstance(settled, PromptedSpec) else None
    words = depth.words(material.filler, section.words) if section else []
    questions = _ordered(one for row in material.rows for one in _asked(settled, row, words))
    pool = _pool(settled, material)
    asked = settled.model_dump(mode="json", exclude=NOT_ASKED)
    version = store.digest({"questions": questions, "pool": pool, "asked": asked})[:16]
    return OwnTask(spec=settled, version=version, questions=questions, pool=pool, material=material)


def _asked(settled: TaskSpec, row: Row, filler: Sequence[str]) -> list[Question]:
    """The questions of a row: one, or one for each depth, all of which have the row's own key."""
    kind = KINDS[settled.kind]
    if not isinstance(settled, PromptedSpec) or settled.depth is None:
        return [kind.question(settled, row)]
    key = kind.question(settled, depth.bare(row)).key
    return [replace(kind.question(settled, one), key=key) for one in depth.expand(row, settled.depth, filler)]


def _pool(settled: TaskSpec, material: Material) -> tuple[Question, ...]:
    if not isinstance(settled, PromptedSpec) or not settled.shots:
        return ()
    rows = material.rows if material.shots is None else material.shots
    solved = [KINDS[settled.kind].question(settled, depth.bare(row) if settled.depth else row) for row in rows]
    return _ordered(solved) if material.shots is None else tuple(solved)


def _ordered(questions: Iterable[Question]) -> tuple[Question, ...]:
    return tuple(sorted(questions, key=lambda one: (shots.number(one.id), one.id)))
