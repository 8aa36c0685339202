"""An own task and a model become `Scores`."""

from __future__ import annotations

from collections.abc import Sequence

from basewright.engine.lm import LM
from basewright.errors import UsageError
from basewright.evaluate import asking, how, metrics, shots
from basewright.evaluate.asking import Prompted
from basewright.evaluate.kinds.table import KINDS
from basewright.evaluate.question import Judged, Question, Runs
from basewright.evaluate.spec import GenerationSpec, PromptedSpec, TaskSpec
from basewright.evaluate.task import OwnTask
from basewright.records import How, Interval, ItemScore, Progress, Scores, silent


def run(
    lm: LM,
    task: OwnTask,
    *,
    weights: str = "",
    confidence: float = 0.95,
    limit: int | None = None,
    progress: Progress = silent,
) -> Scores:
    """Score `lm` on a task (`task.load`), on a sample of `limit` items where that is given.

    Raises `DataError` for a prompt that the model cannot see whole, where the task does not say `overflow = "cut"`.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} items leaves nothing to score", fix="give a limit of 1 or more")
    spec, kind = task.spec, KINDS[task.spec.kind]
    questions = task.questions[:limit]
    asked = _prompted(lm, task, questions)
    answers = asking.ask(lm, spec, asked, progress)
    judged = [kind.judge(spec, one.question, answer) for one, answer in zip(asked, answers, strict=True)]
    runs = [judged[first : first + len(questions)] for first in range(0, len(judged), len(questions))]
    return Scores(
        model=lm.name,
        task=spec.name,
        version=task.version,
        split="all",
        metrics=_metrics(spec, runs, confidence) | _spread(spec, runs, confidence),
        majority=metrics.commonest([question.label for question in questions]),
        items=tuple(_item(same) for same in zip(*runs, strict=True)),
        expected=len(task.questions),
        how=_how(lm, spec, asked, weights),
        parts=_parts(spec, runs, confidence),
    )


def _prompted(lm: LM, task: OwnTask, questions: Sequence[Question]) -> list[Prompted]:
    """The questions with their shots, and again for every further order of the shots."""
    if not isinstance(task.spec, PromptedSpec):
        return [asking.prompted(lm, task.spec, question, []) for question in questions]
    pick = shots.picker(task.spec, task.pool)
    picked = [pick(question) for question in questions]
    return [
        asking.prompted(lm, task.spec, question, [own[place] for place in order])
        for order in shots.orders(task.spec.orders, task.spec.shots, task.spec.seed)
        for question, own in zip(questions, picked, strict=True)
    ]


def _metrics(spec: TaskSpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    return KINDS[spec.kind].metrics(spec, runs, confidence)


def _spread(spec: TaskSpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    """The main metric in the order of shots where it is lowest, and where it is highest."""
    if len(runs) == 1:
        return {}
    each = [next(iter(_metrics(spec, [run], confidence).items())) for run in runs]
    name = each[0][0]
    found = sorted((interval for _, interval in each), key=lambda interval: interval.value)
    return {f"{name}_lowest_order": found[0], f"{name}_highest_order": found[-1]}


def _parts(spec: TaskSpec, runs: Runs, confidence: float) -> dict[str, dict[str, Interval]]:
    names = sorted({part for one in runs[0] for part in one.question.parts})
    return {
        name: _metrics(spec, [[one for one in run if name in one.question.parts] for run in runs], confidence)
        for name in names
    }


def _item(same: Sequence[Judged]) -> ItemScore:
    """The answer is that of the first order of the shots, each value the mean over all."""
    first = same[0]
    values = {name: metrics.averages(name, [[one] for one in same])[0] for name in first.values}
    return ItemScore(item=first.question.id, answer=first.answer, values=values, group=first.question.group)


def _how(lm: LM, spec: TaskSpec, asked: Sequence[Prompted], weights: str) -> How:
    shown, sampler = (spec.shots, spec.sampler) if isinstance(spec, PromptedSpec) else (0, "none")
    return how.made(
        lm,
        [
            context
            for one in asked
            for ask, context in zip(one.question.asks, one.contexts, strict=True)
            if not ask.bare
        ],
        shots=shown,
        sampler=sampler,
        normalisation=KINDS[spec.kind].normalisation(spec),
        weights=weights,
        stops=tuple(spec.stops) if isinstance(spec, GenerationSpec) else (),
        cut=sum(one.cut for one in asked),
    )
