"""`basewright build`: walk a recipe and say, stage by stage, what was found and what was proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from basewright.cli import show


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@show.runs_option
@show.json_option
def command(recipe: Path, runs: Path, as_json: bool) -> None:
    """Walk RECIPE: plan, pull, choose, certify, tune, prove, convert, release.

    Stop it at any time and run it again: it continues. Change the recipe: only what the change touches runs again.

    \b
    basewright build examples/contract-clauses.toml
    """
    from basewright import path
    from basewright import recipe as recipes

    watch = show.Printed(quiet=as_json)
    built = path.build(recipes.read(recipe), recipe.absolute().parent, show.open_store(runs), watch)
    folder = _short(built.release.folder)
    show.result(_verdict(built, folder), _plain(built, folder), as_json)
    show.hint(_next(built, folder, runs))


def _verdict(built: Any, folder: str) -> str:
    choice, proof = built.choice.record, built.proof.record
    after, gain = proof.after.accuracy, proof.gain.difference
    if choice.verdict == "winner":
        chosen = f"{choice.winner} is the base to build on, at {choice.question.confidence:.0%} confidence"
    else:
        chosen = f"{' and '.join(choice.tied)} cannot be separated; built on {choice.winner}"
    if choice.beaten_by:
        chosen += f"; {' and '.join(choice.beaten_by)} scored higher on the items to choose on"
    checks = [
        *built.certificate.record.checks,
        *proof.checks,
        *(c for a in built.converted.record.artifacts for c in a.checks),
    ]
    return (
        f"\nVerdict   {chosen}.\n"
        f"          Tuned, it is right on {after.value:.1%} of {after.n} test items "
        f"({after.low:.1%} to {after.high:.1%}); {gain.value:+.1%} over few-shot "
        f"({gain.low:+.1%} to {gain.high:+.1%}, p {proof.gain.p_value:.2g}).\n"
        f"          {len(checks)} checks passed. {len(built.converted.record.skipped)} skipped.\n"
        f"Report    {folder}/README.md"
    )


def _plain(built: Any, folder: str) -> dict[str, Any]:
    names = ("choice", "certificate", "adapter", "proof", "converted", "release")
    return {
        "release": folder,
        "plans": built.plans,
        **{f"{name}_id": getattr(built, name).id for name in names},
        "choice": built.choice.record,
        "proof": built.proof.record,
        "converted": built.converted.record,
    }


def _next(built: Any, folder: str, runs: Path) -> str:
    name = built.release.record.name
    where = "" if runs == Path("runs") else f" --runs {runs}"
    return (
        f"\nNext      basewright serve {name}{where}        # answer on /v1/completions\n"
        f"          basewright complete {name}{where} TEXT   # ask it here\n"
        f"          basewright runs{where}                 # everything that was made"
    )


def _short(folder: Path) -> str:
    """Relative to where the person stands, when it lies below."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
