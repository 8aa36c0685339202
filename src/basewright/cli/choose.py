"""`basewright choose`: which base model for this task, how sure that is, and what it took to find out."""

from __future__ import annotations

from pathlib import Path

import click

from basewright.cli import show


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@show.runs_option
@show.json_option
def command(recipe: Path, runs: Path, as_json: bool) -> None:
    """Choose among the candidates of RECIPE by evidence: a winner with a confidence, or an honest tie.

    Stop it at any time and run it again: it continues. Add a candidate: what the others answered is not asked again.
    A tie is an answer here; `build` stops on one unless the recipe takes the cheapest.

    \b
    basewright choose examples/contract-clauses.toml
    """
    from basewright import path, store
    from basewright import recipe as recipes
    from basewright.choose import page, terminal

    read = recipes.read(recipe)
    chosen = path.choose(read, recipe.absolute().parent, show.open_store(runs), show.Printed(quiet=as_json))
    choice, measured, price = chosen.choice.record, path.speeds(chosen.choice), read.limits.price_per_hour
    where = "" if runs == Path("runs") else f" --runs {runs}"
    again = f"basewright choose {recipe}{where}"
    written = runs / f"{read.name}-choice.html"
    html = page.render(choice, title=read.name, command=again, measured=measured, price_per_hour=price)
    store.write(written, html.encode())
    plain = {"choice_id": chosen.choice.id, "choice": choice, "answers_per_second": measured, "page": str(written)}
    show.result("\n" + terminal.terminal(choice, measured), plain, as_json)
    show.hint(f"\nPage      {written}\nNext      basewright build {recipe}{where}")
