"""A file on its way: its bytes, and beside them a journal of the chunks that are whole (H025).

    FOLDER/data       the bytes so far
    FOLDER/journal    one JSON value a line: the server's etag, then the sha256 of each chunk in order
    FOLDER/holder     who is writing (`holder`)

A chunk is synced before the line that names it, and its hash is checked again when another process goes on: a kill or
a power cut costs at most the chunk that was on its way.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from basewright import signals

CHUNK = 16 * 2**20
DATA, JOURNAL = "data", "journal"


class Partial:
    """Open for one process. `position` is where the next byte goes."""

    def __init__(self, folder: Path, size: int, chunk: int = CHUNK) -> None:
        self.folder, self.size, self.chunk = folder, size, chunk
        self.etag = ""
        self.chunks: list[str] = []
        self.data = os.open(folder / DATA, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.journal = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._resume()

    def _resume(self) -> None:
        """Take over what the journal names and the bytes bear out; what follows is cut off."""
        kept = 0
        for line in os.pread(self.journal, os.fstat(self.journal).st_size, 0).splitlines(keepends=True):
            entry = _entry(line)
            if "etag" in entry:
                self.etag = str(entry["etag"])
            elif not self._bears_out(entry.get("chunk")):
                break
            kept += len(line)
        os.ftruncate(self.journal, kept)
        os.lseek(self.journal, kept, os.SEEK_SET)
        self.position = min(len(self.chunks) * self.chunk, self.size)
        os.ftruncate(self.data, self.position)
        self.running = hashlib.sha256()

    def _bears_out(self, expected: Any) -> bool:
        signals.poll()
        start = len(self.chunks) * self.chunk
        length = min(self.chunk, self.size - start)
        found = os.pread(self.data, length, start) if length > 0 else b""
        if not found or len(found) != length or hashlib.sha256(found).hexdigest() != expected:
            return False
        self.chunks.append(str(expected))
        return True

    def begin(self, etag: str) -> None:
        """From the start, of what the server calls `etag`."""
        os.ftruncate(self.journal, 0)
        os.ftruncate(self.data, 0)
        os.lseek(self.journal, 0, os.SEEK_SET)
        self.position, self.etag, self.chunks, self.running = 0, etag, [], hashlib.sha256()
        if etag:
            self._note({"etag": etag})

    def write(self, block: bytes) -> None:
        """The next bytes, at most up to the size; a chunk that is now whole goes into the journal."""
        view = memoryview(block)[: self.size - self.position]
        while view:
            end = min((len(self.chunks) + 1) * self.chunk, self.size)
            part = view[: end - self.position]
            count = os.pwrite(self.data, part, self.position)
            self.running.update(part[:count])
            self.position += count
            view = view[count:]
            if self.position == end:
                os.fsync(self.data)
                self.chunks.append(self.running.hexdigest())
                self._note({"chunk": self.chunks[-1]})
                self.running = hashlib.sha256()

    def _note(self, entry: dict[str, str]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        while line:
            line = line[os.write(self.journal, line) :]
        os.fsync(self.journal)

    def close(self) -> None:
        os.close(self.data)
        os.close(self.journal)


def _entry(line: bytes) -> dict[str, Any]:
    """One line of the journal; empty for one that a kill cut short."""
    try:
        value = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
