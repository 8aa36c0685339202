"""One file over HTTP: resumed chunk by chunk, hashed as a whole before it has its final name (H024-H030).

Every byte that Basewright downloads comes through `fetch`. Whatever a server does, it ends with the right content or
with one error, within a time that is known beforehand.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from basewright import store
from basewright.errors import BasewrightError, ModelFileError
from basewright.formats import strict
from basewright.hub import holder, turns, wire
from basewright.hub.blobs import Blobs, disk_errors
from basewright.hub.digests import Wanted
from basewright.hub.journal import CHUNK, DATA, Partial
from basewright.hub.wire import Answer, Passing, Wire

BLOCK = 2**18
MISMATCHES = 3
"""How often the whole file may come with another hash."""
CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
LENGTH = re.compile(r"[0-9]{1,15}")
Told = Callable[[str, int], None]
"""(what is being done, bytes of the file that are here)"""


def fetch(line: Wire, url: str, wanted: Wanted, blobs: Blobs, told: Told, chunk: int = CHUNK) -> Path:
    """The file at `url`, verified, in `blobs`. Raises `BasewrightError`, `ModelFileError` or `StoreError`."""
    with turns.turn(blobs, wanted, line.patience, lambda what: told(what, 0)) as folder:
        if folder is not None:
            line.tick = lambda: holder.beat(folder)
            with disk_errors(wanted.name, blobs.folder, lambda: wanted.size):
                partial = Partial(folder, wanted.size, chunk)
            with closing(partial), disk_errors(wanted.name, blobs.folder, lambda: wanted.size - partial.position):
                store.reserve(blobs.folder, wanted.size - partial.position)
                return _Fetch(line, url, wanted, partial, told).run(blobs)
    found = blobs.get(wanted)
    if found is None:
        raise ModelFileError(f"{wanted.name} is gone again", fix="run the same command again")
    return found


class _Fetch:
    def __init__(self, line: Wire, url: str, wanted: Wanted, partial: Partial, told: Told) -> None:
        self.line, self.url, self.wanted, self.partial, self.told = line, url, wanted, partial, told
        self.until = line.patience.until(wanted.size)
        self.failures, self.furthest = 0, partial.position

    def run(self, blobs: Blobs) -> Path:
        mismatches = 0
        while True:
            self._receive()
            try:
                return blobs.publish(self.partial.data, self.partial.folder / DATA, self.wanted)
            except ModelFileError:
                mismatches += 1
                if mismatches == MISMATCHES:
                    self.partial.begin("")
                    raise
                self.partial.begin("")
                self.furthest = 0

    def _receive(self) -> None:
        """Bytes until there are enough of them; attempts are counted since the last chunk gained."""
        while self.partial.position < self.wanted.size:
            try:
                self._once()
            except Passing as passing:
                gained = len(self.partial.chunks) * self.partial.chunk
                self.failures = 1 if gained > self.furthest else self.failures + 1
                self.furthest = max(self.furthest, gained)
                wire.pause(self.line, self.failures, passing, self.until, self.wanted.name)

    def _once(self) -> None:
        start = self.partial.position
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and self.partial.etag.startswith('"'):  # a weak one names no bytes
            headers["If-Range"] = self.partial.etag
        with closing(self.line.open(self.url, headers, self.until)) as answer:
            self._check(answer, start)
            clock, first = time.monotonic(), self.partial.position
            while self.partial.position < self.wanted.size:
                block = answer.read(min(BLOCK, self.wanted.size - self.partial.position))
                if not block:
                    raise Passing(f"{answer.host} broke off")
                if not self.partial.position:
                    self._refuse_mistaken(block)
                self.partial.write(block)
                self.line.tick()
                speed = (self.partial.position - first) / max(time.monotonic() - clock, 1e-3) / 2**20
                self.told(f"{speed:.1f} MiB/s, {self.wanted.name}", self.partial.position)

    def _check(self, answer: Answer, start: int) -> None:
        """Whether the body is what was asked for; where it starts anew, so does the file (H026)."""
        etag = answer.header("ETag")
        if answer.header("Content-Encoding") not in ("", "identity"):
            raise Passing(f"{answer.host} sends {self.line.clean(answer.header('Content-Encoding'))[:20]} unasked")
        if answer.status == 200:
            self._check_length(answer, self.wanted.size)
            self.partial.begin(etag)  # also when a range was asked for: it is not what we had, or it does not do ranges
        elif answer.status == 206 and start:
            self._check_range(answer, start)
            if etag and self.partial.etag and etag != self.partial.etag:
                self.partial.begin("")
                raise Passing(f"{answer.host} has another file than before")
            self._check_length(answer, self.wanted.size - start)
        elif answer.status in (206, 416):
            self.partial.begin("")
            raise Passing(f"{answer.host} answers {answer.status} to what was asked")
        else:
            raise wire.refuse(self.line, answer, self.wanted.name)

    def _check_range(self, answer: Answer, start: int) -> None:
        found = CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
        if not found or tuple(map(int, found.groups())) != (start, self.wanted.size - 1, self.wanted.size):
            raise Passing(f"{answer.host} sends another part than was asked for")

    def _check_length(self, answer: Answer, expected: int) -> None:
        length = answer.header("Content-Length")
        if length and length != str(expected):
            if answer.status == 200 and answer.header("Content-Type").startswith("text/"):
                self._refuse_mistaken(answer.read(512))
            raise Passing(f"{answer.host} announces {length[:20]} bytes instead of {expected}")

    def _refuse_mistaken(self, head: bytes) -> None:
        """A web page or a pointer in place of weights is named at once (H009)."""
        if self.wanted.name.endswith((".safetensors", ".json", ".gguf")):
            strict.refuse_mistaken(head[:512], max(self.wanted.size, 1), self.wanted.name)


def read(line: Wire, url: str, what: str, limit: int) -> bytes:
    """A small answer whole, in memory. Raises `BasewrightError`."""
    until, failures = line.patience.until(limit), 0
    while True:
        try:
            return _read_once(line, url, what, limit, until)
        except Passing as passing:
            failures += 1
            wire.pause(line, failures, passing, until, what)


def _read_once(line: Wire, url: str, what: str, limit: int, until: float) -> bytes:
    with closing(line.open(url, {"Accept": "application/json"}, until)) as answer:
        if answer.status != 200:
            raise wire.refuse(line, answer, what)
        data = bytearray()
        while block := answer.read(BLOCK):
            data += block
            if len(data) > limit:
                raise BasewrightError(
                    f"{answer.host} answers more than {limit // 2**20} MiB for {what}", fix="check HF_ENDPOINT"
                )
        length = answer.header("Content-Length")
        if length and length != str(len(data)):
            raise Passing(f"{answer.host} broke off")
        return bytes(data)


def size_of(line: Wire, url: str, what: str) -> int:
    """How large the file at `url` is, as its server says. Raises `BasewrightError`."""
    until, failures = line.patience.until(0), 0
    while True:
        try:
            with closing(line.open(url, {"Range": "bytes=0-0"}, until)) as answer:
                if answer.status not in (200, 206):
                    raise wire.refuse(line, answer, what)
                found = CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
                text = found[3] if found and answer.status == 206 else answer.header("Content-Length")
            if not LENGTH.fullmatch(text):
                raise Passing(f"{answer.host} does not say how large {what} is")
            return int(text)
        except Passing as passing:
            failures += 1
            wire.pause(line, failures, passing, until, what)
