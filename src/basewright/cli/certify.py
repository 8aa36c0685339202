"""`basewright certify`: what a model would learn from these rows, and proof that it is what they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basewright.cli import beside, show

if TYPE_CHECKING:
    from basewright.data.prepare import Long, Prepared
    from basewright.records import Certificate, DataShape
    from basewright.text.chat import Chat
    from basewright.text.tokenizer import Tokenizer

SHAPES = ("text", "prompt-completion", "messages", "sharegpt", "alpaca", "text-label", "preference", "kto")
CONVERSATIONS = ("messages", "sharegpt", "alpaca")
LABELS = 12
"""Labels that are listed; the rarest are among them."""


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--test", "held", type=click.Path(path_type=Path), help="Rows to be tested on: none may be in DATA.")
@click.option("--shape", type=click.Choice(SHAPES), help="What the rows are; recognised if left out.")
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="What a field is called in DATA.")
@click.option("--layout", help="How a row becomes text: 'Clause: {text}\\nKind:', or with {prompt}; \\n is a new line.")
@click.option(
    "--long",
    type=click.Choice(("refuse", "cut", "split")),
    default="refuse",
    show_default=True,
    help="Rows beyond --context: refuse, cut the middle of what is asked, or split plain text into windows.",
)
@click.option("--head", is_flag=True, help="Rows are read by a classification head, and their labels not written.")
@click.option("--chat-template", "chat", is_flag=True, help="Rows are written by MODEL's own chat template.")
@click.option(
    "--train-embeddings", "embeds", is_flag=True, help="Of control tokens that were never trained, as tune then does."
)
@click.option("--context", type=click.IntRange(8), help="Tokens of a row at most; the model's own if left out.")
@click.option("--keep-near", is_flag=True, help="Keep rows that are nearly equal to an earlier one.")
@show.runs_option
@show.json_option
def command(
    model: str,
    data: Path,
    held: Path | None,
    shape: DataShape | None,
    columns: tuple[str, ...],
    layout: str | None,
    long: Long,
    head: bool,
    chat: bool,
    embeds: bool,
    context: int | None,
    keep_near: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Certify the rows in DATA for MODEL: read, checked, and shown as MODEL would see them, before anything is trained.

    DATA is a file (JSON lines, JSON, CSV, TSV, Parquet; packed with gzip, xz or bzip2), a folder that `datasets` saved,
    or a folder of such files or of texts.

    \b
    basewright certify foundling-prose rows.jsonl
    basewright certify foundling-prose train.csv --test test.csv --column label=category
    basewright certify ./a-chat-model talks.jsonl --chat-template
    """
    from basewright.catalog import architectures
    from basewright.catalog import config as configs
    from basewright.data import files, prepare
    from basewright.hub import airlock
    from basewright.prove import certificate
    from basewright.serve.artifact import FACTS, find
    from basewright.text.tokenizer import open_tokenizer
    from basewright.train import objectives

    found = find(model, show.open_store(runs))
    folder = found / "model" if (found / FACTS).is_file() else found
    airlock.inspect(folder)
    tokenizer = open_tokenizer(folder)
    config = configs.read(folder)
    room = _room(context, config)
    options = prepare.Options(
        shape=shape,
        columns=columns_of(columns),
        layout=layout and layout.replace("\\n", "\n"),
        long=long,
        keep_near=keep_near,
        pools=architectures.pools(config, head),
        chat=opened_chat(folder, tokenizer, folder.absolute().name) if chat else None,
    )
    prepared = prepare.prepare(files.read(data), tokenizer, room, options)
    tested = prepare.prepare(files.read(held), tokenizer, room, options) if held else None
    trains = trained_tokens(folder, prepared, embeds)
    made = certificate.certify_data(folder, found.absolute().name, prepared, room, tested, trains=trains)
    if made.passed or not as_json:  # a failure is one JSON object, the error
        plan, fix = beside.foreseen(folder, objectives.taught(prepared, tokenizer), runs, trains)
        needed = f"To tune on them, as `tune` does by itself: {beside.needed(plan)}" + (fix and f", too much: {fix}")
        text = _text(prepared, made, room, needed, sys.stdout.isatty())
        show.result(text, _plain(prepared, made) | {"tuning": beside.figures(plan) | {"fix": fix}}, as_json)
    for line in _hints(prepared, folder):
        show.hint(line)
    certificate.require(made)


def _room(asked: int | None, config: dict[str, Any]) -> int:
    from basewright.errors import UsageError

    own = next((int(config[key]) for key in ("max_position_embeddings", "n_positions") if config.get(key)), None)
    if own is None and asked is None:
        raise UsageError("the model's config names no context", fix="say how long a row may be: --context 2048")
    if own is not None and asked is not None and asked > own:
        raise UsageError(f"the model reads {own} tokens, and not {asked}", fix=f"--context {own}")
    return asked or own or 0


def opened_chat(folder: Path, tokenizer: Tokenizer, name: str) -> Chat:
    """The chat template of a model, which a person asked for. Raises `UsageError` for none, `Refused` for one that no
    row can be learned in."""
    from basewright.text import chat

    return chat.open_chat(chat.read(folder), tokenizer, name)


def trained_tokens(folder: Path, data: Prepared, asked: bool) -> tuple[int, ...]:
    """The tokens whose embeddings are trained beside the rest: the chat template's that never were. Says so.

    Raises `UsageError` where they are asked for without a chat template.
    """
    from basewright.errors import UsageError
    from basewright.prove import certificate

    if not asked:
        return ()
    if data.chat is None:
        raise UsageError("--train-embeddings is for the tokens of a chat template", fix="add --chat-template")
    found = tuple(sorted(certificate.untrained(folder) & set(data.control_ids)))
    names = ", ".join(data.chat.tokenizer.pieces(found))
    show.hint(
        f"Embedding {names}: {'it was' if len(found) == 1 else 'they were'} never trained, and will be"
        if found
        else "Embedding every token of the chat template was trained, so none is trained again"
    )
    return found


def columns_of(given: tuple[str, ...]) -> dict[str, str]:
    """--column FIELD=COLUMN as a table."""
    from basewright.errors import UsageError

    for one in given:
        if not all(one.partition("=")):
            raise UsageError(f"--column {one!r} is not FIELD=COLUMN", fix="--column label=category, for instance")
    return {field: column for field, _, column in (one.partition("=") for one in given)}


def _plain(data: Prepared, made: Certificate) -> dict[str, Any]:
    return {
        "data": {
            "name": data.name,
            "form": data.form,
            "shape": data.shape,
            "layout": data.layout if data.chat is None else data.chat.shown(),
            "ledger": data.ledger,
            "hints": data.hints,
        },
        "certificate": made,
    }


def _text(data: Prepared, made: Certificate, room: int, needed: str, colour: bool) -> str:
    from basewright.data.shapes import WORDS
    from basewright.prove.overlay import terminal

    rows = [(str(fate.rows), fate.what, fate.why) for fate in data.ledger.fates]
    checks = [("ok" if check.passed else "FAILED", check.name, _found(check.value, check.how)) for check in made.checks]
    lines = [
        f"{data.name}: {data.form}, {WORDS[data.shape]}, {data.ledger.read} rows",
        show.table(rows, ("rows", "are", "because")),
        "",
        f"As {made.base} sees them: {made.rows} rows, {made.tokens} tokens an epoch, loss on {made.supervised_tokens}.",
        f"The longest has {made.longest} of {room} tokens.",
        "tokens: " + _counts(made.lengths),
        f"{needed}.",
    ]
    if made.labels:
        lines.append(f"{len(made.labels)} labels: {_labels(made.labels)}")
    what = "The token that is read" if data.pools else "What is learned"
    lines += ["", f"{what} stands in [brackets]:"]
    for shown in made.overlays:
        lines += ["", terminal(shown, colour)]
    return "\n".join([*lines, "", show.table(checks, ("", "check", "found"))])


def _found(value: float, how: str) -> str:
    return f"{value:.3g} {how}"


def _counts(counts: dict[str, int]) -> str:
    return " · ".join(f"{name}: {count}" for name, count in counts.items())


def _labels(labels: dict[str, int]) -> str:
    """By how often they are; of many, the commonest and the rarest."""
    ordered = dict(sorted(labels.items(), key=lambda pair: -pair[1]))
    if len(ordered) <= LABELS:
        return _counts(ordered)
    pairs = list(ordered.items())
    return f"{_counts(dict(pairs[: LABELS // 2]))} … {_counts(dict(pairs[-LABELS // 2 :]))}"


def _hints(data: Prepared, folder: Path) -> list[str]:
    from basewright.evaluate.nature import files as nature

    lines = [f"hint: {hint.kind} in {hint.rows} rows, as in {hint.examples[0]}" for hint in data.hints]
    if data.ignored:
        lines.append(f"not read: {', '.join(data.ignored[:5])}")
    if data.unused:
        lines.append(f"columns that are not used: {', '.join(data.unused[:12])}")
    if data.chat is not None:
        lines += data.chat.notes
    elif data.shape in CONVERSATIONS:
        found = nature.read(folder)
        if found.untrained:
            names = ", ".join(found.untrained[:4])
            lines.append(
                f"the chat template is not used: {names} in it were never trained; "
                "--chat-template --train-embeddings uses it and trains them"
            )
        elif found.template:
            lines.append(
                "the chat template is not used: conversations are written as 'User: …' and 'Assistant: …'; "
                "--chat-template uses it"
            )
    return lines
