"""`basewright new`: look at labelled data and write a recipe for it, each choice with its reason."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.looking.draft import Draft


INDENT = 10


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--name", help="Of the task and of what is built; that of DATA if not stated.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The recipe; NAME.toml if not stated.")
@click.option("--text", help="The column that holds the text, if the wrong one is found.")
@click.option("--label", help="Likewise the column that holds the label.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@show.json_option
def command(
    data: Path, name: str | None, output: Path | None, text: str | None, label: str | None, force: bool, as_json: bool
) -> None:
    """Write a recipe for DATA: CSV, TSV, JSON, JSON lines, or a folder of them or of text files.

    DATA is left as it is. Rows that cannot be used, or that a recipe cannot read, are written anew beside the recipe.

    \b
    basewright new tickets.csv
    """
    from basewright import store
    from basewright.looking import draft as drafts
    from basewright.looking import words

    name = _name(name or data.resolve().stem)
    output = output or Path(f"{name}.toml")
    anew = output.with_name(f"{output.stem}.rows.jsonl")
    _keep(output, force)
    with show.progress("new") as progress:
        drafted, rows = drafts.draft(data, name, text, label, progress)
    if not drafted.as_they_are:
        _keep(anew, force)
        store.write(anew, drafts.written(rows))
    source = data if drafted.as_they_are else anew
    relative = Path(os.path.relpath(source.resolve(), output.resolve().parent)).as_posix()
    recipe = words.toml(drafted, relative, f"basewright new {data.name}")
    store.write(output, recipe.encode())
    written = [output, *([] if drafted.as_they_are else [anew])]
    show.result(_text(drafted, written), _plain(drafted, written), as_json)
    show.hint(f"\nNext      basewright build {shlex.quote(str(output))}")


def _name(stated: str) -> str:
    """As a recipe's name has to be: small letters, digits and hyphens."""
    from basewright.errors import UsageError

    plain = re.sub(r"[^a-z0-9]+", "-", stated.casefold()).strip("-")[:64].rstrip("-")
    if not plain:
        raise UsageError(f"{stated!r} holds no letter or digit a name can be made of", fix="state one: --name my-task")
    return plain


def _keep(path: Path, force: bool) -> None:
    from basewright.errors import UsageError

    if path.exists() and not force:
        raise UsageError(f"{path} is there already", fix="--output OTHER.toml for another, or --force to replace it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", fix=f"mkdir -p {shlex.quote(str(path.parent))}")


def _text(drafted: Draft, written: list[Path]) -> str:
    from basewright.looking import words

    lines = [_folded(f"{about:<{INDENT}}{said}", INDENT) for about, said in words.facts(drafted)]
    lines += ["", f"{'Recipe':<{INDENT}}{', '.join(map(str, written))}"]
    for one in drafted.settings:
        lines.append(f"{'':<{INDENT}}{one.key} = {words.value(one.value)}")
        lines.append(_folded(f"{'':<{INDENT + 4}}{one.why}", INDENT + 4))
    return "\n".join(lines)


def _folded(line: str, indent: int) -> str:
    """At the terminal's width, later lines under the first one's text."""
    width = max(60, min(120, shutil.get_terminal_size().columns))
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _plain(drafted: Draft, written: list[Path]) -> dict[str, Any]:
    return {"recipe": str(written[0]), "rows": str(written[1]) if len(written) > 1 else None, "draft": drafted}
