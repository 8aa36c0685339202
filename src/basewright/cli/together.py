"""A command that torchrun starts several times as one run: the first process alone makes, writes and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewright.cli import show
from basewright.errors import BasewrightError, Interrupted, Refused

if TYPE_CHECKING:
    from basewright.store import Store


def together(command: Callable[..., None]) -> Callable[..., None]:
    """The command, for one process or several; what they agree on is said once."""

    @wraps(command)
    def run(**options: Any) -> None:
        if not several():
            return command(**options)
        from basewright.train import ranks

        with nullcontext() if first() else _behind(), ranks.joined():
            return command(**options)

    return run


def open_store(runs: Path) -> Store:
    """The store at `runs`, shared where there are several processes."""
    if not several():
        return show.open_store(runs)
    from basewright.train import ranks

    return ranks.Shared(runs.absolute())


def first() -> bool:
    """Whether this process is the one that writes; alone it is."""
    return not several() or os.environ["RANK"] == "0"


def any_of(flag: bool) -> bool:
    """Whether one of the processes says so: what is seen of a machine differs, and all have to do the same."""
    if not several():
        return flag
    from basewright.train import ranks

    return ranks.team().any(flag)


def several() -> bool:
    """By torchrun's variables; loads no library."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def _behind() -> Iterator[None]:
    """In silence, but for an error that may be this process's own: all stop or refuse together."""
    try:
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            yield
    except (Interrupted, Refused) as error:
        sys.exit(error.exit_code)
    except BasewrightError as error:
        error.message = f"process {os.environ['RANK']}: {error.message}"
        raise
