"""The tables of a report, pure functions of what a walk made: cells are text, ready to be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from basewright.choose.lookup import legible
from basewright.pages.phrases import bits, count, percent, signed, size, span
from basewright.pages.sheet import Table
from basewright.plan.words import clock
from basewright.records import LORA_NAMES, Baseline, Built, Check, Interval, Made
from basewright.report import words

CHECKS = ("Check", "Value", "Limit", "Result", "How")


def before_after(built: Built) -> Table:
    """The same items before and after tuning."""
    proof = built.proof.record
    before, after = proof.before, proof.after
    rows = (
        ("Items answered right", _share(before.accuracy), _share(after.accuracy)),
        ("Bits of surprise at the right label", _bits(before.bits), _bits(after.bits)),
        (
            "Bits per byte of general text",
            words.exact(proof.general_bits_before),
            words.exact(proof.general_bits_after),
        ),
        ("Most frequent label", percent(before.majority), percent(after.majority)),
    )
    return Table(head=("Measure", "Before, few-shot", "After tuning"), rows=rows)


def _share(it: Interval) -> str:
    return f"{percent(it.value)} ({percent(it.low)} to {percent(it.high)}), n = {count(it.n)}"


def _bits(it: Interval) -> str:
    return f"{bits(it.value)} ({bits(it.low)} to {bits(it.high)})"


def baselines(built: Built) -> Table:
    """Everything else that was asked the test items, and how far the tuned model is ahead of it."""
    after = built.proof.record.after.accuracy
    rows = [("the model built here, tuned", _share(after), "", "")]
    rows += [(baseline(built, one), _share(one.accuracy), _ahead(one), one.how) for one in built.baselines.record.found]
    return Table(head=("Method", "Test items right", "The tuned model is ahead by", "How"), rows=tuple(rows))


def baseline(built: Built, one: Baseline) -> str:
    base = legible(built.choice.record).winner
    return one.name if one.kind in ("classical", "encoder") else f"{base}, {one.name}"


def _ahead(one: Baseline) -> str:
    gap = one.ahead.difference
    sure = "" if one.ahead.separated else ", not separated"
    return f"{signed(gap.value)} ({span(gap.low, gap.high)}){sure}"


def curve(built: Built) -> Table:
    """Accuracy by the number of training rows."""
    points = built.baselines.record.curve
    names = list(points[-1].accuracy) if points else []
    rows = tuple(
        (count(one.rows), *(_share(one.accuracy[name]) if name in one.accuracy else "" for name in names))
        for one in points
    )
    return Table(head=("Training rows", *names), rows=rows)


def data(built: Built) -> Table:
    """Where every row went, and what training reads."""
    task, ledger, certificate = built.task, built.task.ledger, built.certificate.record
    split = f"{len(task.train)} to train, {len(task.choose)} to choose on, {len(task.test)} to test"
    near = f"{ledger.near_duplicates} near-duplicates kept on one side of the split"
    learned = f"{count(certificate.supervised_tokens)} of {count(certificate.tokens)}"
    rows = (
        ("Rows read", f"{count(ledger.read)}, of which {count(ledger.duplicates)} exact duplicates left out"),
        ("Rows used", f"{count(ledger.used)}: {split}; {near}"),
        ("Tokens that are learned", f"{learned}; longest row {count(certificate.longest)}"),
        *_planned(built),
        ("Rows by label, to train", ", ".join(f"{label} {number}" for label, number in certificate.labels.items())),
        ("Start, end and padding tokens", _marks(built)),
        ("Hash of every token and mask", certificate.data_hash),
    )
    return Table(head=("Data", "What it is"), rows=rows)


def _planned(built: Built) -> Iterator[tuple[str, str]]:
    """Of the plan and not of the certificate, which is of the rows: time and memory are of a machine."""
    for plan in built.plans.plans:
        if plan.model == built.choice.record.winner:
            tokens = built.adapter.record.tokens
            time = "" if plan.speed is None else f"about {clock(tokens / plan.speed.tokens_per_second)} and "
            yield "Planned for training", f"{count(tokens)} tokens, {time}{size(plan.memory.total)} at the peak"


def _marks(built: Built) -> str:
    made = built.certificate.record
    start = "no start token" if made.bos_id is None else f"start {made.bos_id}"
    return f"{start}, end {made.eos_id}, padding {made.pad_id}"


def checks(found: Sequence[Check]) -> Table:
    return Table(head=CHECKS, rows=tuple(_check(one) for one in found))


def _check(one: Check) -> tuple[str, ...]:
    return one.name, f"{one.value:.3g}", f"{one.limit:.3g}", "passed" if one.passed else "FAILED", one.how


def forms(built: Built) -> Table:
    """What was written, and how it held against what was trained."""
    rows = tuple(
        (
            words.form(one),
            size(one.size),
            f"{sum(check.passed for check in one.checks)} of {len(one.checks)}",
            ", ".join(file.name for file in one.files),
        )
        for one in built.release.record.artifacts
    )
    return Table(head=("Form", "Size", "Checks passed", "Files in the release"), rows=rows)


def parity(built: Built) -> Table:
    """Every check of every converted form."""
    rows = tuple(
        (f"{words.form(one)}: {name}", *rest)
        for one in built.converted.record.artifacts
        for name, *rest in map(_check, one.checks)
    )
    return Table(head=CHECKS, rows=rows)


def training(built: Built) -> Table:
    """The settings of the tuning, and what it took."""
    made, task = built.adapter.record, built.task
    lora, train = made.lora, made.train
    rate = f"{train.learning_rate:g}, {train.warmup} steps of warm-up"
    rows = (
        ("Method", f"{LORA_NAMES[lora.variant]}, rank {lora.rank}, alpha {lora.alpha:g}, on {', '.join(lora.targets)}"),
        ("Steps", f"{count(train.steps)} of at most {count(train.batch_tokens)} tokens, in {train.precision}"),
        ("Learning rate", rate),
        ("Seed", str(train.seed)),
        ("Parameters trained", count(made.trainable)),
        ("Tokens seen", count(made.tokens)),
        ("Loss, nats per learned token", f"{made.first_loss:.3f} at first, {made.last_loss:.3f} at last"),
        ("Prompt", made.layout.prompt.replace("\n", " ↵ ")),
        ("Version of the task", task.version),
        ("Base", f"{made.base}, commit {made.base_commit}"),
        ("Prompts of the test", built.proof.record.after.how.prompt_hash),
    )
    return Table(head=("Setting", "Value"), rows=rows)


def lineage(built: Built) -> Table:
    """Each made thing: its id, what made it, and what that cost here."""
    made: dict[str, Made[Any]] = {
        "Choice": built.choice,
        "Certificate": built.certificate,
        "Adapter": built.adapter,
        "Proof": built.proof,
        "Baselines": built.baselines,
        "Converted": built.converted,
        "Release": built.release,
    }
    rows = tuple(
        (name, one.id, one.stamp.version, one.stamp.started[:10], f"{one.stamp.seconds:,.0f} s")
        for name, one in made.items()
    )
    return Table(head=("What", "Id", "Basewright", "Made on", "In"), rows=rows)
