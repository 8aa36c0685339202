"""Two models on the same tasks: where one is better, by how much, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from basewright.errors import UsageError
from basewright.records import Comparisons, Flip, How, NotCompared, Scores, Separation, TaskComparison
from basewright.stats import intervals, multiple, paired, permutation

LOWER_IS_BETTER = {
    "bits", "bits_per_byte", "byte_perplexity", "word_perplexity", "perplexity", "brier_score", "mean_absolute_error",
    "ter", "wer",
}  # fmt: skip
LOGGED = {"byte_perplexity", "word_perplexity", "perplexity"}
"""Compared by their logarithms: of all items together they are a geometric mean."""
SAME = ("shots", "sampler", "normalisation", "stops")
"""Of `How`: scores made differently in these are of different questions."""
STATED = ("engine", "precision", "bos", "cut")
"""Of `How`: these come with the model and the machine, and are told beside the result."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One task's items as both models were scored on them, in one order."""

    first: Scores
    second: Scores
    metric: str
    values: tuple[list[float], list[float]]
    groups: list[str]
    flips: tuple[Flip, ...]

    @property
    def deltas(self) -> list[float]:
        return [a - b for a, b in zip(*self.values, strict=True)]


def compare(first: Sequence[Scores], second: Sequence[Scores], confidence: float = 0.95) -> Comparisons:
    """Compare two models on every task both were scored on, at most one score a task on each side.

    By the main metric over the same items: its difference with an interval (`stats.paired.interval`), and a p-value,
    McNemar's exact one for right or wrong answers, else (or where items share a group, whose errors are not
    independent) that of the sign-flip test. p-values are adjusted by Holm over the tasks, so that where the models
    are equal a difference is named on any task with probability 1 - `confidence` at most. Tasks that cannot be
    compared are listed with the reason: scores that are partial (H080), of another version, split or items, or asked
    otherwise. Raises `UsageError` where nothing can be compared.
    """
    found = {scores.task: scores for scores in second}
    pairs, skipped = [], []
    for scores in first:
        other = found.get(scores.task)
        one = _pair(scores, other) if other else f"only {scores.model} was scored on it"
        if isinstance(one, str):
            skipped.append(NotCompared(task=scores.task, reason=one))
        else:
            pairs.append(one)
    known = {scores.task for scores in first}
    for scores in second:
        if scores.task not in known:
            skipped.append(NotCompared(task=scores.task, reason=f"only {scores.model} was scored on it"))
    if not pairs:
        raise UsageError(
            "nothing to compare: " + ("; ".join(f"{one.task}: {one.reason}" for one in skipped) or "no scores"),
            fix="score both models on the whole of the same task, in the same way",
        )
    return Comparisons(
        first=first[0].model,
        second=second[0].model,
        confidence=confidence,
        tasks=tuple(_tested(pairs, confidence)),
        skipped=tuple(skipped),
    )


# --- may they be compared? ------------------------------------------------------------------------


def _pair(first: Scores, second: Scores) -> _Pair | str:
    """The two scores item by item, or why they do not compare."""
    for scores in (first, second):
        if len(scores.items) != scores.expected:
            return (
                f"{scores.model} was scored on {len(scores.items)} of {scores.expected} items: partial, ranks nothing"
            )
    if differing := _differing(first, second):
        return "; ".join(differing)
    ours, theirs = ({item.item: item for item in scores.items} for scores in (first, second))
    if len(ours) < len(first.items):
        return "items share an id"
    if ours.keys() != theirs.keys():
        apart = sorted(ours.keys() ^ theirs.keys())
        return f"{len(apart)} items are of one side only, {apart[0]} for instance"
    metric = next(iter(first.metrics))
    if not all(metric in item.values for item in (*first.items, *second.items)):
        return f"{metric} is of all items together; there is nothing to pair"
    rows = [(ours[name], theirs[name]) for name in ours]
    values = [a.values[metric] for a, _ in rows], [b.values[metric] for _, b in rows]
    if metric in LOGGED:
        if min(map(min, values)) <= 0:
            return f"{metric} of an item is {min(map(min, values)):g}, which is none"
        metric = f"log {metric}"
        values = [math.log(one) for one in values[0]], [math.log(one) for one in values[1]]
    flips = [
        Flip(item=a.item, first=a.answer, second=b.answer, delta=x - y)
        for (a, b), x, y in zip(rows, *values, strict=True)
        if x != y
    ]
    return _Pair(
        first=first,
        second=second,
        metric=metric,
        values=values,
        groups=[a.group for a, _ in rows],
        flips=tuple(sorted(flips, key=lambda flip: -abs(flip.delta))),
    )


def _differing(first: Scores, second: Scores) -> list[str]:
    """What makes the two scores answers to different questions."""
    facts = [
        ("version", first.version, second.version),
        ("split", first.split, second.split),
        ("main metric", next(iter(first.metrics)), next(iter(second.metrics))),
        *((name, getattr(first.how, name), getattr(second.how, name)) for name in SAME),
    ]
    found = [f"{name} {a!r} against {b!r}" for name, a, b in facts if a != b]
    if first.how.prompt != second.how.prompt and not first.how.cut and not second.how.cut:
        found.append("the first prompt reads otherwise")
    return found


def _stated(first: How, second: How) -> list[str]:
    facts = [(name, getattr(first, name), getattr(second, name)) for name in STATED]
    found = [f"{name} {a} against {b}" for name, a, b in facts if a != b]
    if first.prompt_hash != second.prompt_hash:
        found.append("the prompts are other tokens")
    return found


# --- are they different? --------------------------------------------------------------------------


def _tested(pairs: Sequence[_Pair], confidence: float) -> list[TaskComparison]:
    tests = [_test(one) for one in pairs]
    adjusted = multiple.holm([p for _, p in tests])
    alpha = 1 - paired.family_confidence(confidence, len(pairs))
    return [
        _compared(one, test, p, corrected, confidence, alpha)
        for one, (test, p), corrected in zip(pairs, tests, adjusted, strict=True)
    ]


def _compared(one: _Pair, test: str, p: float, adjusted: float, confidence: float, alpha: float) -> TaskComparison:
    """`alpha` is the strictest level of the family; what is detectable at it is detectable at every other."""
    binary = _binary(one)
    ours, theirs = (intervals.interval(values, one.groups, confidence, binary) for values in one.values)
    difference = paired.interval(*one.values, one.groups, confidence)
    return TaskComparison(
        task=one.first.task,
        version=one.first.version,
        split=one.first.split,
        metric=one.metric,
        first=ours,
        second=theirs,
        difference=difference,
        test=test,
        p_value=p,
        adjusted=adjusted,
        detectable=paired.detectable(one.deltas, one.groups, alpha),
        verdict=_verdict(one.metric, difference.value, separated=adjusted < 1 - confidence),
        flips=one.flips,
        notes=(*_stated(one.first.how, one.second.how), *_pooled(one)),
    )


def _test(one: _Pair) -> tuple[str, float]:
    """(name of the test, p-value)."""
    named = [group for group in one.groups if group]
    grouped = len(set(named)) < len(named)
    if _binary(one) and not grouped:
        return "McNemar, exact", paired.exact_p(one.deltas.count(1), one.deltas.count(-1))
    return "sign flips" + (" of groups" if grouped else ""), permutation.sign_flip(one.deltas, one.groups)


def _binary(one: _Pair) -> bool:
    return {*one.values[0], *one.values[1]} <= {0, 1}


def _verdict(metric: str, difference: float, separated: bool) -> Separation:
    if not separated:
        return "cannot be separated"
    return "better" if (difference > 0) != (metric.removeprefix("log ") in LOWER_IS_BETTER) else "worse"


def _pooled(one: _Pair) -> list[str]:
    """A metric that weighs its items by their lengths is not the mean of its items, which is what is compared."""
    name = one.metric.removeprefix("log ")
    found = []
    for scores, values in zip((one.first, one.second), one.values, strict=True):
        whole, mean = scores.metrics[name].value, sum(values) / len(values)
        if not math.isclose(whole, mean if name == one.metric else math.exp(mean), rel_tol=1e-6, abs_tol=1e-9):
            found.append(f"{name} of {scores.model} is {whole:.6g} over all items together; items weigh the same here")
    return found
