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
    exit_code = 65


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


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean …' for an unknown name, or the list of what is known when nothing is near."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(names) or "none")
