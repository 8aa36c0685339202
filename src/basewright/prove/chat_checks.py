"""Checks of rows that a chat template wrote: each answer is learned with the token that ends it, and nothing else is.

What should be there is worked out in another way than the rows were made: from the whole text, as the tokenizer reads
it with its control tokens, and from what the person's rows say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from basewright.prove.row_checks import PADDING, STARTS, STOPS, TAUGHT, counted, is_inside, is_whole, token_checks
from basewright.records import Check, Example, Piece
from basewright.text import encode
from basewright.text.chat import Chat
from basewright.text.encode import Encoded
from basewright.text.layout import Turn

SAYS = "the chat template says what the rows say"
READS = "tokens are those of the chat template's text"
LEARNED = "loss counts on what the assistant says and on its end"
CONTROL = "control tokens are the chat template's alone"
EMBEDDED = "every token of the chat template was trained"


@dataclass(frozen=True, slots=True)
class Told:
    """A text, its tokens, and the conversation it tells; `last` where only the last answer counts."""

    example: Example
    row: Encoded
    turns: tuple[Turn, ...]
    last: bool

    @property
    def begin(self) -> str:
        return "".join(piece.text for piece in self.example.pieces)[:100]

    @property
    def answers(self) -> list[str]:
        found = [turn.text for turn in self.turns if turn.role == "assistant"]
        return found[-1:] if self.last else found


def chat_checks(
    texts: Sequence[Told],
    chat: Chat,
    pad: int,
    limit: int,
    vocabulary: int,
    untrained: Collection[int] = (),
    trains: Collection[int] = (),
) -> list[Check]:
    """Each counts the rows, or tokens, that break it; the limit is 0. `pad` fills batches; `untrained` are ids whose
    embedding never was trained, `trains` those that this training sets right."""
    tokenizer = chat.tokenizer
    readable = [one for one in texts if is_whole(one.row) and is_inside(one.row, vocabulary)]
    names = {encode.control_id(tokenizer, p.text): p.text for one in texts for p in one.example.pieces if p.control}
    ends = {encode.control_id(tokenizer, one.example.pieces[-1].text) for one in texts}
    bare = set(untrained) - set(names) - set(trains)
    whole, fits = token_checks([one.begin for one in texts], [one.row for one in texts], limit, vocabulary, bare)

    def count(name: str, broken: Callable[[Told], bool], how: str) -> Check:
        return counted(name, [one.begin for one in readable if broken(one)], how)

    return [
        *whole,
        count(SAYS, lambda one: not _says(one), "rows whose answers, as they are learned, are not those of the row"),
        count(TAUGHT, lambda one: not any(one.row.mask), "rows whose every token is masked"),
        count(READS, lambda one: list(one.row.ids) != _ids(one, chat), "rows with other tokens than their text"),
        count(
            CONTROL,
            lambda one: _controls(one, chat) != sum(piece.control for piece in one.example.pieces),
            "rows with a control token that the chat template did not write (H015)",
        ),
        count(LEARNED, lambda one: list(one.row.mask) != _mask(one, chat), "rows that learn more or less"),
        count(
            STOPS,
            lambda one: not _stops(one, ends),
            "rows with an answer that does not end in a supervised control token",
        ),
        count(STARTS, lambda one: not _starts(one, chat, ends), "rows with BOS twice, or inside"),
        *fits,
        counted(
            EMBEDDED,
            [name for number, name in names.items() if number in set(untrained) - set(trains)],
            "control tokens whose embedding was never trained: it is zero, equals another's, or the mean of all",
        ),
        counted(PADDING, [one.begin for one in texts] if pad in ends else [], "rows whose end is what pads"),
    ]


def _says(one: Told) -> bool:
    """What is learned ends, answer by answer, with what the assistant says in the row; white space apart."""
    learned = [_text(group) for said, group in groupby(one.example.pieces, lambda piece: piece.learned) if said]
    return len(learned) == len(one.answers) and all(
        text.endswith(answer.strip()) for text, answer in zip(learned, one.answers, strict=True)
    )


def _text(pieces: Iterator[Piece]) -> str:
    """Of an answer without the control token that ends it."""
    return "".join([piece.text for piece in pieces][:-1]).strip()


def _ids(one: Told, chat: Chat) -> list[int]:
    return _reference(one.example.pieces, chat)


def _reference(pieces: Sequence[Piece], chat: Chat) -> list[int]:
    """As the tokenizer reads the whole text; piece by piece only where somebody said what is spelled like a token."""
    if any(chat.controls.search(piece.text) for piece in pieces if not piece.control):
        return list(encode.controlled(chat.tokenizer, pieces).ids)
    return chat.tokenizer.spelled("".join(piece.text for piece in pieces))


def _mask(one: Told, chat: Chat) -> list[bool]:
    """What is learned, from how many tokens the text has up to each border."""
    found: list[bool] = []
    pieces: list[Piece] = []
    for learned, group in groupby(one.example.pieces, lambda piece: piece.learned):
        pieces += group
        found += [learned] * (len(_reference(pieces, chat)) - len(found))
    return found


def _controls(one: Told, chat: Chat) -> int:
    control = {i for i, token in chat.tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    return sum(number in control for number in one.row.ids)


def _stops(one: Told, ends: Collection[int]) -> bool:
    pairs = zip(one.row.ids, one.row.mask, strict=True)
    last = [[number for number, _ in group][-1] for said, group in groupby(pairs, lambda pair: pair[1]) if said]
    return len(last) == len(one.answers) and all(number in ends for number in last)


def _starts(one: Told, chat: Chat, ends: Collection[int]) -> bool:
    """BOS stands nowhere but at the start and behind an end, and never twice."""
    bos, ids = chat.tokenizer.bos_id, one.row.ids
    places = [at for at, number in enumerate(ids) if number == bos and bos not in ends]
    return all(at == 0 or ids[at - 1] in ends for at in places)
