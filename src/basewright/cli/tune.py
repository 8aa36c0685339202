"""`basewright tune`: adapt a base model to your rows, after a certificate that they say what they should."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.data.prepare import Long, Options, Prepared
    from basewright.records import Adapter, Certificate, Checkpoint, Layout, Made, Weights
    from basewright.store import Store
    from basewright.text.tokenizer import Tokenizer
    from basewright.train.effort import Derived
    from basewright.train.objectives import Objective

METHODS = ("lora", "rslora", "dora", "pissa", "full")
EFFORTS = ("pilot", "standard", "thorough")
POSITIVE = click.IntRange(1)


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--method", type=click.Choice(METHODS), default="lora", show_default=True)
@click.option(
    "--effort", type=click.Choice(EFFORTS), default="standard", show_default=True, help="Sets what is not given below."
)
@click.option("--rank", type=POSITIVE, help="Of the adapter.")
@click.option("--targets", help="Linear maps that get an adapter, as q_proj,v_proj.")
@click.option("--learning-rate", type=click.FloatRange(0, 1, min_open=True, max_open=True))
@click.option("--epochs", type=POSITIVE, help="Passes over the rows.")
@click.option("--batch-tokens", type=POSITIVE, help="Tokens of an optimizer step.")
@click.option("--micro-tokens", type=POSITIVE, help="Tokens computed at once; less needs less memory.")
@click.option(
    "--beta",
    type=click.FloatRange(0, min_open=True),
    help="Of preferences: what a nat away from the base costs (DPO, KTO).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="What the frozen base is held in.")
@click.option("--recompute", is_flag=True, help="Keep less for the gradient and compute it again: slower, smaller.")
@click.option("--layout", help="How a row becomes text: 'Clause: {text}\\nKind:', or with {prompt}; \\n is a new line.")
@click.option(
    "--long", type=click.Choice(("refuse", "cut", "split")), default="refuse", show_default=True, help="As in certify."
)
@click.option("--context", type=click.IntRange(8), help="Tokens of a row at most; the model's own if left out.")
@click.option("--test", "held", type=click.Path(path_type=Path), help="Rows to be tested on: none may be in DATA.")
@click.option(
    "--from", "continued", type=click.Path(file_okay=False, path_type=Path), help="Continue the adapter in this folder."
)
@show.runs_option
@show.json_option
def command(
    model: str,
    data: Path,
    layout: str | None,
    long: Long,
    context: int | None,
    held: Path | None,
    runs: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Adapt MODEL, a model of the catalog or a folder, to the rows of DATA, in any form that `certify` reads.

    Rows with a chosen and a rejected answer are learned as preferences (DPO), rated answers as ratings (KTO), others as
    what to write. What is not given is derived from the data and printed. Stop it at any time and run it again: it
    continues.

    \b
    basewright tune foundling-prose examples/data/contract-clauses.jsonl --effort pilot
    basewright tune ./my-model rows.jsonl --method full --epochs 2
    """
    from basewright.data import prepare
    from basewright.text.tokenizer import open_tokenizer
    from basewright.train import objectives

    store = show.open_store(runs)
    base = _base(model, store)
    tokenizer = open_tokenizer(base.folder / "model")
    room = min(context or base.record.card.context, base.record.card.context)
    wanted = prepare.Options(layout=layout and layout.replace("\\n", "\n"), long=long)
    prepared = _prepared(data, wanted, tokenizer, room)
    tested = None if held is None else _prepared(held, wanted, tokenizer, room)
    certificate = _certificate(store, base, prepared, tested, room)
    objective = objectives.of(prepared.taught, prepare.encoded(prepared.taught, tokenizer))
    derived = _derived(base, objective, **options)
    (click.echo if not as_json else show.hint)(_table(derived))
    made, found = _tuned(store, base, certificate, objective, _layout(prepared), derived, options["continued"])
    plain = {"id": made.id, "folder": str(made.folder), "settings": derived.values, "record": made.record}
    show.result(_text(made, found), plain, as_json)


def _base(model: str, store: Store) -> Made[Weights]:
    """The model's files through the airlock, copied or found."""
    from basewright.catalog import cards
    from basewright.hub import airlock, pull
    from basewright.records import Weights

    card = pull.card_of(model, store) or cards.get(model)
    source, revision = pull.locate(card, store), pull.revision(card, store)
    inputs = pull.inputs(card, airlock.inspect(source), revision)
    made, _ = store.make("weights", inputs, Weights, lambda work: pull.pull(card, work, source, revision))
    return made


def _prepared(path: Path, options: Options, tokenizer: Tokenizer, room: int) -> Prepared:
    """The rows of a file or folder as what is taught, each accounted for."""
    from basewright.data import files, prepare

    found = prepare.prepare(files.read(path), tokenizer, room, options)
    fates = ", ".join(f"{fate.rows:,} {fate.what}" for fate in found.ledger.fates)
    learned = {"preference": "preferences, by DPO", "kto": "ratings, by KTO"}.get(found.shape, "what to write")
    show.hint(f"Data      {found.name}: {found.ledger.read:,} rows, {found.shape}, so {learned}; {fates}")
    return found


def _layout(prepared: Prepared) -> Layout:
    """What is saved with the result: how it is to be asked."""
    from basewright.records import Layout

    return Layout(prompt=prepared.layout.replace("{prompt}", "{text}"), separator="\n\n")


def _derived(base: Made[Weights], objective: Objective, *, method: Any, effort: Any, **options: Any) -> Derived:
    from basewright.catalog import architectures
    from basewright.errors import UsageError
    from basewright.train import adapters
    from basewright.train.effort import Given, derive
    from basewright.train.preferences import Preferences, Ratings

    continued = options.pop("continued")
    if continued is not None and method == "full":
        raise UsageError("--from continues an adapter, and --method full trains none", fix="leave one of them out")
    targets = options.pop("targets")
    card = base.record.card
    return derive(
        method,
        effort,
        objective.lengths,
        width=card.shape.width,
        stored=base.record.precision,
        maps=list(architectures.linears(card.config)),
        preferences=isinstance(objective, Preferences | Ratings),
        given=Given(targets=tuple(targets.split(",")) if targets else None, **options),
        continued=None if continued is None else adapters.settings_of(_adapter_folder(continued)),
    )


def _adapter_folder(path: Path) -> Path:
    """An adapter's own folder, or a result or release that holds one."""
    return path / "adapter" if (path / "adapter").is_dir() else path


def _certificate(
    store: Store, base: Made[Weights], prepared: Prepared, tested: Prepared | None, room: int
) -> Made[Certificate]:
    """Raises `Refused` where a check failed."""
    from basewright.prove import certificate
    from basewright.records import Certificate
    from basewright.store import digest

    card = base.record.card
    made, _ = store.make(
        "certificate",
        {"data": digest([prepared.taught, prepared.ledger, room]), "test": digest(tested.taught) if tested else None},
        Certificate,
        lambda _: certificate.certify_data(base.folder / "model", card.id, prepared, room, tested),
        parents=(base.id,),
    )
    record = made.record
    certificate.require(record)
    show.hint(
        f"Certified {record.rows:,} rows, {record.tokens:,} tokens, {record.supervised_tokens:,} of them learned; "
        f"{len(record.checks)} checks passed"
    )
    return made


def _tuned(
    store: Store,
    base: Made[Weights],
    certificate: Made[Certificate],
    objective: Objective,
    layout: Layout,
    derived: Derived,
    continued: Path | None,
) -> tuple[Made[Adapter] | Made[Checkpoint], bool]:
    from basewright.records import Adapter, Checkpoint
    from basewright.store import sha256_of
    from basewright.train import adapters, tune

    about = (base, certificate.record, objective, layout)
    lora, settings = derived.lora, derived.train
    inputs = {"rows": certificate.record.data_hash, "lora": lora, "train": settings}
    parents = (base.id, certificate.id)
    with show.progress("tune") as progress:
        if lora is None:
            return store.make(
                "checkpoint",
                inputs,
                Checkpoint,
                lambda work: tune.full(*about, settings, work, progress),
                parents=parents,
            )
        start = None if continued is None else _adapter_folder(continued)
        if start is not None:
            inputs["from"] = sha256_of(start / adapters.WEIGHTS)
        return store.make(
            "adapter",
            inputs,
            Adapter,
            lambda work: tune.adapt(*about, lora, settings, work, progress, start),
            parents=parents,
        )


def _table(derived: Derived) -> str:
    rows = [(one.name, _number(one.value), one.why) for one in derived.values]
    return show.table(rows, ("setting", "value", "why"))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _text(made: Made[Adapter] | Made[Checkpoint], found: bool) -> str:
    from basewright.records import Adapter

    record = made.record
    about = record if isinstance(record, Adapter) else record.tuning
    assert about is not None
    measured = made.stamp.measured
    speed = (
        f"{measured['tokens_per_second']:,.0f} tokens/s, {measured['mfu']:.0%} of this machine's matrix peak, "
        f"{show.size(measured['peak_memory'])} at most"
    )
    return (
        f"Tuned     {record.train.steps} steps, {record.tokens:,} tokens, loss {about.first_loss:.3f} → "
        f"{about.last_loss:.3f}; {speed}{' (cached)' if found else ''}\n"
        f"Folder    {made.folder}"
    )
