"""Classification by log-likelihood: the label whose continuation the model finds likeliest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from basewright.data.task import shots as pick_shots
from basewright.engine.lm import LM, Request
from basewright.errors import UsageError
from basewright.evaluate import how
from basewright.records import Comparison, Item, ItemScore, Progress, Scores, Task, silent
from basewright.stats import intervals, paired
from basewright.text import layout as layouts

NORMALISATION = "sum of token log-likelihoods"


def run(
    lm: LM,
    task: Task,
    split: Literal["choose", "test"],
    *,
    model: str,
    few_shot: bool,
    weights: str = "",
    confidence: float = 0.95,
    progress: Progress = silent,
) -> Scores:
    """Score `lm` on a held-out part of `task`: few-shot for an untuned model, the bare prompt for a tuned one."""
    items: tuple[Item, ...] = getattr(task, split)
    scores = ask(lm, task, items, few_shot=few_shot, progress=progress)
    asked = prompts(task, items, few_shot)
    shots = min(task.shots, len(task.train)) if few_shot else 0
    return Scores(
        model=model,
        task=task.name,
        version=task.version,
        split=split,
        metrics={
            "accuracy": intervals.proportion(sum(score.correct for score in scores), len(scores), confidence),
            "bits": intervals.mean([score.bits for score in scores], confidence),
        },
        majority=_majority(task, items),
        items=scores,
        expected=len(items),
        how=how.made(lm, asked, shots=shots, sampler="fixed", normalisation=NORMALISATION, weights=weights),
    )


def ask(
    lm: LM, task: Task, items: Sequence[Item], *, few_shot: bool, progress: Progress = silent
) -> tuple[ItemScore, ...]:
    """The label the model finds likeliest for each item, in order. Raises `DataError` for a prompt that is too long."""
    continuations = tuple(layouts.target(label) for label in task.labels)
    requests = [Request(text, continuations) for text in prompts(task, items, few_shot)]
    answers = lm.loglikelihood(requests, progress)
    return tuple(
        _score(item, task.labels, [one.nats for one in answer]) for item, answer in zip(items, answers, strict=True)
    )


def prompts(task: Task, items: Sequence[Item], few_shot: bool) -> list[str]:
    """What is put before each label: the bare prompt, or solved examples and the prompt."""
    shots = pick_shots(task.train, task.shots) if few_shot else []
    return [layouts.few_shot(task.layout, shots, item.text) for item in items]


def same_items(first: Scores, second: Scores, confidence: float) -> Comparison:
    """Compare two scores item by item. Raises `UsageError` when they are not about the same items."""
    if [score.item for score in first.items] != [score.item for score in second.items]:
        raise UsageError(
            f"{first.model} and {second.model} were scored on other items", fix="score both on the same task and split"
        )
    return paired.compare(
        first.model,
        [score.correct for score in first.items],
        second.model,
        [score.correct for score in second.items],
        confidence,
    )


def _score(item: Item, labels: Sequence[str], nats: Sequence[float]) -> ItemScore:
    """Ties go to the first label in order; the surprise is over the labels, renormalised."""
    answer = labels[nats.index(max(nats))]
    values = {"accuracy": float(answer == item.label), "bits": surprise(nats, labels.index(item.label))}
    return ItemScore(item=item.id, answer=answer, values=values)


def surprise(nats: Sequence[float], right: int) -> float:
    """-log2 of the probability of the right one among all that could be chosen, renormalised."""
    top = max(nats)
    total = top + math.log(sum(math.exp(value - top) for value in nats))
    return (total - nats[right]) / math.log(2)


def _majority(task: Task, items: Sequence[Item]) -> float:
    counts = Counter(item.label for item in task.train)
    commonest = min(counts, key=lambda label: (-counts[label], label))
    return sum(item.label == commonest for item in items) / len(items)
