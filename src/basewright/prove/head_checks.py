"""Checks of rows that a classification head learns: what is read, off which token, under which number, what pads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from basewright.prove.row_checks import STARTS, counted, is_inside, is_whole, token_checks
from basewright.records import Check, Classified, Head
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer
from basewright.train.objectives import Labelled

READS = "a head reads the text and nothing else"
READ_OFF = "a class is read off the one right token"
NUMBERED = "every class has its own number"
UNPADDED = "what pads a batch is in no row"
KNOWN = "held-out labels are learned"


def head_checks(
    items: Sequence[Classified],
    learned: Labelled,
    tokenizer: Tokenizer,
    limit: int,
    vocabulary: int,
    untrained: Collection[int] = (),
) -> list[Check]:
    """Each check counts the rows that break it; the limit is 0."""
    head = learned.head
    texts = [item.text[:100] for item in items]
    whole, fits = token_checks(texts, learned.rows, limit, vocabulary, untrained)
    rows = list(zip(items, learned.rows, learned.classes, strict=True))
    readable = [each for each in rows if is_whole(each[1]) and is_inside(each[1], vocabulary)]

    def count(name: str, broken: Callable[[Classified, Encoded, int], bool], how: str) -> Check:
        return counted(name, [item.text[:100] for item, row, number in readable if broken(item, row, number)], how)

    return [
        *whole,
        count(
            READS,
            lambda item, row, _: not _reads(item.text, row, tokenizer),
            "rows whose tokens do not decode to their text alone",
        ),
        count(
            READ_OFF,
            lambda _, row, __: not _reads_off(row, head),
            f"rows whose class is not read off their {head.pools} token, once",
        ),
        count(
            NUMBERED,
            lambda item, _, number: not _is(head.labels, number, item.label),
            f"rows whose number is not that of their label, of {len(head.labels)}",
        ),
        count(
            STARTS,
            lambda _, row, __: not _starts(row, tokenizer),
            "rows that start with more or fewer BOS tokens than declared, or have one elsewhere",
        ),
        *fits,
        count(
            UNPADDED,
            lambda _, row, __: head.pad_id in row.ids[len(encode.start(tokenizer)) :],
            "rows with the token that fills a batch: transformers would look for the end of the text before it",
        ),
    ]


def known(items: Sequence[Classified], held: Sequence[Classified]) -> Check:
    """A label that no row teaches is wrong on every held-out row that has it."""
    labels = {item.label for item in items}
    odd = sorted({item.label for item in held} - labels)
    return counted(KNOWN, odd, "labels of held-out rows that no row teaches")


def _is(labels: Sequence[str], number: int, label: str) -> bool:
    return 0 <= number < len(labels) and labels[number] == label


def _reads(text: str, row: Encoded, tokenizer: Tokenizer) -> bool:
    return tokenizer.text(row.ids) == tokenizer.text(tokenizer.ids(text))


def _reads_off(row: Encoded, head: Head) -> bool:
    read = 0 if head.pools == "first" else len(row.ids) - 1
    return row.mask[read] and sum(row.mask) == 1


def _starts(row: Encoded, tokenizer: Tokenizer) -> bool:
    """BOS as declared, and again only where an encoder's text ends in what it starts with."""
    start = encode.start(tokenizer)
    rest = row.ids[len(start) :]
    return list(row.ids[: len(start)]) == start and tokenizer.bos_id not in rest[:-1]
