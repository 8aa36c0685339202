"""Conversations and answers as the usual files spell them, to turns in the one order a base model can learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from basewright.text.layout import Role, Turn

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}
MARK = "\n\nAssistant:"
"""Before each answer of a transcript as HH-RLHF writes it (Bai et al. 2022)."""


class Fault(Exception):
    """Why one row cannot be used; the ledger tells it."""


def text_of(value: Any, name: str, *, empty: bool = False) -> str:
    """A value that must be text. Raises `Fault` for none, for another kind, and for half a surrogate pair (H068)."""
    if not isinstance(value, str):
        raise Fault(f"it has no {name}" if value is None else f"its {name} is no text, but {type(value).__name__}")
    if not empty and not value.strip():
        raise Fault(f"its {name} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Fault(f"its {name} holds half a surrogate pair") from error
    return value


def messages(value: Any, name: str, who: str = "role", what: str = "content") -> tuple[Turn, ...]:
    """A list of messages, one object each. Raises `Fault` for what has no plain form, such as tool calls."""
    if not isinstance(value, list) or not value:
        raise Fault(f"its {name} is no list of messages")
    found = []
    for one in value:
        if not isinstance(one, dict) or who not in one:
            raise Fault(f"a message in its {name} has no {who}")
        role = ROLES.get(str(one[who]).lower())
        if role is None or one.get("tool_calls"):
            raise Fault(f"a message has the role {str(one[who])!r} or calls a tool, which has no plain layout")
        found.append(Turn(role, text_of(_joined(one.get(what)), f"{who} {one[who]!r} message")))
    return tuple(found)


def conversation(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """A system text or none, then user and assistant in turn, the assistant last. Raises `Fault`."""
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    for number, turn in enumerate(spoken):
        expected = ("user", "assistant")[number % 2]
        if turn.role != expected:
            raise Fault(
                f"message {number + 1 + len(turns) - len(spoken)} is the {turn.role}'s, where the {expected}'s must be"
            )
    if not spoken or len(spoken) % 2:
        raise Fault("it ends before the assistant has answered")
    return tuple(turns)


def opening(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """What an answer is given to: a conversation that ends with the user. Raises `Fault`."""
    return conversation([*turns, Turn("assistant", "")])[:-1]


def asked(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    """What a row's answers are given to: a prompt, or a conversation that ends with the user. Raises `Fault`."""
    if "conversations" in row:
        return opening(messages(row["conversations"], "conversations", "from", "value"))
    if isinstance(row.get("prompt"), list):
        return opening(messages(row["prompt"], "prompt"))
    return (Turn("prompt", text_of(row.get("prompt"), "prompt")),)


def preference(row: Mapping[str, Any]) -> tuple[tuple[Turn, ...], str]:
    """(turns that end in the chosen answer, the rejected answer), in any of the usual spellings. Raises `Fault`.

    The answers may be texts, messages, or whole conversations that part at the end only.
    """
    chosen, rejected = (_side(row.get(name), name) for name in ("chosen", "rejected"))
    if len(chosen) > 1 or len(rejected) > 1:
        before = chosen[:-1]
        if rejected[:-1] != before:
            raise Fault("chosen and rejected do not answer the same")
    elif "prompt" in row or "conversations" in row:
        before = asked(row)
    else:
        before, chosen, rejected = _transcripts(chosen[0].text, rejected[0].text)
    if chosen[-1].text == rejected[-1].text:
        raise Fault("chosen and rejected are the same")
    if before[-1].role == "prompt" and chosen[-1].role == "assistant":
        before = (Turn("user", before[-1].text),)
    if before[-1].role == "user":
        return conversation((*before, Turn("assistant", chosen[-1].text))), rejected[-1].text
    return (*before, chosen[-1]), rejected[-1].text


def _side(value: Any, name: str) -> tuple[Turn, ...]:
    if isinstance(value, dict):
        who, what = ("from", "value") if "from" in value else ("role", "content")
        return messages([value], name, who, what)
    if isinstance(value, list):
        return messages(value, name)
    return (Turn("completion", text_of(value, name)),)


def _transcripts(chosen: str, rejected: str) -> tuple[tuple[Turn, ...], tuple[Turn, ...], tuple[Turn, ...]]:
    """Two transcripts of one dialogue: what they share up to the last answer is the prompt."""
    border = chosen.rfind(MARK) + len(MARK)
    if border < len(MARK) or chosen[:border] != rejected[:border]:
        raise Fault("it has no prompt, and chosen and rejected are no transcripts that begin alike")
    sides = [(Turn("completion", text_of(text[border:], "answer")),) for text in (chosen, rejected)]
    return (Turn("prompt", chosen[:border].lstrip("\n")),), sides[0], sides[1]


def _joined(content: Any) -> Any:
    """Content in parts, as OpenAI writes it, where all of them are text."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return content
