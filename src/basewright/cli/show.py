"""All output: results to stdout (as text or JSON), hints and progress with an ETA to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basewright.plain import to_plain
from basewright.records import Progress

if TYPE_CHECKING:
    from basewright.store import Store

UNKNOWN = "unknown"
UNLIMITED = 2**24
"""Tokens of context from which a model has no limit: it keeps a state instead."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
runs_option = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BASEWRIGHT_RUNS",
    default=Path("runs"),
    show_default=True,
    help="Where results are kept.",
)


def open_store(runs: Path) -> Store:
    """The store at `runs`; the folder is made when the first result is."""
    from basewright.store import Store

    return Store(runs.absolute())


def result(text: str, plain: Any, as_json: bool) -> None:
    """The result of a command, for a person or for a program."""
    click.echo(json.dumps(to_plain(plain), indent=1) if as_json else text)


def piece(text: str) -> None:
    """A part of a result, as soon as there is one."""
    click.echo(text, nl=False)


def hint(text: str) -> None:
    click.echo(text, err=True)


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> str:
    """Columns padded to their widest cell."""
    lines: list[tuple[str, ...]] = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


@contextmanager
def progress(stage: str) -> Iterator[Progress]:
    """A live line with an ETA on a terminal; elsewhere a line now and then, so that a log stays readable."""
    line = _Line(stage, live=sys.stderr.isatty())
    try:
        yield line
    finally:
        line.end()


class Printed:
    """Follows the walk on the terminal."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    @contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        with progress(stage) as line:
            yield line

    def done(self, stage: str, note: str, cached: bool, seconds: float) -> None:
        mark = "cached" if cached else f"{seconds:5.1f}s"
        (hint if self.quiet else click.echo)(f"{stage:<9}{mark:>7}  {note}")


class _Line:
    EVERY = 15.0
    """Seconds between lines when stderr is no terminal."""

    def __init__(self, stage: str, live: bool) -> None:
        self.stage = stage
        self.live = live
        self.began = self.last = time.monotonic()
        self.of: tuple[int, int] | None = None
        self.first = 0
        """What was done when this piece of work was first heard of: a resumed run did that much before."""
        self.drawn = False

    def __call__(self, what: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        if self.of is None or total != self.of[0] or done < self.of[1]:
            self.began, self.first = now, done  # another piece of work has begun
        self.of = (total, done)
        if now - self.last < (0.1 if self.live else self.EVERY) and done < total:
            return
        self.last = now
        spent = now - self.began
        left = spent / (done - self.first) * (total - done) if done > self.first and spent > 0 else 0.0
        text = f"  {self.stage:<9} {done}/{total} {what}" + (f" · {_clock(left)} left" if left >= 1 else "")
        if self.live:
            sys.stderr.write("\r\x1b[2K" + text[:160])
            sys.stderr.flush()
            self.drawn = True
        elif spent >= self.EVERY:
            sys.stderr.write(text + "\n")

    def end(self) -> None:
        if self.drawn:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return (
        f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02d}"
    )


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def count(value: int | None) -> str:
    """8.03B, 124M, 3.22M: three digits."""
    if value is None:
        return UNKNOWN
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if value >= 0.9995 * unit:
            return f"{float(f'{value / unit:.3g}'):g}{name}"
    return str(value)


def tokens(value: int | None, unit: str = " tokens") -> str:
    """A context: 131,072 tokens, or that none is set."""
    if value is None:
        return UNKNOWN
    return "no limit" if value >= UNLIMITED else f"{value:,}{unit}"
