"""Every error a person can meet, in one tree. Each says what happened and the next command to run.

    BasewrightError                 exit 1
    ├── UsageError                  exit 2    unknown command, option, recipe key or name
    ├── DataError                   exit 65   a row, file or encoding that cannot be used as it is
    ├── ModelFileError              exit 65   weights, config or tokenizer that fail the airlock
    ├── DoesNotFit                  exit 69   the plan says no
    ├── Refused                     exit 70   a proof failed: certificate, parity, forgetting, overlap
    │   └── CannotSeparate          exit 70   the evidence does not name a winner
    ├── StoreError                  exit 74   disk full, failed write, a damaged folder, a held lock
    └── Interrupted                 exit 130  Ctrl-C or SIGTERM; the same command continues the run

Rooms raise; only `cli.fail` prints. `assert` is for our own mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

FileCode = Literal[
    "missing",  # a file, or a part that must be in it, is not there
    "unreadable",  # the system does not give it: a link, a pipe, no permission, a failed read
    "name",  # a name of a file, tensor or key that is not plain, or is there in two spellings
    "too-large",  # beyond a stated limit: bytes, depth, counts
    "mistaken",  # another thing under this name: a web page, a Git-LFS pointer, an archive, zeros
    "cut-off",  # fewer bytes than it announces
    "malformed",  # against its format's rules
    "mismatch",  # two parts of the model that do not belong together
    "code",  # it can run code, or asks a library to
    "unsupported",  # sound, and not among what is supported here
    "changed",  # other bytes than were looked at a moment ago
    "template",  # a chat template that does more than write messages, or too much of it
    "unusable",  # found after the airlock, by what opened it
]
"""What is wrong with a model's file, for programs; all there are."""


class BasewrightError(Exception):
    """`message` is one line for a person; `fix` is the next command or action, one line."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.stage: str | None = None
        """The stage of the walk that stopped; set once by `path`."""


class UsageError(BasewrightError):
    exit_code = 2


class DataError(BasewrightError):
    exit_code = 65


class ModelFileError(BasewrightError):
    """`file` is the name of the file at fault, `offset` the byte in it, where they are known."""

    exit_code = 65

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        code: FileCode = "unusable",
        file: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.code = code
        self.file = file
        self.offset = offset


class DoesNotFit(BasewrightError):
    exit_code = 69


class Refused(BasewrightError):
    exit_code = 70


class CannotSeparate(Refused):
    pass


class StoreError(BasewrightError):
    exit_code = 74


class Interrupted(BasewrightError):
    exit_code = 130


SHOWN = 12
"""Names listed where none is near."""


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean …' for an unknown name, or what is known, `SHOWN` of them, when nothing is near."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "known: " + (", ".join(names[:SHOWN]) or "none") + more
