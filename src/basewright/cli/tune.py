"""`basewright tune`: adapt a base model to your rows, after a certificate that they say what they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basewright.cli import beside, heads, show, sweeping, together

if TYPE_CHECKING:
    from basewright.data.prepare import Long, Options, Prepared
    from basewright.records import Adapter, Certificate, Checkpoint, Layout, Made, Plan, Weights
    from basewright.store import Store
    from basewright.text.tokenizer import Tokenizer
    from basewright.train.effort import Derived
    from basewright.train.objectives import Objective
    from basewright.train.sweep import Settings
    from basewright.train.tune import Beside

METHODS = ("lora", "rslora", "dora", "pissa", "qlora", "full")
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
@click.option("--validate", type=click.Path(path_type=Path), help="Rows to validate on, instead of a share of DATA.")
@click.option("--validation-share", type=click.FloatRange(0, 0.5, max_open=True), help="Of DATA; 0 for none.")
@click.option(
    "--patience", type=click.IntRange(0), help="Looks without a lower validation loss to stop after; 0: never."
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Write an average of the weights with this decay, as 0.999.",
)
@click.option(
    "--replay",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    help="Share of general text in each step, against forgetting.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "adamw-8bit"]),
    help="adamw-8bit keeps its moments in 8 bits, by bitsandbytes [default: adamw].",
)
@click.option("--replay-text", type=click.Path(path_type=Path), help="File or folder of that text.")
@click.option(
    "--sweep", is_flag=True, help="Try ranks and learning rates around what is not given, then train the best."
)
@click.option("--recompute", is_flag=True, help="Keep less for the gradient and compute it again: slower, smaller.")
@click.option(
    "--head", is_flag=True, help="Give labels by a classification head, as an encoder always does, and not in words."
)
@click.option(
    "--chat-template", "chat", is_flag=True, help="Rows are written by MODEL's own chat template, as in certify."
)
@click.option(
    "--train-embeddings",
    "embeds",
    is_flag=True,
    help="Also train the embeddings of the chat template's tokens that never were.",
)
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="What a field is called in DATA.")
@click.option("--layout", help="How a row becomes text: 'Clause: {text}\\nKind:', or with {prompt}; \\n is a new line.")
@click.option(
    "--long", type=click.Choice(("refuse", "cut", "split")), default="refuse", show_default=True, help="As in certify."
)
@click.option("--context", type=click.IntRange(8), help="Tokens of a row at most; the model's own if left out.")
@click.option(
    "--test",
    "held",
    type=click.Path(path_type=Path),
    help="Rows to compare base and tuned model on: none may be in DATA. A head is scored on them.",
)
@click.option(
    "--keep",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="A task's TOML file that both are asked too, to see what was forgotten. Repeatable.",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    help="Also write the model, merged, to this folder, which transformers alone opens.",
)
@click.option(
    "--from", "continued", type=click.Path(file_okay=False, path_type=Path), help="Continue the adapter in this folder."
)
@show.runs_option
@show.json_option
@together.together
def command(
    model: str,
    data: Path,
    head: bool,
    chat: bool,
    embeds: bool,
    columns: tuple[str, ...],
    layout: str | None,
    long: Long,
    context: int | None,
    held: Path | None,
    keep: tuple[Path, ...],
    export: Path | None,
    validate: Path | None,
    validation_share: float | None,
    replay_text: Path | None,
    sweep: bool,
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
    basewright tune foundling-prose rows.jsonl --test held.jsonl --export my-model
    basewright tune foundling-prose rows.jsonl --head --test held.jsonl
    """
    from basewright import tuned
    from basewright.catalog import architectures
    from basewright.cli import after
    from basewright.cli.certify import columns_of, opened_chat, trained_tokens
    from basewright.data import prepare
    from basewright.text.tokenizer import open_tokenizer
    from basewright.train import objectives
    from basewright.train.tune import Beside

    store = together.open_store(runs)
    base = _base(model, store)
    tokenizer = open_tokenizer(base.folder / "model")
    room = min(context or base.record.card.context, base.record.card.context)
    wanted = prepare.Options(
        columns=columns_of(columns),
        layout=layout and layout.replace("\\n", "\n"),
        long=long,
        pools=architectures.pools(base.record.card.config, head),
        chat=opened_chat(base.folder / "model", tokenizer, base.record.card.id) if chat else None,
    )
    wishes = after.wishes(keep, export, wanted.pools is not None)
    prepared = _prepared(data, wanted, tokenizer, room)
    tested = None if held is None else _prepared(held, replace(wanted, keep_near=True), tokenizer, room)
    given = None if validate is None else _prepared(validate, wanted, tokenizer, room)
    prepared, watched = beside.divided(prepared, given, validation_share, options["effort"])
    for note in () if prepared.chat is None else prepared.chat.notes:
        show.hint(note)
    trains = trained_tokens(base.folder / "model", prepared, embeds)
    certificate = _certificate(store, base, prepared, tested, watched, room, trains)
    objective = objectives.taught(prepared, tokenizer)
    watch = None if watched is None else objectives.taught(watched, tokenizer, prepared.head(tokenizer))
    derived = _derived(base, objective, () if watch is None else watch.lengths, **options)
    derived = _embedding(derived, trains, tokenizer, options["continued"])
    tried = sweeping.tried(derived, options["rank"], options["learning_rate"]) if sweep else []
    derived, plan = _planned(base, objective, watch, derived, tried, store)
    general = beside.general(derived.train, prepared, options["replay"], replay_text, tokenizer, room)
    say = show.hint if as_json else click.echo
    say(_table(derived))
    show.hint(beside.planned(plan, certificate.record, general))
    about = (store, base, certificate, objective, Beside(watch, general), _layout(prepared), trains)

    def train(settings: Derived) -> tuple[Made[Adapter] | Made[Checkpoint], bool]:
        return _tuned(*about, settings, options["continued"])

    swept = sweeping.swept(derived, tried, train, say) if sweep else None
    derived = derived if swept is None else sweeping.winning(derived, swept)
    made, found = train(derived)
    say(_text(made, found))
    plain: dict[str, Any] = {
        "id": made.id,
        "folder": str(made.folder),
        "settings": derived.values,
        "record": made.record,
    }
    plain |= {} if swept is None else {"sweep": swept}
    values = tuple((one.name, _number(one.value), one.why) for one in derived.values)
    run = tuned.Run(base, certificate, made, options["method"], prepared, tested, values, plan)
    if prepared.pools:
        scores = heads.scores(store, made, prepared, tested) if tested else None
        if scores is not None:
            plain |= {"test": {"metrics": scores.metrics, "majority": scores.majority, "rows": scores.expected}}
        if export is not None:
            with show.progress("export") as progress:
                plain["merged"] = tuned.export(store, run, scores, export, progress)
        show.result("\n".join([*heads.scored(scores), *heads.following(made, export)]), plain, as_json)
        return
    stands = after.stand(store, run, wishes)
    show.result("\n".join(after.words(stands, run, wishes)), plain | {"tuned": after.plain(stands)}, as_json)


def _base(model: str, store: Store) -> Made[Weights]:
    """The model's files through the airlock, copied or found."""
    from basewright.catalog import cards
    from basewright.hub import pull
    from basewright.records import Weights

    inputs, taken = pull.request(pull.card_of(model, store) or cards.get(model), store)
    made, _ = store.make("weights", inputs, Weights, taken)
    return made


def _prepared(path: Path, options: Options, tokenizer: Tokenizer, room: int) -> Prepared:
    """The rows of a file or folder as what is taught, each accounted for."""
    from basewright.data import files, prepare

    found = prepare.prepare(files.read(path), tokenizer, room, options)
    fates = ", ".join(f"{fate.rows:,} {fate.what}" for fate in found.ledger.fates)
    written = "a class, by a head" if found.pools else "what to write"
    learned = {"preference": "preferences, by DPO", "kto": "ratings, by KTO"}.get(found.shape, written)
    show.hint(f"Data      {found.name}: {found.ledger.read:,} rows, {found.shape}, so {learned}; {fates}")
    return found


def _layout(prepared: Prepared) -> Layout:
    """What is saved with the result: how it is to be asked."""
    from basewright.records import Layout
    from basewright.text import layout as layouts

    turns = prepared.rows[0].turns if prepared.rows and prepared.chat is None else ()
    template = None if prepared.chat is None else prepared.chat.template
    return Layout(prompt=layouts.asking(turns, prepared.layout), separator="\n\n", chat=template)


def _planned(
    base: Made[Weights],
    objective: Objective,
    held: Objective | None,
    derived: Derived,
    tried: Sequence[Settings],
    store: Store,
) -> tuple[Derived, Plan]:
    """Settings that fit this machine, also those `tried`, and what the run needs of it. Raises `DoesNotFit`."""
    from basewright.plan import fit
    from basewright.train import planned, sweep

    longest = max(objective.lengths + (() if held is None else held.lengths))
    most = sweep.largest(derived, tried) if tried else derived
    fitting, plan = planned.planned(base.record.card, most, longest, planned.here(store.root))
    fit.prepare(plan)
    added = fitting.values[len(derived.values) :]
    train = replace(derived.train, recompute=together.any_of(fitting.train.recompute))
    return replace(derived, train=train, values=(*derived.values, *added)), plan


def _derived(
    base: Made[Weights], objective: Objective, held: tuple[int, ...], *, method: Any, effort: Any, **options: Any
) -> Derived:
    from basewright.catalog import architectures
    from basewright.errors import UsageError
    from basewright.train import adapters
    from basewright.train.effort import Given, derive
    from basewright.train.objectives import Labelled
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
        head=isinstance(objective, Labelled),
        held=held,
    )


def _embedding(derived: Derived, tokens: tuple[int, ...], tokenizer: Tokenizer, continued: Path | None) -> Derived:
    """With the tokens whose embeddings are trained too. Raises `Refused` for an adapter over several processes, and
    for one to continue that trains others."""
    from basewright.errors import Refused
    from basewright.train.effort import Value

    if continued is not None and derived.lora is not None and derived.lora.tokens != tokens:
        known = ", ".join(tokenizer.pieces(derived.lora.tokens)) or "no token"
        raise Refused(
            f"the adapter to continue trains embeddings of {known}, and this run would of others",
            fix="continue it with --chat-template and --train-embeddings as it was made, on rows with those tokens",
        )
    if not tokens:
        return derived
    if derived.lora is not None and together.several():
        raise Refused(
            "an adapter with embeddings is not divided among processes", fix="run it without torchrun, or --method full"
        )
    value = Value(name="embeddings", value=", ".join(tokenizer.pieces(tokens)), why="never trained; you asked for it")
    lora = None if derived.lora is None else replace(derived.lora, tokens=tokens)
    return replace(derived, lora=lora, values=(*derived.values, value))


def _adapter_folder(path: Path) -> Path:
    """An adapter's own folder, or a result or release that holds one."""
    return path / "adapter" if (path / "adapter").is_dir() else path


def _certificate(
    store: Store,
    base: Made[Weights],
    prepared: Prepared,
    tested: Prepared | None,
    watched: Prepared | None,
    room: int,
    trains: tuple[int, ...],
) -> Made[Certificate]:
    """Raises `Refused` where a check failed, or rows to be tested on are validated on."""
    from basewright.data import near
    from basewright.errors import Refused
    from basewright.prove import certificate
    from basewright.records import Certificate
    from basewright.store import digest

    if tested and watched and (twins := near.overlap(watched.rows, tested.rows)):
        raise Refused(
            f"{len(twins)} rows to be tested on are validated on: {twins[0].row.where} and {twins[0].first.where}",
            fix="take them out of one of the two files",
        )
    card = base.record.card
    made, _ = store.make(
        "certificate",
        {
            "data": digest([prepared.taught, prepared.ledger, room]),
            "test": digest(tested.taught) if tested else None,
            "trains": trains,
        },
        Certificate,
        lambda _: certificate.certify_data(base.folder / "model", card.id, prepared, room, tested, trains=trains),
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
    more: Beside,
    layout: Layout,
    trains: tuple[int, ...],
    derived: Derived,
    continued: Path | None,
) -> tuple[Made[Adapter] | Made[Checkpoint], bool]:
    from basewright.records import Adapter, Checkpoint
    from basewright.store import sha256_of
    from basewright.train import adapters, tune

    about = (base, certificate.record, objective, layout)
    lora, settings = derived.lora, derived.train
    inputs: dict[str, Any] = {"rows": certificate.record.data_hash, "lora": lora, "beside": more.identity}
    inputs["train"] = replace(settings, recompute=False)  # which changes no bit
    parents = (base.id, certificate.id)
    inputs |= {"layout": layout, "embeddings": trains} if layout.chat is not None else {}
    with show.progress("tune") as progress:
        if lora is None:
            return store.make(
                "checkpoint",
                inputs,
                Checkpoint,
                lambda work: tune.full(*about, settings, work, progress, beside=more, tokens=trains),
                parents=parents,
            )
        start = None if continued is None else _adapter_folder(continued)
        if start is not None:
            heads.check(start, objective)
            inputs["from"] = sha256_of(start / adapters.WEIGHTS)
        return store.make(
            "adapter",
            inputs,
            Adapter,
            lambda work: tune.adapt(*about, lora, settings, work, progress, start, more),
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
    tuned = (
        f"Tuned     {record.train.steps} steps, {record.tokens:,} tokens, loss {about.first_loss:.3f} → "
        f"{about.last_loss:.3f}; {speed}{' (cached)' if found else ''}\n"
    )
    return (tuned + beside.came_of_it(about, record.tokens)).rstrip("\n")
