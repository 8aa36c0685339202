"""Whole files by their hash: what is here has been hashed, and is hashed again before it is given out (H024, H032).

FOLDER/blobs/sha256-…      a whole file, for everyone read-only
FOLDER/partial/sha256-…/   one folder a process that fetches it (`journal`)
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from basewright import signals
from basewright.errors import ModelFileError, StoreError
from basewright.formats import strict
from basewright.hub.digests import BLOCK, Wanted

FICLONE = 0x40049409
"""Of linux/fs.h: one file's blocks shared with another, until either is written."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Blobs:
    folder: Path

    @property
    def whole(self) -> Path:
        return self.folder / "blobs"

    @property
    def partial(self) -> Path:
        return self.folder / "partial"

    def get(self, wanted: Wanted) -> Path | None:
        """The file, after its content was hashed; a damaged one counts as absent."""
        path = wanted.digest.below(self.whole)
        return path if wanted.digest.matches(path, wanted.size) else None

    def take(self, source: Path, wanted: Wanted) -> Path | None:
        """A file of another cache or folder, linked or copied here when it is the one meant; its owner keeps it."""
        if not wanted.digest.matches(source, wanted.size):
            return None
        self.whole.mkdir(parents=True, exist_ok=True)
        half = self.whole / f".{uuid.uuid4().hex}"
        try:
            share(source, half)
            return self._publish(half, wanted) if wanted.digest.matches(half, wanted.size) else None
        finally:
            half.unlink(missing_ok=True)

    def publish(self, data: int, path: Path, wanted: Wanted) -> Path:
        """Give a fetched file its name: only after all of it was read back and hashed. Raises `ModelFileError`."""
        with os.fdopen(os.dup(data), "rb") as file:
            if not wanted.digest.of(file, wanted.size):
                raise ModelFileError(
                    f"what came for {wanted.name} is not what its hash says", fix="run the same command again"
                )
        os.fchmod(data, 0o444)
        os.fsync(data)
        self.whole.mkdir(parents=True, exist_ok=True)
        return self._publish(path, wanted)

    def _publish(self, half: Path, wanted: Wanted) -> Path:
        final = wanted.digest.below(self.whole)
        os.replace(half, final)
        handle = os.open(self.whole, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return final


def share(source: Path, target: Path) -> None:
    """The same file under a second name: a hard link, shared blocks, or a copy where the disk allows neither."""
    try:
        os.link(source, target, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno in FULL or isinstance(error, (FileNotFoundError, FileExistsError)):
            raise
    with strict.open_file(source) as reader, target.open("xb") as writer:
        if not _reflink(reader.fileno(), writer.fileno()):
            while block := reader.read(BLOCK):
                signals.poll()
                writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())


def _reflink(source: int, target: int) -> bool:
    try:
        import fcntl

        fcntl.ioctl(target, FICLONE, source)
    except (ImportError, OSError):
        return False
    return True


@contextmanager
def disk_errors(what: str, folder: Path, missing: Callable[[], int]) -> Iterator[None]:
    """A full disk says how many bytes are missing; what has come stays (H030)."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise StoreError(
                f"{error.strerror or error} while writing {what}", fix="run the same command again"
            ) from error
        free = 0
        with suppress(OSError):
            free = shutil.disk_usage(folder).free
        raise StoreError(
            f"disk full while fetching {what}: {max(missing() - free, 1):,} bytes are missing; what has come is kept",
            fix="free some space, then run the same command again: it continues",
        ) from error
