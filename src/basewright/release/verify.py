"""Is a release whole? Every fault is named by its file: content, extra files, ML-BOM, proof, licence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basewright import store
from basewright.errors import Refused, StoreError
from basewright.records import Check
from basewright.release import duties, notices

REQUIRED = ("README.md", "Modelfile", "NOTICE", "duties.json", "bom.json", "proof.json", "basewright.json")


def verify(folder: Path) -> list[Check]:
    """One check a question; `how` names the files at fault. It never raises for what the folder holds.

    Without a signature a person who rewrites the files and the manifest together is not found out.
    """
    return [
        _check("manifest", folder, _manifest),
        _check("nothing added", folder, _added),
        _check("files", folder, _files),
        _check("ml-bom", folder, _bom),
        _check("proof", folder, _proof),
        _check("licence", folder, _licence),
    ]


def _check(name: str, folder: Path, question: Callable[[Path], list[str]]) -> Check:
    try:
        faults = question(folder)
    except (StoreError, Refused) as error:
        faults = [error.message]
    except (KeyError, TypeError, AttributeError, OSError) as error:
        faults = [f"a file has another form than a release's: {error!r}"]
    return Check(
        name=name, value=float(len(faults)), limit=0.0, passed=not faults, how="; ".join(faults) or "no fault found"
    )


def _manifest(folder: Path) -> list[str]:
    """Every file against its hash, and the manifest itself against the one form it is written in."""
    faults = store.faults(folder)
    raw = store.read_json(folder / store.MANIFEST)
    written = json.dumps(raw, indent=1, allow_nan=False).encode()
    if (folder / store.MANIFEST).read_bytes() != written or raw.get("schema") != 1:
        faults.append(f"{store.MANIFEST} is not in the form it was written in")
    return faults


def _added(folder: Path) -> list[str]:
    """Files and links that the manifest does not know (H118)."""
    listed = {entry["name"] for entry in store.read_json(folder / store.MANIFEST)["files"]} | {store.MANIFEST}
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    links = [f"{path.relative_to(folder).as_posix()} is a link" for path in found if path.is_symlink()]
    names = [path.relative_to(folder).as_posix() for path in found]
    return links + [f"{name} is not in {store.MANIFEST}" for name in names if name not in listed]


def _files(folder: Path) -> list[str]:
    wanted = [*REQUIRED, *(name for name, _ in _artifact_files(folder))]
    faults = [f"{name} is missing" for name in wanted if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in (notices.LICENCE, notices.STAND_IN)):
        faults.append(f"neither {notices.LICENCE} nor {notices.STAND_IN} is there")
    if not any((folder / "adapter").glob("*.safetensors")):
        faults.append("adapter/ holds no weights")
    return faults


def _bom(folder: Path) -> list[str]:
    """Every hash of the ML-BOM recomputed (H119), and every artifact's hash found in it."""
    document = store.read_json(folder / "bom.json")
    hashes = {c["name"]: c["hashes"][0]["content"] for c in document["components"] if c["type"] == "file"}
    faults = [f"bom.json names {name}, which is missing" for name in hashes if not (folder / name).is_file()]
    faults += [
        f"{name} has another hash in bom.json"
        for name, sha256 in hashes.items()
        if (folder / name).is_file() and store.sha256_of(folder / name) != sha256
    ]
    return faults + [f"{name} is not in bom.json" for name, sha in _artifact_files(folder) if hashes.get(name) != sha]


def _proof(folder: Path) -> list[str]:
    document = store.read_json(folder / "proof.json")
    return [f"proof.json: {c['about']}: {c['name']} failed" for c in document["checks"] if c["passed"] is not True]


def _licence(folder: Path) -> list[str]:
    """The duties computed again from the licence's name, and each that a file can meet looked for in the file."""
    serving, written = store.read_json(folder / "basewright.json"), store.read_json(folder / "duties.json")
    due = duties.duties_of(serving["base"]["licence"])
    texts = notices.licence_texts(folder)
    duties.check_name(due, serving["name"])
    duties.check_texts(due, texts)
    notice, readme = (_text(folder / name) for name in (notices.NOTICE, "README.md"))
    faults = [f"{notices.NOTICE} lacks the line: {line}" for line in due.notices if line not in notice]
    faults += [f"README.md does not show: {words}" for words in due.displays if words not in readme]
    expected: dict[str, Any] = json.loads(store.canonical(notices.as_data(due, texts)))
    return faults + [
        f"duties.json: {key} is not what the licence says" for key in expected if written[key] != expected[key]
    ]


def _artifact_files(folder: Path) -> list[tuple[str, str]]:
    serving = store.read_json(folder / "basewright.json")
    return [(entry["name"], entry["sha256"]) for artifact in serving["artifacts"] for entry in artifact["files"]]


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")
