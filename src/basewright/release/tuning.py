"""The folder of a tuned model: its adapter or its weights, a card, the base's licence texts, and how it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from basewright import __version__, store
from basewright.records import Adapter, Checkpoint, FileEntry, Made, Measured, Tuned
from basewright.release import notices, tuning_card
from basewright.release.parts import write_text
from basewright.release.stage import place
from basewright.release.tuning_card import Tuning
from basewright.store import Work

CARD, FACTS, STEPS, ADAPTER = "README.md", "basewright.json", "steps.jsonl", "adapter"
OF_BASE = (CARD, "card.json", "record.json", "events.jsonl")
"""Files that a tuned model's folder has from its base and that are about other weights."""


def stage(tuning: Tuning, made: Made[Adapter] | Made[Checkpoint], measured: Measured, work: Work) -> Tuned:
    """Fill `work.out`. Raises `StoreError` when a file is not the one that was trained."""
    inner = work.out / ADAPTER if isinstance(made.record, Adapter) else work.out
    for entry in store.entries(made.folder):
        if entry.name not in OF_BASE:
            place(made.folder / entry.name, work.out / entry.name, entry)
    for name, text in texts_of(tuning).items():
        if not (inner / name).exists():
            (inner / name).write_bytes(text)
    write_text(inner / CARD, tuning_card.card(tuning, measured))
    store.write_json(inner / FACTS, facts(tuning))
    return Tuned(
        base=tuning.base.card.id,
        base_commit=tuning.base.commit,
        method=tuning.method,
        made=made.id,
        sha256=made.record.sha256,
        layout=tuning.layout,
        bos=tuning.bos,
        stop_ids=tuning.stop_ids,
        measured=measured,
        files=tuple(entry.name for entry in store.entries(work.out)),
    )


def texts_of(tuning: Tuning) -> dict[str, bytes]:
    """The licence, use policy and notice that came with the base, by file name."""
    return notices.with_base(tuning.base_folder / "model")


def facts(tuning: Tuning) -> dict[str, Any]:
    """How the model is asked and what it needs beside it, for the next program."""
    return {
        "schema": 1,
        "made_with": f"basewright {__version__}",
        "name": tuning.name,
        "method": tuning.method,
        "layout": tuning.layout,
        "bos": tuning.bos,
        **({"labels": tuning.labels} if tuning.labels else {"stop": {"ids": tuning.stop_ids}}),
        "base": {"id": tuning.base.card.id, "commit": tuning.base.commit, "licence": tuning.base.card.licence},
    }


def export(files: dict[str, Path], tuning: Tuning, card: str, out: Path) -> tuple[FileEntry, ...]:
    """Write a model's folder that needs nothing of ours: `files` by name, the card, licence texts and facts."""
    out.mkdir(parents=True)
    for name, source in files.items():
        size = source.stat().st_size
        place(source, out / name, FileEntry(name=name, size=size, sha256=store.sha256_of(source)), linked=False)
    for name, text in texts_of(tuning).items():
        if not (out / name).exists():
            (out / name).write_bytes(text)
    write_text(out / CARD, card)
    store.write_json(out / FACTS, facts(tuning))
    return store.entries(out)
