"""Checks of rows from their token ids and masks alone: what is learned, where it stops, how it starts, that it fits.

What should be there is worked out from the text of the examples by decoding, turn by turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from basewright.checks import at_most
from basewright.records import Check, Example
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer

WHOLE = "every row is whole"
LEARNED = "loss counts on the answers and on nothing else"
STOPS = "every row learns to stop"
TAUGHT = "every row has something to learn"
STARTS = "BOS as the tokenizer declares it"
FITS = "no row is cut"
INSIDE = "every id is in the embedding table"
TRAINED = "every token was trained"
PADDING = "padding is not the end of text"
PAIRED = "both answers of a pair have one prompt"
DIFFER = "the answers of a pair differ"


def row_checks(
    examples: Sequence[Example],
    rows: Sequence[Encoded],
    tokenizer: Tokenizer,
    limit: int,
    vocabulary: int,
    untrained: Collection[int] = (),
) -> list[Check]:
    """Each check counts the rows that break it; the limit is 0. `untrained` are ids whose embedding never was."""
    control = {i for i, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    pairs = list(zip(examples, rows, strict=True))
    readable = [(one, row) for one, row in pairs if is_whole(row) and is_inside(row, vocabulary)]
    whole, fits = token_checks([_start(one) for one in examples], rows, limit, vocabulary, untrained)

    def count(name: str, broken: Callable[[Example, Encoded], bool], how: str) -> Check:
        return counted(name, [_start(one) for one, row in readable if broken(one, row)], how)

    return [
        *whole,
        count(TAUGHT, lambda _, row: not any(row.mask), "rows whose every token is masked"),
        count(
            LEARNED,
            lambda one, row: not _learns_what_it_should(one, row, tokenizer, control),
            "rows whose supervised tokens do not decode to the answers, or whose other tokens not to what is asked",
        ),
        count(
            STOPS,
            lambda one, row: not _stops(one, row, tokenizer),
            "rows with an answer that does not end in a supervised EOS",
        ),
        count(
            STARTS,
            lambda one, row: not _starts(one, row, tokenizer),
            "rows that start with more or fewer BOS tokens than declared, or have one elsewhere",
        ),
        *fits,
        counted(
            PADDING,
            [_start(one) for one in examples] if tokenizer.pad_id == tokenizer.eos_id else [],
            "rows whose EOS would be taken for padding",
        ),
    ]


def pair_checks(pairs: Sequence[tuple[Encoded, Encoded]], tokenizer: Tokenizer) -> list[Check]:
    """Of preferences, chosen before rejected: what a pair is. Each counts the pairs that break it; the limit is 0."""
    apart = [tokenizer.text(one.ids) for one, other in pairs if not _share_prompt(one, other)]
    equal = [tokenizer.text(one.ids) for one, other in pairs if one.ids == other.ids]
    return [
        counted(PAIRED, apart, "pairs whose two answers go on from different tokens"),
        counted(DIFFER, equal, "pairs whose two answers are the same tokens, so that neither can be preferred"),
    ]


def _share_prompt(one: Encoded, other: Encoded) -> bool:
    """A token may reach over the border to one of the answers; it then counts with that answer."""
    asked, again = (row.ids[: _next(row.mask, True, 0)] for row in (one, other))
    alike = min(len(asked), len(again)) - 1
    return asked == again or (abs(len(asked) - len(again)) <= 1 and asked[:alike] == again[:alike])


def token_checks(
    begins: Sequence[str], rows: Sequence[Encoded], limit: int, vocabulary: int, untrained: Collection[int]
) -> tuple[list[Check], list[Check]]:
    """Of rows of any kind, each with the text it begins with: that they are whole; that they fit the model."""
    pairs = list(zip(begins, rows, strict=True))
    readable = [(text, row) for text, row in pairs if is_whole(row) and is_inside(row, vocabulary)]
    whole = [
        counted(
            WHOLE,
            [text for text, row in pairs if not is_whole(row)],
            "rows without a token, or with another number of mask bits than tokens",
        ),
        counted(
            INSIDE,
            [text for text, row in pairs if not is_inside(row, vocabulary)],
            f"rows with an id below 0, or of {vocabulary} or more",
        ),
    ]
    fits = [
        counted(
            FITS,
            [text for text, row in readable if len(row.ids) > limit],
            f"rows longer than {limit} tokens, the most that training takes",
        ),
        counted(
            TRAINED,
            [text for text, row in readable if any(i in untrained for i in row.ids)],
            "rows with a token whose embedding was never trained: its norm is zero, or it equals another's",
        ),
    ]
    return whole, fits


def is_whole(row: Encoded) -> bool:
    return 0 < len(row.ids) == len(row.mask)


def is_inside(row: Encoded, vocabulary: int) -> bool:
    """Whether the embedding table of `vocabulary` rows has all ids."""
    return all(0 <= i < vocabulary for i in row.ids)


def counted(name: str, broken: Sequence[str], how: str) -> Check:
    """Passed when nothing is broken; else the first of them is shown."""
    example = f"; the first: {broken[0][:100]!r}" if broken else ""
    return at_most(name, float(len(broken)), 0.0, how + example)


def _start(one: Example) -> str:
    return "".join(piece.text for piece in one.pieces)[:100]


def _learns_what_it_should(one: Example, row: Encoded, tokenizer: Tokenizer, control: Collection[int]) -> bool:
    """Each turn's text is decoded from its first token, because some decoders take the space off a first word."""
    begin = 0
    for context, answer in encode.turns(one.pieces):
        border = _next(row.mask, True, begin)
        end = _next(row.mask, False, border)
        learned = row.ids[border:end]
        answered = learned[:-1] if learned[-1:] == (tokenizer.eos_id,) else learned  # whether EOS counts is for STOPS
        if any(i in control for i in answered):
            return False
        whole = tokenizer.text(tokenizer.ids(context + answer))
        if tokenizer.text(row.ids[begin:end]) != whole or not _borders(
            row.ids[begin:end], border - begin, context, tokenizer
        ):
            return False
        begin = end
    return tokenizer.text(row.ids[begin:]) == ""


def _borders(ids: Sequence[int], border: int, context: str, tokenizer: Tokenizer) -> bool:
    """Whether what is read ends with `context`, but its white space, which is learned with the answer.

    Where a token reaches over that end, it may be on either side.
    """
    asked = tokenizer.text(tokenizer.ids(context.rstrip()))
    before, here, after = (tokenizer.text(ids[: max(0, border + step)]) for step in (-1, 0, 1))
    return here == asked or len(before) < len(asked) < len(here) or len(here) < len(asked) < len(after)


def _next(mask: Sequence[bool], value: bool, begin: int) -> int:
    return next((i for i in range(begin, len(mask)) if mask[i] == value), len(mask))


def _stops(one: Example, row: Encoded, tokenizer: Tokenizer) -> bool:
    stops = [
        i
        for i, (number, counts) in enumerate(zip(row.ids, row.mask, strict=False))
        if counts and number == tokenizer.eos_id
    ]
    turns = sum(piece.learned for piece in one.pieces)
    if not one.ends:
        return len(stops) == turns - 1
    return len(stops) == turns and stops[-1] == len(row.ids) - 1


def _starts(one: Example, row: Encoded, tokenizer: Tokenizer) -> bool:
    context, _ = next(encode.turns(one.pieces))
    start = encode.start(tokenizer) or ([] if context.strip() else [tokenizer.eos_id])
    rest = row.ids[len(start) :]
    stops = sum(piece.learned for piece in one.pieces) if tokenizer.bos_id == tokenizer.eos_id else 0
    return (
        list(row.ids[: len(start)]) == start
        and rest[:1] not in [(tokenizer.bos_id,), (tokenizer.eos_id,)]
        and rest.count(tokenizer.bos_id) <= stops
    )
