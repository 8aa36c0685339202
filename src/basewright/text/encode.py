"""The one function family that turns text into token ids, for training, evaluation, serving and export.

BOS, EOS and the border between prompt and target are decided here and nowhere else (H074). The border follows
lm-evaluation-harness: trailing spaces of the context move to the continuation, the whole is tokenized at once,
and the continuation's ids are what the whole has beyond the context's own ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile

from basewright.records import Example, Piece, Pools
from basewright.text.formats.shared import find_id
from basewright.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids with a loss mask of the same length; `mask[i]` says whether predicting `ids[i]` counts."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]


def start(tokenizer: Tokenizer) -> list[int]:
    """The ids every text starts with: exactly the declared BOS, once, or nothing."""
    return [tokenizer.bos_id] if tokenizer.bos and tokenizer.bos_id is not None else []


def prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """A prompt to continue."""
    return start(tokenizer) + tokenizer.ids(text)


def pair(
    tokenizer: Tokenizer, context: str, continuation: str, ids: Callable[[str], list[int]] | None = None
) -> tuple[list[int], list[int]]:
    """(context ids, continuation ids) whose concatenation is the tokenization of the whole text.

    `ids` may stand in for the tokenizer's own (`text.reading.Reader`).

    An empty context is conditioned on the start token, or on EOS (the separator of documents in pretraining)
    for a tokenizer that declares none.
    """
    head = start(tokenizer)
    left, right = _border(context, continuation, ids or tokenizer.ids)
    return head + left or [tokenizer.eos_id], right


def _border(context: str, continuation: str, ids: Callable[[str], list[int]]) -> tuple[list[int], list[int]]:
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    if not context:
        return [], ids(continuation)
    alone, whole = ids(context), ids(context + continuation)
    border = len(alone)
    if continuation and border >= len(whole):  # merged into the context's last token, which then is what is scored
        border = max(0, len(whole) - 1)
    return whole[:border], whole[border:]


def document(tokenizer: Tokenizer, text: str) -> list[int]:
    """A whole text to score or to pretrain on: start, text, EOS."""
    return (start(tokenizer) or [tokenizer.eos_id]) + tokenizer.ids(text) + [tokenizer.eos_id]


def example(tokenizer: Tokenizer, prompt_text: str, target: str) -> Encoded:
    """A supervised example: loss on the target and on the EOS that ends it, never on the prompt (H065)."""
    return _joined(tokenizer, (Piece(text=prompt_text, learned=False), Piece(text=target, learned=True)), ends=True)


def pieces(tokenizer: Tokenizer, one: Example) -> Encoded:
    """An example of several pieces: loss on what is learned and on the EOS after it, on nothing else.

    It starts as `pair` does, and a border between pieces is that of `pair`. A text ends at EOS: what follows one is
    tokenized by itself, as if it began there. What a chat template wrote is taken as it is (`controlled`).
    """
    if any(piece.control for piece in one.pieces):
        return controlled(tokenizer, one.pieces)
    return _joined(tokenizer, one.pieces, one.ends)


def controlled(tokenizer: Tokenizer, parts: Sequence[Piece]) -> Encoded:
    """Pieces of a chat template: a control token is one id, and text between two of them is text, whatever it spells
    (H015). Nothing is added at either end.

    A border between what is read and what is learned is where the former's own tokens end (`meets`).
    """
    ids: list[int] = []
    mask: list[bool] = []
    for control, run in groupby(parts, key=lambda piece: piece.control):
        if control:
            for piece in run:
                ids.append(control_id(tokenizer, piece.text))
                mask.append(piece.learned)
        else:
            whole, border = _run(tokenizer, list(run))
            ids += whole
            mask += [at >= border for at in range(len(whole))]
    return Encoded(tuple(ids), tuple(mask))


def meets(tokenizer: Tokenizer, parts: Sequence[Piece]) -> bool:
    """Whether what is read is, token by token, the beginning of what is read and learned, in every run of text."""
    for control, run in groupby(parts, key=lambda piece: piece.control):
        pieces = list(run)
        asked = tokenizer.ids("".join(piece.text for piece in pieces if not piece.learned))
        if not control and _run(tokenizer, pieces)[0][: len(asked)] != asked:
            return False
    return True


def _run(tokenizer: Tokenizer, run: Sequence[Piece]) -> tuple[list[int], int]:
    """(ids of a run of text, how many of them are read and not learned); in a run, what is learned comes last."""
    whole = tokenizer.ids("".join(piece.text for piece in run))
    asked = tokenizer.ids("".join(piece.text for piece in run if not piece.learned))
    same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(asked, whole, strict=False)))
    return whole, same


def control_id(tokenizer: Tokenizer, text: str) -> int:
    """Raises `KeyError` for a text that is no token."""
    found = find_id(tokenizer.backend, text)
    if found is None:
        raise KeyError(text)
    return found


def judged(tokenizer: Tokenizer, text: str, pools: Pools) -> Encoded:
    """A text as a classification head reads it, with the mask on the one token that is read.

    It starts as every text does; for an encoder it ends as its own texts do, for a decoder where it ends.
    """
    if pools == "first":
        ids = document(tokenizer, text)
        return Encoded(tuple(ids), (True, *[False] * (len(ids) - 1)))
    ids = prompt(tokenizer, text) or [tokenizer.eos_id]
    return Encoded(tuple(ids), (*[False] * (len(ids) - 1), True))


def padding(tokenizer: Tokenizer) -> int:
    """What fills a batch before a head: a control token, which no text becomes, and EOS only where there is no other.

    transformers reads a row's last token that is not this one, so an ordinary one would hide the end of a text (H065).
    """
    control = {i for i, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    if tokenizer.pad_id in control:
        return tokenizer.pad_id
    others = sorted(control - {tokenizer.eos_id, tokenizer.bos_id})
    return others[0] if others else tokenizer.eos_id


def padding_beside(tokenizer: Tokenizer, stops: Collection[int]) -> int:
    """What fills a batch of texts that end in any of `stops`: the tokenizer's own, or another than those (H065)."""
    if tokenizer.pad_id not in stops:
        return tokenizer.pad_id
    control: set[int] = {i for i, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    beside: list[int] = [
        *sorted(control - {tokenizer.eos_id, tokenizer.bos_id}),
        tokenizer.eos_id,
        *range(len(stops) + 1),
    ]
    return next(number for number in beside if number not in stops)


def turns(parts: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    """(what is read, what is learned after it), from one EOS to the next."""
    context = ""
    for part in parts:
        if part.learned:
            yield context, part.text
            context = ""
        else:
            context += part.text
    assert not context, "text behind the last learned piece would teach nothing"


def _joined(tokenizer: Tokenizer, parts: Sequence[Piece], ends: bool) -> Encoded:
    ids: list[int] = []
    mask: list[bool] = []
    for context, continuation in turns(parts):
        left, right = _border(context, continuation, tokenizer.ids)
        left = left if ids else start(tokenizer) + left or [tokenizer.eos_id]
        ids += [*left, *right, tokenizer.eos_id]
        mask += [False] * len(left) + [True] * (len(right) + 1)
    return Encoded(tuple(ids), tuple(mask)) if ends else Encoded(tuple(ids[:-1]), tuple(mask[:-1]))
