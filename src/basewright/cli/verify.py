"""`basewright verify`: is a release whole, and does it still carry its proofs?"""

from __future__ import annotations

from pathlib import Path

import click

from basewright.cli import show


@click.command()
@click.argument("what")
@show.runs_option
@show.json_option
def command(what: str, runs: Path, as_json: bool) -> None:
    """Check a release, by its name or its folder: every file's hash, the proofs, the ML-BOM, the licence's duties.

    \b
    basewright verify contract-clauses
    """
    from basewright import checks
    from basewright.release.verify import verify
    from basewright.serve.artifact import find

    folder = find(what, show.open_store(runs))
    found = verify(folder)
    rows = [("ok" if check.passed else "FAILED", check.name, check.how) for check in found]
    if not as_json or all(check.passed for check in found):  # a failure is one JSON object, the error
        show.result(show.table(rows, ("", "check", "found")), found, as_json)
    checks.require(found, fix="do not use that folder: get the release again, or build it again")
