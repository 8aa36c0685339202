"""Words and choices beside the rows of a tuning: what it is validated on, what is replayed, what it will need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.data.prepare import Prepared
    from basewright.records import Adapter, Certificate, Plan, TrainSettings, Tuning
    from basewright.text.tokenizer import Tokenizer
    from basewright.train.effort import Effort
    from basewright.train.objectives import Objective
    from basewright.train.replay import General


def divided(
    data: Prepared, given: Prepared | None, share: float | None, effort: Effort
) -> tuple[Prepared, Prepared | None]:
    """(rows to train on, rows to validate on): those given, else a share of the data. Raises `Refused` where a given
    row is also trained on."""
    from basewright.data import held, near
    from basewright.errors import DataError, Refused
    from basewright.train.effort import held_share

    if given is not None:
        if unknown := sorted(set(given.labels) - set(data.labels)):
            raise DataError(
                f"{given.name} has the label {unknown[0]!r}, which no training row has",
                fix="correct it, or add training rows with that label",
            )
        if twins := near.overlap(data.rows, given.rows):
            raise Refused(
                f"{len(twins)} validation rows are also trained on: {twins[0].row.where} and {twins[0].first.where}",
                fix="take them out of one of the two files, or leave out --validate: a share is then split off for you",
            )
        return data, given
    wanted = held_share(effort, len(data.taught), share)
    rest, split = held.hold_out(data, wanted.value) if wanted.value else (data, None)
    if split is None or not split.taught or not rest.taught:
        why = wanted.why if not wanted.value else "the rows are too alike, or too few, to be divided"
        show.hint(f"Validate  on no rows: {why}")
        return data, None
    show.hint(f"Validate  on {len(split.taught):,} of {len(data.taught):,} rows, by a hash of their text; {wanted.why}")
    return rest, split


def general(
    train: TrainSettings, data: Prepared, share: float, path: Path | None, tokenizer: Tokenizer, room: int
) -> General | None:
    """The text that is replayed, as much of it as the run can see."""
    from basewright.data import corpora
    from basewright.errors import UsageError
    from basewright.prove import replayed
    from basewright.train.replay import General

    if not share and path is None:
        return None
    if data.pools:
        raise UsageError("a head writes no text, so none can be replayed to it", fix="leave --replay out")
    if not share or path is None:
        raise UsageError(
            "--replay and --replay-text go together: the package has no text that may be replayed, because "
            "forgetting is measured on what it has",
            fix="--replay 0.1 --replay-text FOLDER",
        )
    most = int(train.steps * train.batch_tokens * share / (1 - share)) + 1
    texts = list(corpora.documents(path))
    replayed.require_unmeasured(texts, path.name)
    return General.of(texts, tokenizer, min(room, train.micro_tokens), most)


def foreseen(folder: Path, learned: Objective, where: Path, tokens: tuple[int, ...]) -> tuple[Plan, str]:
    """What `tune` needs for certified rows when nothing else is said (LoRA at the standard effort), and what would do
    where that does not fit this machine; else empty. `tokens` are those whose embeddings are trained too.

    It stands beside a certificate and not in it: a certificate is found by what the rows say, and time and free memory
    are of the machine and the moment.
    """
    from basewright.catalog import architectures, cards
    from basewright.train import effort, planned
    from basewright.train.objectives import Labelled
    from basewright.train.preferences import Preferences, Ratings

    card = cards.card_from_folder(folder)
    derived = effort.derive(
        "lora",
        "standard",
        learned.lengths,
        width=card.shape.width,
        stored=card.precision,
        maps=list(architectures.linears(card.config)),
        given=effort.Given(),
        preferences=isinstance(learned, Preferences | Ratings),
        head=isinstance(learned, Labelled),
    )
    derived = replace(derived, lora=derived.lora and replace(derived.lora, tokens=tokens))
    _, plan, fix = planned.foreseen(card, derived, max(learned.lengths), planned.here(where))
    return plan, fix


def figures(plan: Plan) -> dict[str, Any]:
    """Seconds of a whole run (None where the machine's arithmetic is not known), and bytes."""
    seconds = None if plan.speed is None else plan.speed.seconds
    return {"job": plan.job, "seconds": seconds, "peak": plan.memory.total, "budget": plan.budget}


def needed(plan: Plan) -> str:
    from basewright.plan import words
    from basewright.plan.make import mib

    time = "" if plan.speed is None else f"about {words.clock(plan.speed.seconds)}, "
    return f"{time}{mib(plan.memory.total)} of {mib(plan.budget)} at the peak"


def planned(plan: Plan, certificate: Certificate, replay: General | None) -> str:
    replayed = "" if replay is None else f"; {replay.tokens:,} tokens of general text to replay"
    return f"Plan      {certificate.tokens:,} tokens an epoch, {needed(plan)}{replayed}"


def came_of_it(about: Adapter | Tuning, tokens: int) -> str:
    from basewright.train import watch

    said = "" if about.validation is None else f"\nValidated {watch.words(about.validation)}"
    if about.replayed:
        said += f"\nReplayed  {about.replayed:,} tokens of general text, {about.replayed / tokens:.1%} of those seen"
    return said
