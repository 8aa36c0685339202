"""Stage a release: a folder that needs nothing beside it, in the same bytes whenever the same work is released."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from basewright import store
from basewright.errors import Refused, StoreError
from basewright.records import (
    Adapter,
    Certificate,
    Choice,
    Converted,
    FileEntry,
    Made,
    Proof,
    Release,
    Task,
    Weights,
)
from basewright.release import bom, card, duties, facts, modelfile, notices
from basewright.release.parts import Parts, placed, write_text


def release(
    name: str,
    weights: Made[Weights],
    adapter: Made[Adapter],
    proof: Made[Proof],
    certificate: Made[Certificate],
    choice: Made[Choice],
    converted: Made[Converted],
    task: Task,
    work: store.Work,
) -> Release:
    """Write the release into `work.out`.

    Raises `Refused` when a check has failed, when the parts are not of one family, or when a duty of the base's
    licence is not met; `StoreError` when a file is not the one that was converted.
    """
    parts = Parts(
        name=name,
        weights=weights,
        adapter=adapter,
        proof=proof,
        certificate=certificate,
        choice=choice,
        converted=converted,
        task=task,
        duties=duties.duties_of(weights.record.card.licence),
    )
    _refuse_unproven(parts)
    _refuse_strangers(parts)
    duties.check_name(parts.duties, name)
    duties.check_texts(parts.duties, notices.licence_texts(weights.folder / "model"))
    _weights(parts, work.out)
    _pages(parts, work.out)
    files = store.entries(work.out)
    store.write_json(work.out / "bom.json", bom.bom(parts, files))
    return Release(
        name=name,
        base=parts.card.id,
        licence=parts.duties.licence,
        duties=parts.duties.texts,
        artifacts=parts.artifacts,
        checks=tuple(check for _, check in parts.checks),
        accuracy=proof.record.after.accuracy,
        files=tuple(sorted([*(entry.name for entry in files), "bom.json"])),
    )


def _refuse_unproven(parts: Parts) -> None:
    for about, check in parts.checks:
        if not check.passed:
            raise Refused(
                f"{about}: the check {check.name!r} failed with {check.value:g} against a limit of {check.limit:g}",
                fix="change what the check names in the recipe, then run basewright build again",
            )


def _refuse_strangers(parts: Parts) -> None:
    """An adapter of other weights, other data or another layout makes a model that nothing here has proven (H020)."""
    adapter, converted = parts.adapter.record, parts.converted.record
    pairs = {
        "weights the adapter was trained on": (adapter.base_commit, parts.weights.record.commit),
        "data the adapter was trained on": (adapter.data_hash, parts.certificate.record.data_hash),
        "layout the adapter was trained on": (adapter.layout, parts.task.layout),
        "base that was converted": (converted.base, parts.weights.id),
        "adapter that was converted": (converted.adapter, parts.adapter.id),
    }
    for what, (made, given) in pairs.items():
        if made != given:
            raise Refused(
                f"the {what} is not the one this release names",
                fix="run basewright build again with one recipe for all stages",
            )


def _weights(parts: Parts, out: Path) -> None:
    """`model/` and `gguf/` from the converted folder, `adapter/` from the adapter's; hashed where they land."""
    converted, source = parts.converted, parts.adapter.folder / "adapter"
    for artifact in converted.record.artifacts:
        for entry in artifact.files:
            place(converted.folder / entry.name, out / placed(artifact, entry), entry)
    trained = store.entries(source)
    if parts.adapter.record.sha256 not in {entry.sha256 for entry in trained}:
        raise StoreError(
            f"the adapter in {parts.adapter.folder.name} is not the one that was trained",
            fix="remove that folder and run basewright build again",
        )
    for entry in trained:
        place(source / entry.name, out / "adapter" / entry.name, entry)


def place(source: Path, target: Path, entry: FileEntry, linked: bool = True) -> None:
    """A hard link where the disk allows one, else a copy. Nothing writes to either name again (H018); where a person
    may, it is not `linked`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or not source.is_file():
        raise StoreError(
            f"{entry.name} is {'there twice' if target.exists() else 'missing'} in {source.parent.name}",
            fix="remove the folder it came from and run basewright build again",
        )
    if not (linked and _link(source, target)):
        store.reserve(target.parent, entry.size)
        shutil.copyfile(source, target)
    if store.sha256_of(target) != entry.sha256:
        raise StoreError(
            f"{entry.name} has other content than was converted",
            fix="remove the folder it came from and run basewright build again",
        )


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _pages(parts: Parts, out: Path) -> None:
    write_text(out / "Modelfile", modelfile.modelfile(parts))
    notices.write(parts, out)
    store.write_json(out / "basewright.json", facts.serving(parts))
    store.write_json(out / "proof.json", facts.proof(parts))
    write_text(out / "README.md", card.card(parts))
