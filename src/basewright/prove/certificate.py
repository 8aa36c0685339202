"""The certificate: before the first step, proof that the training rows say what they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from basewright.checks import at_most
from basewright.data import split
from basewright.prove import model_checks
from basewright.records import Certificate, Check, Item, Layout, Made, Overlay, Task, Weights
from basewright.text import layout as layouts
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import tune
from basewright.train.opened import open_model

SHOWN = 3
"""Rows whose mask is shown to the person."""


def certify(base: Made[Weights], task: Task, items: Sequence[Item], micro_tokens: int) -> Certificate:
    """Look at `items` exactly as training will. A failed check is in the certificate; `checks.require` stops on it."""
    folder = base.folder / "model"
    tokenizer = open_tokenizer(folder)
    model = open_model(folder)
    rows = tune.examples(items, task.layout, tokenizer)
    limit = min(base.record.card.context, micro_tokens)
    checks = [
        *text_checks(items, rows, task.layout, tokenizer, limit, model.config.vocab_size),
        _unseen(items, (*task.choose, *task.test)),
    ]
    if all(check.passed for check in checks):  # a row that is already refused may not even fit the model
        checks += _model_checks(model, rows)
    return Certificate(
        base=base.record.card.id,
        data_hash=tune.data_hash(rows),
        rows=len(rows),
        tokens=sum(len(row.ids) for row in rows),
        supervised_tokens=sum(sum(row.mask) for row in rows),
        longest=max(len(row.ids) for row in rows),
        labels=dict(sorted(Counter(item.label for item in items).items())),
        bos_id=tokenizer.bos_id if tokenizer.bos else None,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        overlays=tuple(_overlay(item, row, tokenizer) for item, row in list(zip(items, rows, strict=True))[:SHOWN]),
        checks=tuple(checks),
    )


def text_checks(
    items: Sequence[Item],
    rows: Sequence[Encoded],
    layout: Layout,
    tokenizer: Tokenizer,
    limit: int,
    vocabulary: int,
) -> list[Check]:
    """What can be seen from token ids alone. Each check counts the rows that break it; the limit is 0."""
    pairs = list(zip(items, rows, strict=True))
    return [
        _count(
            "loss counts on the label and on nothing else",
            [item for item, row in pairs if not _mask_is_right(item, row, layout, tokenizer)],
            "rows whose supervised tokens do not decode to the label, or whose other tokens not to the prompt",
        ),
        _count(
            "every row learns to stop",
            [item for item, row in pairs if not (row.mask[-1] and row.ids[-1] == tokenizer.eos_id)],
            "rows that do not end in a supervised EOS",
        ),
        _count(
            "BOS as the tokenizer declares it",
            [item for item, row in pairs if not _starts_right(row, tokenizer)],
            "rows that start with more or fewer BOS tokens than declared",
        ),
        _count(
            "no row is cut",
            [item for item, row in pairs if len(row.ids) > limit],
            f"rows longer than {limit} tokens (the model's context, or [tune].micro_tokens)",
        ),
        _count(
            "every id is in the embedding table",
            [item for item, row in pairs if max(row.ids) >= vocabulary],
            f"rows with an id of {vocabulary} or more",
        ),
        _count(
            "padding is not the end of text",
            [] if tokenizer.pad_id != tokenizer.eos_id else list(items),
            "rows whose EOS would be taken for padding",
        ),
    ]


def _mask_is_right(item: Item, row: Encoded, layout: Layout, tokenizer: Tokenizer) -> bool:
    """The target is decoded behind its prompt, because some decoders take the space off a first word."""
    border = row.mask.index(True) if any(row.mask) else len(row.ids)
    prompt = layouts.prompt(layout, item.text)
    return (
        all(row.mask[border:-1])  # whether EOS counts is another check's question
        and tokenizer.text(row.ids[:border]) == prompt
        and tokenizer.text(row.ids) == prompt + layouts.target(item.label)
    )


def _starts_right(row: Encoded, tokenizer: Tokenizer) -> bool:
    if not tokenizer.bos:
        return row.ids[0] != tokenizer.bos_id
    return row.ids[0] == tokenizer.bos_id and row.ids[1] != tokenizer.bos_id


def _unseen(items: Sequence[Item], held: Sequence[Item]) -> Check:
    """Held-out texts, or runs of 13 words of them, in the training rows (H078)."""
    seen = {run for item in items for run in split.runs(item.text)}
    leaked = [item for item in held if seen & split.runs(item.text)]
    return _count("held-out rows were not learned", leaked, f"held-out rows that share {split.RUN} words in a row")


def _count(name: str, broken: Sequence[Item], how: str) -> Check:
    example = f"; the first: {broken[0].text[:60]!r}" if broken else ""
    return at_most(name, float(len(broken)), 0.0, how + example)


def _model_checks(model: Any, rows: Sequence[Encoded]) -> list[Check]:
    return [model_checks.isolation(model, rows, model.config.vocab_size), model_checks.accumulation(model, rows)]


def _overlay(item: Item, row: Encoded, tokenizer: Tokenizer) -> Overlay:
    return Overlay(item=item.id, tokens=tuple(zip(tokenizer.pieces(row.ids), row.mask, strict=True)))
