"""`basewright build`: walk a recipe and say, stage by stage, what was found and what was proven."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from basewright.cli import show
from basewright.pages.phrases import wrap
from basewright.records import Built

WIDTH, MARGIN = 100, " " * 10


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
    read = recipes.read(recipe)
    built = path.build(read, recipe.absolute().parent, show.open_store(runs), watch)
    where = "" if runs == Path("runs") else f" --runs {runs}"
    report = path.report(built, read, f"basewright build {recipe}{where}", runs)
    folder = _short(built.release.folder)
    show.result(_verdict(built, report, folder), _plain(built, report, folder), as_json)
    show.hint(_next(built, where))


def _verdict(built: Built, report: Path, folder: str) -> str:
    from basewright.report import words

    said = [*words.verdict(built), words.checked(built)]
    lines = [line for sentence in said for line in wrap(sentence, WIDTH - len(MARGIN), 5)]
    told = f"\n{MARGIN}".join(lines)
    return f"\nVerdict   {told}\nReport    {report}\nRelease   {folder}"


def _plain(built: Built, report: Path, folder: str) -> dict[str, Any]:
    names = ("choice", "certificate", "adapter", "proof", "converted", "release")
    return {
        "release": folder,
        "report": str(report),
        "plans": built.plans,
        **{f"{name}_id": getattr(built, name).id for name in names},
        "choice": built.choice.record,
        "proof": built.proof.record,
        "converted": built.converted.record,
    }


def _next(built: Built, where: str) -> str:
    """The prompt is spelled as bash takes it; another layout than the tuned one gets another model's answers."""
    from basewright.text import layout

    name = built.release.record.name
    asked = json.dumps(layout.prompt(built.adapter.record.layout, "…"), ensure_ascii=False)[1:-1].replace("'", "\\'")
    return (
        f"\nNext      basewright complete {name}{where} $'{asked}'   # ask it here, in the words it was tuned on\n"
        f"          basewright serve {name}{where}        # answer on /v1/completions\n"
        f"          basewright runs{where}                 # everything that was made"
    )


def _short(folder: Path) -> str:
    """Relative to where the person stands, when it lies below."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
