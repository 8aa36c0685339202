"""The sentences of a report, pure functions of what a walk made: the terminal and the page say the same."""

from __future__ import annotations

from basewright.choose import lookup
from basewright.choose import words as chosen
from basewright.choose.lookup import legible
from basewright.pages.phrases import against, count, part, percent, plural, share, size
from basewright.records import Artifact, Built, Check, Choice, Interval, Scores

KEPT = "general language is kept"
"""The check of `prove.after` that is about forgetting."""


def asked(built: Built) -> str:
    """What was asked, and what the result was measured on."""
    last = f"What was built on the one taken was scored on {plural(len(built.task.test), 'test row')}"
    return f"{chosen.asked(built.choice.record)} {last} that neither training nor choosing saw."


# --- the verdict ----------------------------------------------------------------------------------


def verdict(built: Built) -> list[str]:
    """Two sentences: what to build on, a classical method first where it wins; and what tuning it gave."""
    choice, after = legible(built.choice.record), built.proof.record.after
    return [_beaten(choice, after) if choice.beaten_by else _taken(choice), _result(built)]


def _taken(choice: Choice) -> str:
    """What to build on and how sure that is; where nothing is proven, that."""
    said = chosen.verdict(choice)
    if choice.verdict == "winner" and lookup.against_models(choice):
        return f"Take {choice.winner}: w{said[1].removeprefix('W')}"
    return said[0]


def _beaten(choice: Choice, after: Scores) -> str:
    """A classical method that scored higher, why to prefer it, and when not to."""
    rival, base = lookup.strongest(choice), lookup.standing(choice, choice.winner)
    assert rival.score is not None
    assert base.score is not None
    pilot = "after its pilot tuning" if lookup.tuned(choice) else "asked few-shot"
    ahead, now = percent(rival.score.value), percent(after.accuracy.value)
    if after.accuracy.value > rival.score.value:
        return (
            f"{rival.model}, a classical method, was ahead when candidates were compared, {ahead} right against "
            f"{percent(base.score.value)} for {base.model} {pilot}; tuned in full that one has come to {now} of other "
            "items, so ask both the same ones before you decide."
        )
    held = lookup.memory(rival)
    cheap = f", in {size(held)} of memory" if held is not None else ""
    wins = "wins" if lookup.rival_proven(choice) else "wins on these items, though not provably beyond them"
    return (
        f"{rival.model}, a classical method, {wins}: {ahead} of the items to choose on right{cheap}; prefer the model "
        f"built here only if {chosen.PREFER}."
    )


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
    """What each rival says about the need for a base model."""
    choice = built.choice.record
    if said := chosen.rivals(choice):
        before = "after its pilot tuning" if lookup.tuned(choice) else "asked few-shot"
        return [f"Compared on the {plural(choice.items, 'item')} to choose on, the base {before}.", *said]
    return ["No classical method was asked: the recipe says so."]


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
    higher = (
        f"{count(len(choice.beaten_by))} of {rivals} scored higher" if choice.beaten_by else f"none of {rivals} won"
    )
    learned = f"{count(certificate.supervised_tokens)} of {plural(certificate.tokens, 'token')}"
    return {
        "changed": f"{count(proof.gain.only_first)} became right, {count(proof.gain.only_second)} became wrong",
        "baselines": f"{higher} when bases were compared" if rivals else "none was asked",
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
