"""What a person names to be pulled, taken apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from basewright.catalog import cards
from basewright.errors import UsageError, nearest
from basewright.hub.digests import Digest
from basewright.records import record

HUB, PACKAGE, OLLAMA = "hub:", "package:", "ollama:"
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
FORMS = "OWNER/NAME, OWNER/NAME:FILE.gguf, a folder, https:…#sha256=…, file:…#sha256=…, ollama:NAME:TAG"
Kind = Literal["hub", "package", "folder", "url", "file", "ollama"]


@record
class Reference:
    kind: Kind
    name: str
    """The repository, the model's name, the path or the address without its hash."""
    file: str = ""
    """The one GGUF file meant, in a repository that may hold many."""
    digest: Digest | None = None
    """Where the address itself says what the file hashes to."""

    def __str__(self) -> str:
        """The one spelling of it; what the lock of it is called by."""
        behind = f":{self.file}" if self.file else f"#sha256={self.digest.hex}" if self.digest else ""
        before = "" if self.kind in ("folder", "url") else f"{self.kind}:"
        return f"{before}{self.name}{behind}"

    @property
    def given(self) -> str:
        """As a person writes it."""
        return str(self).removeprefix(HUB).removeprefix(PACKAGE)


def parse(text: str) -> Reference:
    """Raises `UsageError` for what is none of the forms."""
    if text.startswith(("https:", "http:", "file:")):
        return _address(text)
    if text.startswith(OLLAMA):
        return Reference(kind="ollama", name=text.removeprefix(OLLAMA))
    if not text.startswith((HUB, PACKAGE)):
        if Path(text).expanduser().is_dir():
            return Reference(kind="folder", name=text)
        text = _curated(text)
    if text.startswith(PACKAGE):
        return Reference(kind="package", name=text.removeprefix(PACKAGE))
    repo, _, file = text.removeprefix(HUB).partition(":")
    if not REPO.fullmatch(repo) or (file and not file.lower().endswith(".gguf")):
        raise UsageError(f"{text[:100]!r} names no model that can be pulled", fix=f"give one of: {FORMS}")
    return Reference(kind="hub", name=repo, file=file)


def _curated(text: str) -> str:
    """The location of a curated model, or `text` itself where it is the name of a repository."""
    known = {fact.id: fact.location for fact in cards.facts()}
    location = known.get(text, text)
    if location.startswith("remote:"):
        raise UsageError(f"{text} is only hosted: its weights are not published", fix="evaluate it at its endpoint")
    if "/" not in location and not location.startswith(PACKAGE):
        raise UsageError(f"no model is called {text!r}; {nearest(text, known)}", fix=f"give one of: {FORMS}")
    return location


def _address(text: str) -> Reference:
    bare, _, fragment = text.partition("#")
    if text.startswith("http:"):
        raise UsageError("a model is not fetched over plain http", fix="give an https address")
    if not fragment.startswith("sha256="):
        raise UsageError(
            "an address says nothing of what lies there", fix="add #sha256= and the 64 digits that its makers publish"
        )
    digest = Digest("sha256", fragment.removeprefix("sha256="))
    path = unquote(urlsplit(bare).path)
    if not path.lower().endswith(".gguf"):
        raise UsageError("an address names a single GGUF file", fix=f"a model in several files is one of: {FORMS}")
    if text.startswith("file:"):
        return Reference(kind="file", name=path, digest=digest)
    return Reference(kind="url", name=bare, digest=digest)
