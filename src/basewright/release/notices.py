"""The licence files of a release: the base's own texts, the NOTICE with what was changed, and the duties as data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basewright import __version__, store
from basewright.release.duties import Duties
from basewright.release.parts import Parts, label, write_text

LICENCE = "LICENSE"
STAND_IN = "LICENSE-NOTICE.md"
NOTICE = "NOTICE"


def licence_texts(folder: Path) -> dict[str, bytes]:
    """The licence files at the top of a model's folder, in order of name; never a link, never our own stand-in."""
    return _files(folder, ("license", "licence", "copying"))


def with_base(folder: Path) -> dict[str, bytes]:
    """Licence, use policy and notice beside a base's weights, by file name."""
    return licence_texts(folder) | _files(folder, ("use_policy", "notice"))


def write(parts: Parts, out: Path) -> None:
    """The base's licence texts byte for byte (the main one as LICENSE), use policy, NOTICE and duties.json."""
    base = parts.weights.folder / "model"
    texts = licence_texts(base)
    main = LICENCE if LICENCE in texts else next((n for n in texts if n.casefold().startswith("licen")), None)
    main = main or next(iter(texts), None)
    for name, text in {**texts, **_files(base, ("use_policy",))}.items():
        (out / (LICENCE if name == main else name)).write_bytes(text)
    if main is None:
        write_text(out / STAND_IN, stand_in(parts.duties))
    write_text(out / NOTICE, notice(parts, _files(base, ("notice",))))
    store.write_json(out / "duties.json", as_data(parts.duties, licence_texts(out)))


def stand_in(duties: Duties) -> str:
    """What stands in for a licence text that the base did not carry: its name, where it is, what it asks."""
    lines = [f"# Licence: {duties.licence}", "", "The base model came without a copy of its licence text.", ""]
    for terms in duties.terms:
        lines += [f"- `{terms.id}`: {terms.title}, <{terms.source.url}>"]
        lines += [f"  - {duty}" for duty in terms.duties or ("it asks nothing of you",)]
    return "\n".join(lines) + "\n"


def notice(parts: Parts, of_base: Mapping[str, bytes]) -> str:
    """The lines the licence wants word for word, what was changed, and the base's own notice."""
    adapter = parts.adapter.record
    forms = ", ".join(label(artifact) for artifact in parts.artifacts)
    changed = (
        f"Changed: the weights. A low-rank adapter of rank {adapter.lora.rank}, trained on"
        f" {parts.certificate.record.rows} examples of the task {parts.task.name!r}, was merged into them,"
        f" and the result was written as {forms}. Made with basewright {__version__}."
    )
    lines = [
        parts.name,
        *parts.duties.notices,
        *parts.duties.displays,
        f"This model is a modified version of {parts.card.id} (commit {parts.weights.record.commit}).",
        changed,
    ]
    for name, text in of_base.items():
        lines += [f"---- {name} of the base model ----", text.decode("utf-8", errors="replace").rstrip()]
    return "\n\n".join(lines) + "\n"


def as_data(duties: Duties, texts: Mapping[str, bytes]) -> dict[str, Any]:
    """duties.json: what holds, where it was read, and the hash of each licence text in the folder."""
    return {
        "schema": 1,
        "licence": duties.licence,
        "non_commercial": duties.non_commercial,
        "duties": duties.texts,
        "terms": duties.terms,
        "texts": {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()},
    }


def _files(folder: Path, beginnings: tuple[str, ...]) -> dict[str, bytes]:
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.casefold().startswith(beginnings)
        and path.name != STAND_IN
        and path.is_file()
        and not path.is_symlink()
    )
    return {path.name: path.read_bytes() for path in found}
