"""`basewright pretrain`: make a base model from scratch, from a recipe of corpus, shape and schedule."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show, together

if TYPE_CHECKING:
    from basewright.records import CurvePoint


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--corpora",
    type=click.Path(file_okay=False, path_type=Path),
    help="What corpus paths start from [default: the recipe's folder].",
)
@click.option("--out", type=click.Path(path_type=Path), help="Also write the model to this new folder.")
@show.runs_option
@show.json_option
@together.together
def command(recipe: Path, corpora: Path | None, out: Path | None, runs: Path, as_json: bool) -> None:
    """Train the tokenizer and the decoder that RECIPE describes, and measure it on held-out text.

    \b
    basewright pretrain examples/pretrain/tiny.toml
    """
    from basewright import recipe as recipes
    from basewright.errors import UsageError
    from basewright.records import Checkpoint
    from basewright.train import masked, pretrain

    settings = recipes.read_pretrain(recipe)
    root = corpora or recipe.absolute().parent
    maker = pretrain.pretrain if settings.kind == "decoder" else masked.pretrain
    if out is not None and out.exists():
        raise UsageError(f"{out} exists", fix="name a new folder with --out")
    with show.progress("pretrain") as progress:
        made, cached = together.open_store(runs).make(
            "checkpoint",
            {"settings": settings, "corpus": pretrain.fingerprint(settings, root)},
            Checkpoint,
            lambda work: maker(settings, root, work, progress),
        )
    if out is not None and together.first():
        shutil.copytree(made.folder, out)
    record, folder = made.record, out or made.folder
    unit = "bits/byte" if record.card.kind == "decoder" else "nats/hidden token"
    lines = [
        f"{record.name}: {record.card.parameters:,} parameters, {record.tokens:,} tokens, {record.flops:.2g} FLOPs"
        + (" (cached)" if cached else ""),
        *(f"  step {p.step:>6}  {p.tokens:>12,} tokens  {_measured(p, unit)} held out" for p in record.curve),
        *(f"  {name:<9} {value:.4f} {unit} on the same text" for name, value in record.baselines.items()),
        f"Folder    {folder}",
    ]
    show.result("\n".join(lines), record, as_json)
    use = f"complete {folder} 'Once upon a time'" if record.card.kind == "decoder" else f"plan {folder} --job full"
    show.hint(f"\nNext      basewright {use}")


def _measured(point: CurvePoint, unit: str) -> str:
    if point.masked is None:
        return f"{point.bits_per_byte:.4f} {unit}"
    return f"{point.masked:.4f} {unit}, {point.foreseen:.1%} foreseen,"
