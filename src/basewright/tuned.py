"""What is made of a tuning when its last step is done: measured, put into a folder with a card, and exported.

Each is `store.make` around one room's function, as in `stages`.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basewright.data import prepare
from basewright.data.prepare import Prepared
from basewright.engine.lm import LM
from basewright.errors import UsageError
from basewright.evaluate.task import OwnTask
from basewright.records import (
    Adapter,
    Certificate,
    Check,
    Checkpoint,
    Classified,
    Converted,
    Made,
    Measured,
    Plan,
    Progress,
    Scores,
    Tuned,
    Weights,
)
from basewright.records import (
    Tuning as Whole,
)
from basewright.release.tuning_card import Tuning
from basewright.store import Store, Work, digest

ANSWERS = "answers"
PARITY_TEXTS = 24
"""Training rows that a merged model is compared on with the adapter on its base."""


@dataclass(frozen=True, slots=True)
class Run:
    """A tuning that is done, and what it was done with."""

    base: Made[Weights]
    certificate: Made[Certificate]
    made: Made[Adapter] | Made[Checkpoint]
    method: str
    data: Prepared
    held: Prepared | None
    values: tuple[tuple[str, str, str], ...]
    """Setting, value, reason."""
    plan: Plan

    @property
    def about(self) -> Adapter | Whole:
        record = self.made.record
        if isinstance(record, Adapter):
            return record
        assert record.tuning is not None, "a pretrained model was not tuned"
        return record.tuning

    @property
    def unit(self) -> str:
        """What a loss is of."""
        if self.about.head is not None:
            return "row"
        return "supervised token" if self.made.record.train.beta is None else "pair"

    @property
    def adapter(self) -> Path | None:
        return self.made.folder / "adapter" if isinstance(self.made.record, Adapter) else None


def finish(store: Store, run: Run, tasks: Sequence[OwnTask], progress: Progress) -> tuple[Made[Tuned], bool]:
    """Measure the tuned model against its base and stage its folder. True says it was found."""
    from basewright.prove import after

    texts = after.general_texts()
    inputs = {
        "data": run.data.name,
        "held": None if run.held is None else digest([run.held.name, run.held.taught, run.held.rows]),
        "general": digest(texts),
        "tasks": [task.version for task in tasks],
        "values": run.values,
    }
    return store.make(
        "tuned",
        inputs,
        Tuned,
        lambda work: _staged(store, run, texts, tasks, work, progress),
        parents=(run.base.id, run.certificate.id, run.made.id),
    )


def _staged(
    store: Store, run: Run, texts: tuple[str, ...], tasks: Sequence[OwnTask], work: Work, progress: Progress
) -> Tuned:
    from basewright.prove import tuned
    from basewright.release import tuning

    base, after = engines(store, run)
    measured = tuned.measure(base, after, run.data, run.held, run.about.layout, texts, tasks, progress)
    return tuning.stage(_tuning(run, texts), run.made, measured, work)


def engines(store: Store, run: Run) -> tuple[LM, LM]:
    """The base and the tuned model, which remember their answers beside the results."""
    from basewright.engine import torch_lm
    from basewright.engine.recall import RecalledLM
    from basewright.hub import airlock

    folder, name = run.base.folder / "model", run.base.record.card.id
    if run.adapter is None:
        after = torch_lm.open_lm(run.made.folder, f"{name} tuned")
        files = airlock.inspect(run.made.folder)
        weights = digest([[entry.name, entry.sha256] for entry in files])
    else:
        after = torch_lm.open_tuned(folder, run.adapter, f"{name} tuned")
        files = airlock.inspect_adapter(run.adapter)
        weights = digest([run.base.record.commit, *([entry.name, entry.sha256] for entry in files)])
    answers = store.root / ANSWERS
    before = RecalledLM(torch_lm.open_lm(folder, name), run.base.record.commit, answers)
    return before, RecalledLM(after, weights, answers)


def _tuning(run: Run, texts: Sequence[str]) -> Tuning:
    from basewright.text.tokenizer import open_tokenizer

    record, about = run.made.record, run.about
    tokenizer = open_tokenizer(run.base.folder / "model")
    lora, trained = "", run.base.record.card.parameters
    if isinstance(record, Adapter):
        lora = f"rank {record.lora.rank}, alpha {record.lora.alpha:g}, on {', '.join(record.lora.targets)}"
        trained = record.trainable
    return Tuning(
        name=f"{run.base.record.card.id.rpartition('/')[2]}-{run.method}",
        base=run.base.record,
        base_folder=run.base.folder,
        method=run.method,
        lora=lora,
        trained=trained,
        train=record.train,
        tokens=record.tokens,
        losses=(about.first_loss, about.last_loss),
        unit=run.unit,
        layout=about.layout,
        bos=about.bos,
        stop_ids=about.stop_ids,
        stops=tuple(str(tokenizer.backend.id_to_token(number)) for number in about.stop_ids),
        certificate=run.certificate.record,
        data=run.data,
        held=run.held,
        values=run.values,
        beside=tuple(_beside(run)),
        labels=() if about.head is None else about.head.labels,
        general=f"{len(texts)} passages of the package, {sum(len(text.encode()) for text in texts):,} bytes",
    )


def _beside(run: Run) -> Iterator[str]:
    from basewright.train import watch

    about, record = run.about, run.made.record
    if about.validation is not None:
        yield f"Validated {watch.words(about.validation)}."
    if about.replayed:
        yield f"Replayed: {about.replayed:,} of those tokens are general text."
    if isinstance(record, Adapter) and record.lora.quantization != "none":
        held = record.lora.quantization
        yield f"In training the base was held in 4 bits ({held}); it is measured and merged as it is."


def page(run: Run, done: Made[Tuned], where: Path, versions: Mapping[str, str]) -> Path:
    """Write the page of a tuning beside its results, in `where`; `versions` are of the libraries at hand."""
    from basewright import store
    from basewright.report import tuning

    steps = [json.loads(line) for line in (run.made.folder / "steps.jsonl").read_text("utf-8").splitlines()]
    html = tuning.render(
        done.record,
        run.certificate.record,
        tuning.Steps(losses=tuple(step["loss"] for step in steps), unit=run.unit),
        made_on=done.stamp.started[:10],
        data=run.data.name,
        held=run.held.name if run.held else "",
        settings=run.values,
        needed=tuning.needed(run.certificate.record, run.plan, run.made.stamp),
        versions=versions,
    )
    written = where / f"{done.id}.html"
    store.write(written, html.encode())
    return written


# --- export ---------------------------------------------------------------------------------------


def check_target(target: Path) -> None:
    """Raises `UsageError` for a folder that holds something: nothing is ever mixed or overwritten."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target.name} is there already", fix="give --export a folder that is not there yet")


def export(
    store: Store, run: Run, measured: Measured | Scores | None, target: Path, progress: Progress
) -> tuple[Check, ...]:
    """Write the model as one folder that transformers alone opens: an adapter merged into its base, or all weights.

    `measured` is of the tuned model; of one with a head its scores, None without held-out rows. Returns the checks that
    the merge passed, against the adapter on its base. Raises `Refused` where one fails.
    """
    from basewright.hub import airlock
    from basewright.prove import after
    from basewright.release import tuning, tuning_card
    from basewright.train import ranks

    source = run.made.folder
    checks: tuple[Check, ...] = ()
    if isinstance(run.made.record, Adapter):
        converted = _merged(store, run, progress)
        source, checks = converted.folder / "model", converted.record.artifacts[0].checks
    if not ranks.team().first:
        return checks
    check_target(target)
    about = _tuning(run, after.general_texts())
    card = tuning_card.card(about, measured, checks, whole=True)
    entries = airlock.inspect(source) if run.about.head is None else airlock.inspect_classifier(source)[0]
    files = {one.name: source / one.name for one in entries if one.name not in tuning.OF_BASE}
    half = target.absolute().with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        tuning.export(files, about, card, half)
        os.rename(half, target)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return checks


def _merged(store: Store, run: Run, progress: Progress) -> Made[Converted]:
    from basewright.convert import stage

    adapter = run.made
    assert isinstance(adapter.record, Adapter)
    texts = tuple(_texts(run.data))

    def make(work: Work) -> Converted:
        if adapter.record.head is not None:
            return stage.with_head(run.base, adapter, texts, work, progress)
        return stage.convert(run.base, adapter, (), texts, work, progress)

    inputs = {"formats": (), "texts": texts}
    return store.make("converted", inputs, Converted, make, parents=(run.base.id, adapter.id))[0]


def _texts(data: Prepared) -> Iterator[str]:
    """Training rows that a merged model is asked, as they are read."""
    for taught in data.taught[:PARITY_TEXTS]:
        if isinstance(taught, Classified):
            yield taught.text
        else:
            yield from ("".join(piece.text for piece in one.pieces) for one in prepare.examples(taught))
