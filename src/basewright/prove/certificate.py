"""The certificate: before the first step, proof that the training rows say what they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from basewright import checks
from basewright.catalog import architectures
from basewright.catalog import config as configs
from basewright.data import prepare, split
from basewright.data.prepare import Prepared
from basewright.errors import DataError
from basewright.formats.safetensors import Tensor, read_header
from basewright.hub import rows as embedding_rows
from basewright.prove import chat_checks, data_checks, head_checks, model_checks, row_checks
from basewright.prove.overlay import overlay
from basewright.records import Certificate, Check, Classified, DataShape, Example, Head, Item, Made, Task, Weights
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.chat import Chat
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import objectives, tune
from basewright.train.objectives import Labelled, NextToken, Objective
from basewright.train.opened import open_classifier, open_model
from basewright.train.preferences import Preferences

SHOWN = 3
"""Rows whose mask is shown to the person."""
FIXES = {
    data_checks.READ: "correct the rows that are named, or take them out",
    data_checks.UNSEEN: "take those rows out of one of the two files",
    data_checks.ONE_LABEL: "decide on one label for each of those texts",
    data_checks.REPEATED: "add rows with those labels, or correct them; name columns that are swapped with --column",
    data_checks.SPELT: "write each label in one way",
    data_checks.SEVERAL: "add rows of another label",
    data_checks.LONG: "shorten those rows, raise --context, or choose --long cut (or split, for plain text)",
    row_checks.FITS: "shorten those rows, or raise [tune].micro_tokens if the model reads more",
    row_checks.TRAINED: "write the data without those tokens, or take a model whose EOS and control tokens are trained",
    row_checks.PADDING: "set another pad_token in the model's tokenizer_config.json",
    row_checks.INSIDE: "use the tokenizer that belongs to the model",
    chat_checks.EMBEDDED: "leave --chat-template out, or add --train-embeddings: those rows are then trained too",
    chat_checks.SAYS: "leave --chat-template out",
    head_checks.UNPADDED: "set a pad_token in the model's tokenizer_config.json that no text becomes",
    head_checks.KNOWN: "add rows with those labels, or take them out of the held-out rows",
}
OUTPUTS = ("lm_head.weight", "embed_out.weight")
"""What output tables are called where a model has one."""
RowChecks = Callable[[int, Collection[int]], list[Check]]
"""Of rows, from the size of the embedding table and the ids that were never trained."""
OURS = "this is a fault of ours or of a changed installation: reinstall basewright, and report it if it stays"


def certify(base: Made[Weights], task: Task, items: Sequence[Item], micro_tokens: int) -> Certificate:
    """Look at a walk's `items` exactly as training will. `require` stops on a check that failed."""
    folder = base.folder / "model"
    tokenizer = open_tokenizer(folder)
    examples = [layouts.labelled(task.layout, item) for item in items]
    rows = tune.examples(items, task.layout, tokenizer)
    limit = min(base.record.card.context, micro_tokens)
    return _certificate(
        folder,
        base.record.card.id,
        tokenizer,
        [one.id for one in examples],
        NextToken(rows),
        _written(examples, rows, tokenizer, limit),
        [_unseen(items, (*task.choose, *task.test))],
        "text-label",
        dict(sorted(Counter(item.label for item in items).items())),
    )


def certify_head(base: Made[Weights], task: Task, head: Head, micro_tokens: int) -> Certificate:
    """Look at a walk's training rows as a classification head will learn them. `require` as for `certify`."""
    folder, items = base.folder / "model", classified(task.train)
    tokenizer = open_tokenizer(folder)
    learned = objectives.labelled(items, tokenizer, head)
    return _certificate(
        folder,
        base.record.card.id,
        tokenizer,
        [one.id for one in items],
        learned,
        _classified(items, learned, tokenizer, min(base.record.card.context, micro_tokens)),
        [_unseen(task.train, (*task.choose, *task.test))],
        "text-label",
        dict(sorted(Counter(item.label for item in items).items())),
    )


def classified(items: Sequence[Item]) -> list[Classified]:
    """A walk's items as a head reads them: the text and nothing else."""
    return [Classified(id=item.id, text=item.text, label=item.label) for item in items]


def certify_data(
    folder: Path,
    name: str,
    data: Prepared,
    context: int,
    held: Prepared | None = None,
    *,
    trains: Collection[int] = (),
) -> Certificate:
    """Likewise for what was made of a person's files. `folder` holds a model that has passed the airlock.

    `held` are rows to be tested on, `trains` the tokens whose embeddings are trained too. Raises `DataError` where no
    row is left to learn from.
    """
    if not data.taught:
        first = next(iter((*data.refused, *data.too_long)))
        raise DataError(f"no row of {data.name} can be used; {first.where}: {first.why}", fix=FIXES[data_checks.READ])
    tokenizer = open_tokenizer(folder)
    head, said = data.head(tokenizer), data_checks.data_checks(data, held)
    if head is not None:
        learned = objectives.labelled(data.classified, tokenizer, head)
        ids = [item.id for item in data.classified]
        of_rows = _classified(data.classified, learned, tokenizer, context)
        said += [head_checks.known(data.classified, held.classified)] if held else []
        return _certificate(folder, name, tokenizer, ids, learned, of_rows, said, data.shape, data.labels)
    examples = [example for taught in data.taught for example in prepare.examples(taught)]
    rows = prepare.encoded(data.taught, tokenizer)
    objective = objectives.of(data.taught, rows)
    ids, of_rows = [one.id for one in examples], _written(examples, rows, tokenizer, context)
    if isinstance(objective, Preferences):
        said += row_checks.pair_checks(objective.rows, tokenizer)
    if data.chat is not None:
        of_rows = _spoken(data, data.chat, examples, rows, tokenizer, context, trains)
    made = _certificate(folder, name, tokenizer, ids, objective, of_rows, said, data.shape, data.labels)
    return made if data.chat is None else _ended(made, data, data.chat, rows)


def _spoken(
    data: Prepared,
    chat: Chat,
    examples: Sequence[Example],
    rows: Sequence[Encoded],
    tokenizer: Tokenizer,
    limit: int,
    trains: Collection[int],
) -> RowChecks:
    """Checks of what a chat template wrote, beside what the person's rows say."""
    said = [turns for row in data.rows for turns in prepare.conversations(row, data.layout)]
    last = data.shape in ("preference", "kto")
    told = [chat_checks.Told(*one, last) for one in zip(examples, rows, said, strict=True)]
    pad = encode.padding_beside(tokenizer, data.stop_ids)
    return lambda size, bare: chat_checks.chat_checks(told, chat, pad, limit, size, bare, trains)


def _ended(made: Certificate, data: Prepared, chat: Chat, rows: Sequence[Encoded]) -> Certificate:
    """With the ids that begin and end what the chat template writes."""
    bos = chat.tokenizer.bos_id
    return replace(
        made,
        bos_id=bos if all(row.ids[:1] == (bos,) for row in rows) else None,
        eos_id=data.stop_ids[0],
        pad_id=encode.padding_beside(chat.tokenizer, data.stop_ids),
    )


def _written(examples: Sequence[Example], rows: Sequence[Encoded], tokenizer: Tokenizer, limit: int) -> RowChecks:
    return lambda size, bare: row_checks.row_checks(examples, rows, tokenizer, limit, size, bare)


def _classified(items: Sequence[Classified], learned: Labelled, tokenizer: Tokenizer, limit: int) -> RowChecks:
    return lambda size, bare: head_checks.head_checks(items, learned, tokenizer, limit, size, bare)


def require(certificate: Certificate) -> None:
    """Raise `Refused` with the first check that failed, and what to do about it."""
    failed = next((check for check in certificate.checks if not check.passed), None)
    if failed is not None:
        checks.require([failed], fix=FIXES.get(failed.name, OURS))


def _certificate(
    folder: Path,
    name: str,
    tokenizer: Tokenizer,
    ids: Sequence[str],
    objective: Objective,
    of_rows: RowChecks,
    said: Sequence[Check],
    shape: DataShape,
    labels: dict[str, int],
) -> Certificate:
    rows = objective.texts(range(len(objective.lengths)))
    model = _opened(folder, objective)
    vocabulary = int(model.config.vocab_size)
    found = [*said, *of_rows(vocabulary, untrained(folder))]
    if all(check.passed for check in found):  # a row that is already refused may not even fit the model
        found += model_checks.model_checks(model, objective)
    return Certificate(
        base=name,
        data_hash=objective.identity,
        rows=len(rows) // (2 if isinstance(objective, Preferences) else 1),
        tokens=sum(len(row.ids) for row in rows),
        supervised_tokens=sum(sum(row.mask) for row in rows),
        longest=max(len(row.ids) for row in rows),
        labels=labels,
        bos_id=tokenizer.bos_id if tokenizer.bos else None,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        overlays=tuple(
            overlay(one, row, tokenizer)
            for one, row in zip(ids[:SHOWN], rows, strict=False)
            if row_checks.is_whole(row) and row_checks.is_inside(row, vocabulary)
        ),
        checks=tuple(found),
        shape=shape,
        lengths=_lengths(rows),
    )


def _opened(folder: Path, objective: Objective) -> Any:
    """Held as its file has it, so that a certificate needs no more memory than a tuning."""
    held = (
        "bfloat16" if "bfloat16" in (configs.read(folder).get(key) for key in ("dtype", "torch_dtype")) else "float32"
    )
    if isinstance(objective, Labelled):
        return open_classifier(folder, objective.head, held).model
    return open_model(folder, held)


def untrained(folder: Path) -> frozenset[int]:
    """Ids whose embedding, or row of an output table of its own, shows that training never reached it
    (`hub.rows.flags`)."""
    tensors: dict[str, tuple[Path, Tensor]] = {}
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            tensors |= {name: (path, one) for name, one in read_header(file, path.stat().st_size, path.name).items()}
    tables = [architectures.embedding(configs.read(folder), tensors), *OUTPUTS]
    flags = [embedding_rows.flags(*tensors[table]) for table in tables if table in tensors]
    return frozenset(i for each in flags for i, flagged in enumerate(each) if flagged)


def _lengths(rows: Sequence[Encoded]) -> dict[str, int]:
    """Rows by tokens, in classes that double."""
    classes = Counter((len(row.ids) - 1).bit_length() for row in rows)
    return {f"{2 ** (k - 1) + 1 if k else 1}-{2**k}": classes[k] for k in sorted(classes)}


def _unseen(items: Sequence[Item], held: Sequence[Item]) -> Check:
    """Held-out texts, or runs of 13 words of them, in the training rows (H078)."""
    seen = {run for item in items for run in split.runs(item.text)}
    leaked = [item.text for item in held if seen & split.runs(item.text)]
    return row_checks.counted(data_checks.UNSEEN, leaked, f"held-out rows that share {split.RUN} words in a row")
