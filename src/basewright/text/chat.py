"""Conversations as a model's own chat template writes them: in pieces, each known to be read or to be said.

A template writes one text, in which nothing tells what was said from what was put around it. So it is rendered twice:
with a mark in the place of each message, and with the messages. Where the second is the first with the messages put
in, but white space at their ends, all else is the template's own; where it is not, the row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

from basewright.errors import DataError, ModelFileError, Refused, UsageError
from basewright.formats import strict, template, triggers
from basewright.formats.render import render
from basewright.records import ChatTemplate, Piece
from basewright.text import encode
from basewright.text.formats import shared
from basewright.text.layout import Turn
from basewright.text.tokenizer import Tokenizer

FILE = "chat_template.jinja"
MARK = re.compile("\ue000([0-9]+)\ue001")
"""Of private use; it stands for a message, and is looked for where only marks were given."""
TODAY = "2026-01-01"
"""What a template that asks for the date is told; it is the same for every row."""
REMEMBERED = 256
"""Orders of roles whose frame is kept."""
PLAINLY = "leave --chat-template out: conversations are then written in the plain layout"
PROBE = (Turn("user", "Is it so?"), Turn("assistant", "It is."), Turn("user", "Why?"), Turn("assistant", "So."))


class Unfit(DataError):
    """Why the template does not write a conversation; of rows the ledger tells it."""

    def __init__(self, why: str) -> None:
        super().__init__(why, fix="say it in other words, or go without the chat template")


class _Written(NamedTuple):
    """What a template makes of messages: its own text before, between and behind them, and what it has of each."""

    own: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(part for pair in zip(self.own, (*self.said, ""), strict=True) for part in pair)

    def end(self, place: int) -> int:
        """Characters up to the end of a message."""
        return sum(map(len, self.own[: place + 1])) + sum(map(len, self.said[: place + 1]))


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat template with the tokenizer whose control tokens it spells."""

    template: ChatTemplate
    tokenizer: Tokenizer
    controls: re.Pattern[str]
    """Any of the control tokens, as the template spells them."""
    name: str
    """Whose template it is, for messages."""
    _marked: dict[tuple[str, ...], str] = field(default_factory=dict)
    """What it makes of marks, by the roles of a conversation."""

    def conversation(self, turns: Sequence[Turn], last: bool = False) -> tuple[Piece, ...]:
        """A conversation to learn: what the assistant says and the token that ends it, and nothing else; `last` for
        its last answer alone. It ends with that token.

        What is learned begins where the template, asked for that answer, ends: that has to be how the whole begins,
        character by character and token by token. Raises `Unfit`.
        """
        whole = self._written(turns)
        answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
        stops = {place: self._stop(whole, place) for place in answers}
        stop = whole.own[answers[-1] + 1][slice(*stops[answers[-1]])]
        learned = []
        for place in answers[-1:] if last else answers:
            begin, end = self._asked(turns, whole, place), whole.end(place) + stops[place][1]
            if whole.own[place + 1][slice(*stops[place])] != stop:
                raise Unfit(f"the chat template ends the answer in message {place + 1} otherwise than the last one")
            learned.append((begin, end))
        pieces = tuple(self._pieces(whole, learned))
        if not encode.meets(self.tokenizer, pieces):
            raise Unfit("an answer begins within a token that the chat template's own text ends with")
        return pieces

    def asking(self, turns: Sequence[Turn]) -> tuple[Piece, ...]:
        """A conversation that the assistant is to go on with, up to where its answer begins. Raises `Unfit`."""
        written = self._written(turns, asks=True)
        return tuple(self._pieces(written, []))

    def ids(self, turns: Sequence[Turn]) -> list[int]:
        """Likewise as token ids. Raises `Unfit`."""
        return list(encode.controlled(self.tokenizer, self.asking(turns)).ids)

    def shown(self, prompt: str = "{text}") -> str:
        """One question as it is written, with `{text}` in its place, for people to read."""
        return "".join(piece.text for piece in self.asking([Turn("user", prompt)]))

    @property
    def notes(self) -> list[str]:
        """What it does to conversations that people may not expect (H014)."""
        written = self._written([Turn(turn.role, f" {turn.text} ") for turn in PROBE])
        padded = all(said.startswith(" ") and said.endswith(" ") for said in written.said)
        found = [] if padded else ["the chat template takes white space off what is said"]
        if "strftime_now" in self.template.source:
            found.append(
                f"the chat template asks for the date, and is told {TODAY} here; other programs tell it the day"
            )
        looks = triggers.find(self.template.source, self.name)
        return found + [f"the chat template does something for certain words only: {one}" for one in looks]

    def rendered(self, turns: Sequence[Turn], asks: bool = False) -> str:
        """The template's text, as transformers' `apply_chat_template` has it. Raises `Unfit` where it refuses."""
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        context = {
            **self.template.tokens,
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": asks,
        }
        try:
            return render(self.template.source, context, file=self.name, today=TODAY)
        except ModelFileError as error:
            why = error.message.partition("fails: ")[2] or error.message
            raise Unfit(f"the chat template does not write it: {why}") from error

    # --- what is whose ---

    def _written(self, turns: Sequence[Turn], asks: bool = False) -> _Written:
        roles = (*(turn.role for turn in turns), *["asks"][:asks])
        if roles not in self._marked:
            if len(self._marked) >= REMEMBERED:
                self._marked.clear()
            marks = [Turn(turn.role, f"\ue000{place}\ue001") for place, turn in enumerate(turns)]
            self._marked[roles] = self.rendered(marks, asks)
        parts = MARK.split(self._marked[roles])
        _require_all(turns, list(map(int, parts[1::2])))
        own = tuple(parts[::2])
        return _Written(own, tuple(_said(turns, own, self.rendered(turns, asks))))

    def _asked(self, turns: Sequence[Turn], whole: _Written, place: int) -> int:
        """Where an answer begins: behind what the template writes when it asks for it."""
        asked = self.rendered(turns[:place], asks=True)
        before = whole.end(place - 1) if place else 0
        if not whole.text.startswith(asked) or not before <= len(asked) <= whole.end(place) - len(whole.said[place]):
            raise Unfit(f"the chat template asks for message {place + 1} otherwise than it writes what is before it")
        return len(asked)

    def _stop(self, whole: _Written, place: int) -> tuple[int, int]:
        """Where the control token is that ends an answer, in the template's text behind it."""
        found = self.controls.search(whole.own[place + 1])
        if found is None:
            raise Unfit("the chat template writes no control token behind an answer, so its end would not be learned")
        return found.span()

    def _pieces(self, whole: _Written, learned: Sequence[tuple[int, int]]) -> Iterator[Piece]:
        """Control tokens of the template's own text each alone, all else in stretches that are learned or not; up to
        the end of what is learned, or of all."""
        borders = [border for span in learned for border in span]
        last = borders[-1] if borders else len(whole.text)
        cut = [one for one in self._cut(whole, borders) if one.begin < last and one.text]

        def kind(one: _Part) -> tuple[bool, bool]:
            return one.control, any(begin <= one.begin < end for begin, end in learned)

        for (control, inside), group in groupby(cut, key=kind):
            texts = [one.text for one in group]
            for text in texts if control else ["".join(texts)]:
                yield Piece(text=text, learned=inside, control=control)

    def _cut(self, whole: _Written, borders: Sequence[int]) -> Iterator[_Part]:
        """The parts of a text, none of them across a border."""
        for part in self._parts(whole):
            inner = [border for border in borders if part.begin < border < part.begin + len(part.text)]
            if inner and part.control:
                raise Unfit("the chat template breaks a control token in two where an answer begins")
            for begin, end in pairwise([part.begin, *inner, part.begin + len(part.text)]):
                yield _Part(begin, part.text[begin - part.begin : end - part.begin], part.control)

    def _parts(self, whole: _Written) -> Iterator[_Part]:
        """Control tokens of the template's own text, and what is between them."""
        at = 0
        for own, said in zip(whole.own, (*whole.said, ""), strict=True):
            begin = 0
            for found in self.controls.finditer(own):
                yield _Part(at + begin, own[begin : found.start()], False)
                yield _Part(at + found.start(), found[0], True)
                begin = found.end()
            yield _Part(at + begin, own[begin:] + said, False)
            at += len(own) + len(said)


class _Part(NamedTuple):
    begin: int
    text: str
    control: bool


def _said(turns: Sequence[Turn], own: Sequence[str], text: str) -> Iterator[str]:
    """What a template has of each message: all of it, but white space at its ends. Raises `Unfit` for less or more."""
    at = len(own[0])
    for place, (turn, after) in enumerate(zip(turns, own[1:], strict=True)):
        has = next((one for one in _trims(turn.text) if text.startswith(one + after, at)), None)
        if has is None or not text.startswith(own[0]):
            raise Unfit(f"the chat template changes what the {turn.role} says in message {place + 1}")
        at += len(has) + len(after)
        yield has
    if at != len(text):
        raise Unfit("the chat template writes more behind what is said than behind other words")


def _trims(text: str) -> tuple[str, ...]:
    """A message as templates take white space off it."""
    return (text, text.strip(), text.strip("\n"), text.lstrip(), text.rstrip(), text.lstrip("\n"), text.rstrip("\n"))


def _require_all(turns: Sequence[Turn], written: Sequence[int]) -> None:
    """Each message once, in order. Raises `Unfit`."""
    for place, turn in enumerate(turns):
        if written.count(place) != 1:
            how = "leaves out" if place not in written else "repeats"
            raise Unfit(f"the chat template {how} what the {turn.role} says in message {place + 1}")
    if list(written) != list(range(len(turns))):
        raise Unfit("the chat template writes messages in another order")


def read(folder: Path) -> ChatTemplate:
    """The chat template in a model's folder that has passed the airlock. Raises `UsageError` where there is none."""
    config = strict.parse_object(strict.read(folder / shared.CONFIG, shared.MAX_CONFIG), shared.CONFIG)
    sources = dict(template.sources(config))
    if (folder / FILE).is_file():
        sources["default"] = strict.read(folder / FILE, 4 * template.MAX_SOURCE).decode("utf-8", "replace")
    if "default" not in sources:
        raise UsageError(f"{folder.name} has no chat template", fix=PLAINLY)
    tokens = {key: name for key in config if key.endswith("_token") and (name := shared.token_name(config, key))}
    return ChatTemplate(source=sources["default"], tokens=tokens)


def open_chat(template: ChatTemplate, tokenizer: Tokenizer, name: str) -> Chat:
    """A template over its tokenizer, tried on a short conversation; `name` is whose it is.

    Raises `Refused` where it does not write that conversation in a way that can be learned, or where the tokenizer
    reads the text around control tokens otherwise than that text alone.
    """
    added = tokenizer.backend.get_added_tokens_decoder().values()
    texts = sorted((one.content.removesuffix(shared.hidden("")) for one in added if one.special), key=len, reverse=True)
    chat = Chat(template, tokenizer, re.compile("|".join(map(re.escape, texts)) or "(?!)"), name)
    try:
        pieces = chat.conversation(PROBE)
        chat.shown()  # as people read it, once all is trained
    except Unfit as error:
        raise Refused(f"the chat template of {name} cannot be learned: {error}", fix=PLAINLY) from error
    if list(encode.controlled(tokenizer, pieces).ids) != tokenizer.spelled("".join(piece.text for piece in pieces)):
        raise Refused(
            f"the tokenizer of {name} reads text beside a control token otherwise than alone, as no row here is read",
            fix=PLAINLY,
        )
    return chat
