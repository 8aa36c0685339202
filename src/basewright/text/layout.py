"""Plain layouts for base models: patterns they can continue, made of tokens they know. No chat template is invented."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from basewright import store
from basewright.errors import UsageError
from basewright.records import Example, Item, Layout, Piece

Role = Literal["text", "prompt", "completion", "label", "system", "user", "assistant"]
LEARNED: tuple[Role, ...] = ("completion", "label", "assistant")
"""Roles whose words are learned; those of a text are where it is all there is."""
PLACE = re.compile(r"\{(?:text|prompt)\}")


class Turn(NamedTuple):
    """Who says what in a training row; what is not said by anybody is a text, a prompt, a completion or a label."""

    role: Role
    text: str


def check(layout: Layout) -> Layout:
    """Refuse a layout that has no place for the text, or that ends in space. Raises `UsageError`."""
    if layout.prompt.count("{text}") != 1:
        raise UsageError(
            "the layout's prompt must hold {text} exactly once", fix='set [task].prompt = "Text: {text}\\nLabel:"'
        )
    if layout.prompt != layout.prompt.rstrip():  # the space before an answer belongs to the answer's first token
        raise UsageError("the layout's prompt ends in white space", fix="take it off the end of [task].prompt")
    return layout


def check_pattern(pattern: str, role: Role) -> str:
    """Refuse a pattern that has not exactly one place for what is asked. Raises `UsageError`."""
    if pattern.count(f"{{{role}}}") != 1 or len(PLACE.findall(pattern)) != 1:
        raise UsageError(
            f"the layout {pattern!r} must hold {{{role}}} exactly once",
            fix=f"--layout 'Question: {{{role}}}\\nAnswer:'",
        )
    if pattern != pattern.rstrip() and pattern != f"{{{role}}}":
        raise UsageError("the layout ends in white space", fix="take it off: an answer begins with its own space")
    return pattern


def prompt(layout: Layout, text: str) -> str:
    """The pattern up to the place where the answer begins. Braces inside `text` are just text."""
    return layout.prompt.replace("{text}", text)


def target(label: str) -> str:
    return " " + label


def few_shot(layout: Layout, shots: Sequence[Item], text: str) -> str:
    """Solved examples, then the open one."""
    solved = [prompt(layout, shot.text) + target(shot.label) for shot in shots]
    return layout.separator.join([*solved, prompt(layout, text)])


def labelled(layout: Layout, item: Item) -> Example:
    """An item to learn: its prompt, and its label."""
    return example((Piece(text=prompt(layout, item.text), learned=False), Piece(text=target(item.label), learned=True)))


def example(pieces: tuple[Piece, ...], ends: bool = True) -> Example:
    said = [(piece.text, piece.learned, *["control"][: piece.control]) for piece in pieces]
    return Example(id=store.digest([*said, ends])[:16], pieces=pieces, ends=ends)


def plain(turns: Sequence[Turn], pattern: str) -> tuple[Piece, ...]:
    """Turns as text that a base model can continue. It ends in what is learned, or where that would begin.

    A text or prompt fills the one place of `pattern`, `{text}` or `{prompt}`; a conversation is written as
    `User: …`, a line's end, `Assistant: …`, its system text before it. An answer begins with a space.
    """
    pieces: list[Piece] = []
    for turn in turns:
        if turn.role in LEARNED:
            pieces.append(Piece(text=spaced(pieces[-1].text, turn.text), learned=True))
        elif len(turns) == 1 and turn.role == "text":
            pieces.append(Piece(text=turn.text, learned=True))
        elif turn.role == "system":
            pieces.append(Piece(text=f"{turn.text.strip()}\n\n", learned=False))
        elif turn.role == "user":
            pieces.append(Piece(text=f"User: {turn.text.strip()}\nAssistant:", learned=False))
        else:
            pieces.append(Piece(text=pattern.replace(f"{{{turn.role}}}", turn.text), learned=False))
    return tuple(pieces)


def spoken(turns: Sequence[Turn], pattern: str) -> tuple[Turn, ...]:
    """Turns as a conversation: what is asked, in its place in `pattern`, is the user's, an answer the assistant's."""
    found = []
    for turn in turns:
        if turn.role in LEARNED:
            found.append(Turn("assistant", turn.text))
        elif turn.role in ("text", "prompt"):
            found.append(Turn("user", pattern.replace(f"{{{turn.role}}}", turn.text)))
        else:
            found.append(turn)
    return tuple(found)


def asking(turns: Sequence[Turn], pattern: str) -> str:
    """The pattern a question is put into when a model that learned such rows is asked: `{text}` is the question."""
    if any(turn.role == "user" for turn in turns):
        return "User: {text}\nAssistant:"
    return PLACE.sub("{text}", pattern)


def spaced(before: str, answer: str) -> str:
    """The answer as it goes on behind `before`: with a space, unless one of the two has white space there."""
    return answer if before[-1:].isspace() or answer[:1].isspace() else " " + answer
