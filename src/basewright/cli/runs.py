"""`basewright runs`: everything that has been made, newest first."""

from __future__ import annotations

from pathlib import Path

import click

from basewright.cli import show


@click.command()
@click.option("--kind", help="Only one kind: weights, scores, adapter, choice, proof, converted, release …")
@show.runs_option
@show.json_option
def command(kind: str | None, runs: Path, as_json: bool) -> None:
    """List what has been made, newest first, with what it was made from.

    \b
    basewright runs --kind release
    """
    from basewright.errors import UsageError, nearest

    stamps = show.open_store(runs).all()
    kinds = {stamp.kind for stamp in stamps}
    if kind is not None and kind not in kinds:
        raise UsageError(f"nothing of kind {kind!r} has been made; {nearest(kind, kinds)}", fix="basewright runs")
    stamps = [stamp for stamp in stamps if kind in (None, stamp.kind)]
    rows = [(s.id, s.started[:19].replace("T", " "), f"{s.seconds:.1f}s", ", ".join(s.parents)) for s in stamps]
    text = show.table(rows, ("id", "started (UTC)", "took", "made from")) if rows else "nothing has been made here yet"
    show.result(text, stamps, as_json)
    if not rows:
        show.hint("next: basewright build examples/contract-clauses.toml")
