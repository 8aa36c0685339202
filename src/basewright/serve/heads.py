"""From a name, an id or a folder to a classifier: a tuning with a head, or a model that transformers saved with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from basewright.errors import ModelFileError, StoreError, UsageError, nearest
from basewright.records import Adapter, Checkpoint, Head, Layout
from basewright.serve import artifact
from basewright.store import MANIFEST, RECORD, Store, faults, load, read_json

if TYPE_CHECKING:
    from basewright.engine.classifier import Classifier

KINDS = ("adapter", "checkpoint")
PLAIN = Layout(prompt="{text}", separator="\n\n")


def open_classifier(what: str, store: Store) -> Classifier:
    """`what` is a result's id, its folder, the name of a tuned base (the newest result on it), or a model's folder.

    Raises `UsageError` where there is none, or it writes its answers; `StoreError` for a damaged result,
    `ModelFileError` for files that do not pass the airlock.
    """
    folder = _find(what, store)
    if (folder / RECORD).is_file() and (folder / MANIFEST).is_file():
        return open_result(folder)
    from basewright.engine import classifier

    return classifier.open_classifier(folder, folder.absolute().name, artifact.layout(folder) or PLAIN)


def open_result(folder: Path) -> Classifier:
    """The classifier in a committed result."""
    from basewright.engine import classifier

    if wrong := faults(folder):
        raise StoreError(f"{folder.name} is damaged: {wrong[0]}", fix="run basewright tune again")
    name = read_json(folder / RECORD).get("type")
    if name == Checkpoint.__name__:
        whole = load(folder, Checkpoint)
        about = whole.record.tuning
        _head(folder, about.head if about else None)
        return classifier.open_classifier(folder, whole.record.card.id, about.layout if about else PLAIN)
    made = load(folder, Adapter)
    head = _head(folder, made.record.head)
    base = folder.parent / made.stamp.parents[0] / "model"
    if not base.is_dir():
        raise ModelFileError(
            f"{folder.name} is an adapter, and its base {made.record.base} is not beside it",
            fix="run basewright tune again, or give the folder it was made in",
            code="missing",
            file=made.stamp.parents[0],
        )
    return classifier.open_tuned(base, folder / "adapter", f"{made.record.base}-tuned", head, made.record.layout)


def _head(folder: Path, head: Head | None) -> Head:
    if head is None:
        raise UsageError(f"{folder.name} has no classification head", fix="tune with --head on rows of text and label")
    return head


def _find(what: str, store: Store) -> Path:
    path = Path(what).expanduser()
    if path.is_dir():
        return path.parent if path.name == "adapter" and (path.parent / RECORD).is_file() else path
    results = _results(store)
    if what in results:
        return results[what]
    raise UsageError(
        f"no classifier is called {what!r}; {nearest(what, results)}",
        fix="basewright runs lists what has been made; basewright tune --head makes one",
    )


def _results(store: Store) -> dict[str, Path]:
    """Tunings with a head, by id, and the newest on each base by the base's name, with and without `-tuned`."""
    found: dict[str, Path] = {}
    for stamp in store.all():
        if stamp.kind in KINDS:
            folder = store.root / stamp.id
            record = read_json(folder / RECORD)["record"]
            about = record if stamp.kind == "adapter" else record.get("tuning") or {}
            if about.get("head"):
                for name in (stamp.id, f"{about['base']}-tuned", about["base"]):
                    found.setdefault(name, folder)
    return found
