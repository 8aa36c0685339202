"""The sentences of a report, pure functions of what a walk made: the terminal and the page say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from basewright.choose import lookup
from basewright.choose import words as chosen
from basewright.choose.lookup import legible
from basewright.pages.phrases import against, count, part, percent, plural, share, size
from basewright.records import Artifact, Baseline, BaselineKind, Built, Check, Choice, Interval, Learned, Scores

KEPT = "general language is kept"
"""The check of `prove.after` that is about forgetting."""


def asked(built: Built) -> str:
    """What was asked, and what the result was measured on."""
    last = f"What was built on the one taken was scored on {plural(len(built.task.test), 'test row')}"
    return f"{chosen.asked(built.choice.record)} {last} that neither training nor choosing saw."


# --- the verdict ----------------------------------------------------------------------------------


def verdict(built: Built) -> list[str]:
    """Two sentences: what to build on, a baseline first where it wins; and what tuning it gave."""
    higher = ahead(built)
    return [_beaten(built, higher[0]) if higher else _taken(legible(built.choice.record)), _result(built)]


def ahead(built: Built) -> list[Baseline]:
    """The baselines that answered more test items right than the tuned model, the best first."""
    after = built.proof.record.after.accuracy.value
    return [one for one in built.baselines.record.found if one.accuracy.value > after]


def _taken(choice: Choice) -> str:
    """What to build on and how sure that is; where nothing is proven, that. A classical method that was ahead of pilots
    is behind what was tuned in full, on the same items, and no news here."""
    said = chosen.verdict(replace(choice, beaten_by=()))
    if choice.verdict == "winner" and lookup.against_models(choice):
        return f"Take {choice.winner}: w{said[1].removeprefix('W')}"
    return said[0]


def _beaten(built: Built, one: Baseline) -> str:
    """A baseline that scored higher, how sure that is, and when not to prefer it."""
    gap, after = one.ahead.difference, built.proof.record.after.accuracy
    wins = "wins" if one.ahead.separated else "wins on these items, though not provably beyond them"
    return (
        f"{named(built, one)} {wins}: {percent(one.accuracy.value)} of {plural(after.n, 'test item')} right, "
        f"{against(-gap.high, -gap.low, 'the model built here')}; {PREFER[one.kind]}."
    )


PREFER: dict[BaselineKind, str] = {
    "classical": f"prefer the model built here only if {chosen.PREFER}",
    "few-shot": "tuning gave nothing here",
    "all weights": "an adapter learns less here: basewright tune --method full makes that model",
    "from scratch": "what the base had read before was of no use for this task",
    "encoder": "prefer the model built here only if you need more than a label",
}
KINDS: dict[BaselineKind, str] = {
    "classical": "{name}, a classical method,",
    "few-shot": "{base} asked few-shot, without tuning,",
    "all weights": "{base} with all of its weights tuned",
    "from scratch": "{base}'s architecture trained from random weights",
    "encoder": "{name}, an encoder,",
}


def named(built: Built, one: Baseline) -> str:
    """What a baseline is, as the subject of a sentence."""
    return KINDS[one.kind].format(name=one.name, base=legible(built.choice.record).winner)


def _result(built: Built) -> str:
    choice, proof = legible(built.choice.record), built.proof.record
    after, gain = proof.after.accuracy, proof.gain.difference
    ahead = against(gain.low, gain.high, "the same base asked few-shot")
    return (
        f"Tuned, {choice.winner} answers {percent(after.value)} of {plural(after.n, 'test item')} right "
        f"({_within(after)} on new ones, with {share(after.confidence)} confidence), {ahead}."
    )


def _within(it: Interval) -> str:
    return f"{percent(it.low)} to {percent(it.high)}"


def cells(built: Built) -> list[tuple[str, str]]:
    """The result in a few cells."""
    proof, release = built.proof.record, built.release.record
    smallest = min(release.artifacts, key=lambda one: one.size)
    return [
        ("Built on", legible(built.choice.record).winner),
        ("Right on new texts", _within(proof.after.accuracy)),
        ("The same base few-shot", percent(proof.before.accuracy.value)),
        ("Always the most frequent label", percent(proof.after.majority)),
        ("Smallest form", f"{form(smallest)}, {size(smallest.size)}"),
        ("Licence", release.licence),
    ]


# --- what was checked -----------------------------------------------------------------------------


def form(artifact: Artifact) -> str:
    return f"{artifact.format} {artifact.quantization}"


def checks(built: Built) -> list[tuple[str, Check]]:
    """(what it is about, check), for every check on the way."""
    return [
        *(("training data", check) for check in built.certificate.record.checks),
        *(("trained model", check) for check in built.proof.record.checks),
        *((form(one), check) for one in built.converted.record.artifacts for check in one.checks),
    ]


def checked(built: Built) -> str:
    """How many checks passed, and what could not be checked."""
    every, skipped = [check for _, check in checks(built)], built.converted.record.skipped
    passed = sum(check.passed for check in every)
    said = f"{plural(passed, 'check')} passed" if passed == len(every) else f"{passed} of {len(every)} checks passed"
    return f"{said}; {count(len(skipped))} could not be made here." if skipped else f"{said}."


# --- before and after -----------------------------------------------------------------------------


def gain(built: Built) -> str:
    """The comparison of before and after, item by item."""
    proof = built.proof.record
    both, after = proof.gain, proof.after
    return (
        f"On the same {plural(both.difference.n, 'item')}, {plural(both.only_first, 'answer')} became right and "
        f"{count(both.only_second)} became wrong: {against(both.difference.low, both.difference.high, 'before')} with "
        f"{share(both.difference.confidence)} confidence (exact McNemar test, p {_p(both.p_value)}). Before, "
        f"{_shots(proof.before)} stood in the prompt; after, {_shots(after)}."
    )


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "below 0.0001"


def _shots(scores: Scores) -> str:
    return plural(scores.how.shots, "solved example") if scores.how.shots else "none"


def measured(built: Built) -> str:
    """How the scores were made."""
    after = built.proof.record.after
    return (
        f"Intervals: {after.accuracy.method} for shares, {built.proof.record.gain.difference.method} for the "
        f"difference. Answers are the label with the highest {after.how.normalisation} among "
        f"{plural(len(built.task.labels), 'label')}; engine {after.how.engine} in {after.how.precision}."
    )


def kept(built: Built) -> str:
    """What tuning cost in general language."""
    proof, limit = built.proof.record, allowed(built)
    allows = f"; the recipe allows {part(limit)} more" if limit is not None else ""
    return (
        f"A byte of general text, unlike the task's, takes {exact(proof.general_bits_after)} bits after tuning and "
        f"{exact(proof.general_bits_before)} before: {rise(built)}{allows}. A rise means that some of what the base "
        "knew was overwritten; a model that only names labels can afford it, one that also writes cannot."
    )


def rise(built: Built) -> str:
    """Of the bits that general text takes: 1.3% more."""
    change = built.proof.record.general_bits_after / built.proof.record.general_bits_before - 1
    return f"{part(abs(change))} {'more' if change >= 0 else 'less'}"


def exact(value: float) -> str:
    """Bits per byte, to a thousandth."""
    return f"{value:.3f}"


def allowed(built: Built) -> float | None:
    """The rise in bits per byte that the recipe accepts, as a fraction."""
    return next((check.limit for check in built.proof.record.checks if check.name == KEPT), None)


# --- baselines ------------------------------------------------------------------------------------


def baselines(built: Built) -> list[str]:
    """What each baseline says about the need for the tuned base model, and what the base was worth in rows."""
    said = [_said(built, one) for one in built.baselines.record.found]
    return [*said, *worth(built), *(f"Not measured: {one}." for one in built.baselines.record.skipped)]


def _said(built: Built, one: Baseline) -> str:
    gap = one.ahead.difference
    it = f"The tuned model is {against(gap.low, gap.high, 'it')}"
    return f"{named(built, one)} answers {percent(one.accuracy.value)} right. {it}."


def worth(built: Built) -> list[str]:
    """For each part of the rows, how many the same architecture needs without the base to come as far, all weights
    trained with it and without it."""
    names = {one.kind: one.name for one in built.baselines.record.found}
    curve = built.baselines.record.curve if "from scratch" in names else ()
    return [_worth(point, curve, names["all weights"], names["from scratch"]) for point in curve]


def _worth(point: Learned, curve: Sequence[Learned], whole: str, scratch: str) -> str:
    reached = point.accuracy[whole].value
    rows = needed([(one.rows, one.accuracy[scratch].value) for one in curve], reached)
    most = plural(curve[-1].rows, "row")
    need = f"about {count(rows)}" if rows is not None else f"more than the {most} there are"
    have = f"With {plural(point.rows, 'row')} the base, all weights tuned, answers {percent(reached)} right"
    return f"{have}; without the base that takes {need}."


def needed(curve: Sequence[tuple[int, float]], reached: float) -> int | None:
    """Rows at which a curve of (rows, accuracy) first reaches an accuracy, on straight lines over the logarithm of the
    rows; None if it does not."""
    if curve[0][1] >= reached:
        return curve[0][0]
    for (low, worse), (high, better) in pairwise(curve):
        if worse < reached <= better:
            return round(low * math.pow(high / low, (reached - worse) / (better - worse)))
    return None


def skipped(built: Built) -> str:
    """What could not be checked, and why."""
    left = built.converted.record.skipped
    return f"Not checked on this machine: {'; '.join(left)}." if left else ""


# --- what stands behind the name of a folded section ----------------------------------------------


def gists(built: Built) -> dict[str, str]:
    """The finding of each section, so that the folded page says it too."""
    choice, proof, certificate = legible(built.choice.record), built.proof.record, built.certificate.record
    out = sum(one.dropped is not None for one in choice.ranked)
    rivals = sum(one.kind == "classical" for one in choice.ranked)
    others, higher = len(built.baselines.record.found), len(ahead(built))
    learned = f"{count(certificate.supervised_tokens)} of {plural(certificate.tokens, 'token')}"
    return {
        "changed": f"{count(proof.gain.only_first)} became right, {count(proof.gain.only_second)} became wrong",
        "baselines": f"{count(higher)} of {others} scored higher" if higher else f"none of {others} scored higher",
        "candidates": f"{plural(len(choice.ranked) - rivals, 'base model')}, {_outcome(choice)}",
        "out": f"{count(out)} before the end" if out else "nobody",
        "kept": f"general text takes {rise(built)} bits",
        "certificate": f"{learned} are learned, {plural(len(certificate.checks), 'check')}",
        "forms": ", ".join(f"{form(one)} {size(one.size)}" for one in built.release.record.artifacts),
        "licence": f"{built.release.record.licence}, {_duties(built)}",
    }


def _duties(built: Built) -> str:
    number = len(built.release.record.duties)
    return {0: "no duties", 1: "1 duty"}.get(number, f"{number} duties")


def _outcome(choice: Choice) -> str:
    return f"{choice.winner} taken" if choice.verdict == "winner" else f"{count(len(choice.tied))} of them tied"
