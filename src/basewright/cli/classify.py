"""`basewright classify`: the class of a text, with probabilities, by a model that was tuned with a head."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.engine.classifier import Judged

WIDTH = 60
"""Characters of a text that are shown."""


@click.command()
@click.argument("what")
@click.argument("text", required=False)
@click.option(
    "--file", "path", type=click.Path(path_type=Path), help="Rows with a text each, in any form that `certify` reads."
)
@click.option("--column", default="text", show_default=True, help="What the text is called in the rows of --file.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes shown of each text.")
@show.runs_option
@show.json_option
def command(what: str, text: str | None, path: Path | None, column: str, top: int, runs: Path, as_json: bool) -> None:
    """Classify TEXT, or the rows of a file, by WHAT: a tuning with a head (its id, its folder, or its base's name), or
    a model's folder that transformers saved with one. `-` reads TEXT from standard input.

    \b
    basewright classify foundling-prose "my card has not arrived"
    basewright classify adapter-0123456789abcdef --file rows.jsonl --json
    """
    from basewright.errors import UsageError
    from basewright.serve import heads

    if (text is None) == (path is None):
        raise UsageError("give a text to classify, or rows", fix="a TEXT, - for standard input, or --file ROWS")
    texts = _rows(path, column) if path is not None else [sys.stdin.read() if text == "-" else str(text)]
    engine = heads.open_classifier(what, show.open_store(runs))
    with show.progress("classify") as progress:
        found = engine.classify(texts, progress)
    plain = {
        "model": engine.name,
        "results": [
            {"text": one, "label": judged.label, "probabilities": judged.probabilities}
            for one, judged in zip(texts, found, strict=True)
        ],
    }
    show.result(_one(found[0], top) if path is None else _table(texts, found), plain, as_json)


def _rows(path: Path, column: str) -> list[str]:
    """The texts of a file's rows. Raises `DataError` for a row that has none."""
    from basewright.data import files
    from basewright.errors import DataError

    texts = []
    for raw in files.read(path).rows:
        text = raw.value.get(column) if isinstance(raw.value, dict) else None
        if raw.fault or not isinstance(text, str):
            raise DataError(
                f"{raw.where} has no text called {column!r}", fix="name the column with the texts: --column"
            )
        texts.append(text)
    return texts


def _one(judged: Judged, top: int) -> str:
    rows = [(label, f"{share:.1%}") for label, share in list(judged.probabilities.items())[:top]]
    return show.table(rows, ("class", "probability"))


def _table(texts: list[str], found: list[Judged]) -> str:
    rows = [
        (judged.label, f"{judged.probabilities[judged.label]:.1%}", " ".join(text.split())[:WIDTH])
        for text, judged in zip(texts, found, strict=True)
    ]
    return show.table(rows, ("class", "probability", "text"))
