"""`basewright nature`: is a checkpoint a base model or an instruct model? From evidence, never from its name."""

from __future__ import annotations

from pathlib import Path

import click

from basewright.cli import show
from basewright.errors import UsageError
from basewright.records import NatureReport


@click.command()
@click.argument("model")
@show.runs_option
@show.json_option
def command(model: str, runs: Path, as_json: bool) -> None:
    """Say whether MODEL (a release, a model's folder, or a catalog model) is base or instruct, and by which evidence.

    \b
    basewright nature foundling-prose
    """
    from basewright import store
    from basewright.evaluate.nature import report as nature
    from basewright.hub import airlock
    from basewright.serve import bases
    from basewright.serve.artifact import find, open_artifact

    folder = find(model, show.open_store(runs))
    if bases.alone(folder):
        raise UsageError(
            f"{folder.name} is an adapter, and nature looks at a model's own files", fix="name its base instead"
        )
    lm, name, _ = open_artifact(folder)
    files = folder / "model" if (folder / "model").is_dir() else folder
    commit = store.digest([[entry.name, entry.sha256] for entry in airlock.inspect(files)])
    with show.progress("nature") as progress:
        found = nature.run(lm, files, model=name, weights=commit, progress=progress)
    show.result(_text(found), found, as_json)


def _text(found: NatureReport) -> str:
    rows = [(f"{one.log_odds:+.2f}", one.points, one.name, one.seen) for one in found.evidence]
    likelier = "instruct" if found.log_odds > 0 else "base"
    leaning = f"; it leans to {likelier}" if found.verdict == "cannot tell" and found.log_odds else ""
    return "\n".join(
        [
            f"{found.model}: {found.verdict} (confidence {found.confidence:.3f}{leaning})",
            "",
            show.table(rows, ("nats", "points to", "evidence", "seen")),
            "",
            f"Asked in {found.layout!r}, which of all layouts speaks most for an instruct model.",
        ]
    )
