"""Hashes that name files: parsed in full before they become part of a path (H031), and checked over whole files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from basewright import signals
from basewright.errors import ModelFileError
from basewright.formats import strict

BLOCK = 2**20
FORMS = {"sha256": re.compile("[0-9a-f]{64}"), "sha1": re.compile("[0-9a-f]{40}")}


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file must hash to. `sha1` is git's: over `blob SIZE`, a zero byte and the content."""

    kind: Literal["sha256", "sha1"]
    hex: str

    def __post_init__(self) -> None:
        form = FORMS.get(self.kind)
        if form is None or not isinstance(self.hex, str) or not form.fullmatch(self.hex):
            raise ModelFileError(
                f"{str(self.hex)[:80]!r} is not a {str(self.kind)[:16]} hash", fix="give it as hexadecimal digits"
            )

    @classmethod
    def parse(cls, text: str) -> Digest:
        """`sha256:…`, as registries and manifests write it. Raises `ModelFileError`."""
        kind, _, digits = text.partition(":")
        return cls(kind, digits)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind}:{self.hex}"

    def below(self, folder: Path) -> Path:
        """The path of the file with this hash in `folder`; no path is made of a hash in another way."""
        return folder / f"{self.kind}-{self.hex}"

    def of(self, file: IO[bytes], size: int) -> bool:
        """Whether an open file of `size` bytes is the one meant; read from its start to its end."""
        found = hashlib.sha256() if self.kind == "sha256" else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        file.seek(0)
        count = 0
        while block := file.read(BLOCK):
            signals.poll()
            found.update(block)
            count += len(block)
        return count == size and found.hexdigest() == self.hex

    def matches(self, path: Path, size: int) -> bool:
        """Whether the regular file at `path`, itself and no link, is the one meant. Absent is no."""
        try:
            with strict.open_file(path) as file:
                return self.of(file, size)
        except (ModelFileError, OSError):
            return False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to get: what it is called, how large it is, what it hashes to."""

    name: str
    size: int
    digest: Digest
