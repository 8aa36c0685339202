"""How the log-probabilities of a prompt are asked for, and read. There is no one way, so the ways are tried.

vLLM has `prompt_logprobs`; OpenAI's older models, Together and others repeat the prompt with `echo` and `logprobs`.
A prompt goes as token ids where the endpoint takes them. Where it goes as text, the endpoint's tokens must be ours.
llama-server and our own server tell those of generated tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basewright.errors import DataError, UsageError
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer

QUESTION = "The old clock on the wall says 7"
ROUNDING = 1e-4
"""Nats above 0 that a log-probability may have from rounding."""
NOT_OFFERED = (400, 405, 415, 422, 500, 501)
"""What endpoints answer to a request of a form they do not take; llama-server says 500."""


class Unread(Exception):
    """An answer without what was asked for; what the endpoint says is in the message only after `Wire.clean`."""


@dataclass(frozen=True, slots=True)
class Position:
    """A token of a prompt: its log-probability, and that of the likeliest token there, where the endpoint names it."""

    own: float
    best: float | None


Read = Callable[[Any, Sequence[int], int, Tokenizer], list[Position]]
"""(answer, ids of the prompt, first position that is wanted, tokenizer) → positions. Raises `Unread`."""


@dataclass(frozen=True, slots=True)
class Way:
    ids: bool
    fields: Mapping[str, Any]
    read: Read

    def body(self, tokenizer: Tokenizer, ids: Sequence[int]) -> dict[str, Any]:
        return self.prompt(tokenizer, ids) | {"max_tokens": 1, **self.fields}

    def prompt(self, tokenizer: Tokenizer, ids: Sequence[int]) -> dict[str, Any]:
        return {"prompt": list(ids) if self.ids else as_text(tokenizer, ids), "temperature": 0}


def find(ask: Callable[[dict[str, Any]], Any], tokenizer: Tokenizer) -> Way:
    """The first way in which a small question is answered; `ask` raises `Unread` for a request that is not taken.

    Raises `UsageError` where there is none, or where the endpoint's tokens are not those of `tokenizer`.
    """
    ids = encode.prompt(tokenizer, QUESTION)
    reasons = []
    for way in WAYS:
        try:
            way.read(ask(way.body(tokenizer, ids)), ids, 2, tokenizer)
        except Unread as reason:
            reasons.append(str(reason))
        else:
            return way
    raise UsageError(
        f"this endpoint gives no log-probabilities of a prompt: {reasons[-1]}",
        fix="ask vLLM, or an endpoint with echo and logprobs; or score the weights with --engine torch or llama_cpp",
    )


def as_text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text that an endpoint turns into these ids, which begins its texts as the tokenizer's facts say.

    Raises `DataError` for ids that no text has.
    """
    head = list(ids[:1]) if ids[0] in (tokenizer.bos_id, tokenizer.eos_id) else []
    rest = list(ids[len(head) :])
    text = str(tokenizer.backend.decode(rest, skip_special_tokens=False))
    added = encode.start(tokenizer)
    if tokenizer.ids(text) != rest or (added and head != added):
        raise DataError(
            "this endpoint takes texts, and these ids are not those of a text from its start",
            fix="ask an endpoint that takes token ids, such as vLLM, or use --engine torch",
        )
    refuse_control_tokens(tokenizer, text)
    return text if added else "".join(tokenizer.pieces(head)) + text


def refuse_control_tokens(tokenizer: Tokenizer, text: str) -> None:
    """A control token spelled in a text is text to us, and to an endpoint it is one (H015). Raises `DataError`."""
    for token in tokenizer.backend.get_added_tokens_decoder().values():
        if token.special and token.content in text:
            raise DataError(
                f"a text spells the control token {token.content}, which this endpoint would take for one",
                fix="ask an endpoint that takes token ids, such as vLLM, or use --engine torch",
            )


def first_choice(answer: Any) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unread("the answer holds no choice")
    return choices[0]


def nats(value: Any) -> float:
    """A log-probability. Raises `Unread` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value > ROUNDING:
        raise Unread("what should be a log-probability is none")
    return min(float(value), 0.0)


def _prompt_logprobs(answer: Any, ids: Sequence[int], first: int, tokenizer: Tokenizer) -> list[Position]:
    """vLLM's: for each token of the prompt, by id, its own entry and that of the likeliest."""
    rows = first_choice(answer).get("prompt_logprobs")
    if not isinstance(rows, list):
        raise Unread("there are no prompt_logprobs")
    _same_count(len(rows), len(ids))
    found = []
    for row, number in zip(rows[first:], ids[first:], strict=True):
        entry = row.get(str(number)) if isinstance(row, dict) else None
        if entry is None:
            raise other_tokenizer("another token stands where ours is")
        _same_text(tokenizer, number, _field(entry, "decoded_token"))
        own = nats(_field(entry, "logprob"))
        found.append(Position(own, max(own, *(nats(_field(other, "logprob")) for other in row.values()))))
    return found


def _echo(answer: Any, ids: Sequence[int], first: int, tokenizer: Tokenizer) -> list[Position]:
    """OpenAI's: prompt and answer in one row; or Together's: the prompt in a part of its own."""
    part = _together(answer) or first_choice(answer).get("logprobs")
    tokens, values, tops = (_field(part, name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values) or len(tokens) < 2:
        raise Unread("the prompt is not repeated with its log-probabilities")
    if not isinstance(tops, list) or len(tops) != len(tokens):
        tops = [None] * len(tokens)
    if _start_is_hidden(tokens[0], answer, ids, tokenizer):
        if first < 2:
            raise Unread("it tells no log-probability of the first token after the start")
        tokens, values, tops = ([None, *row] for row in (tokens, values, tops))
    counted = _field(_field(answer, "usage"), "prompt_tokens")
    if not _together(answer) and len(tokens) > len(ids) and counted in (None, len(ids)):
        tokens = tokens[: len(ids)]  # the rest is generated: one, or as many as make a character
    _same_count(len(tokens), len(ids))
    found = []
    for token, value, top, number in zip(tokens[first:], values[first:], tops[first:], ids[first:], strict=False):
        _same_text(tokenizer, number, token)
        own = nats(value)
        best = max(own, *map(nats, top.values())) if isinstance(top, dict) and top else None
        found.append(Position(own, best))
    return found


def _start_is_hidden(shown: Any, answer: Any, ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether the start token was seen by the model (H074), as its counts say, and not repeated (llama-cpp-python)."""
    if not tokenizer.bos or ids[0] != tokenizer.bos_id:
        return False
    spellings = ("", tokenizer.pieces(ids[:1])[0], tokenizer.backend.id_to_token(ids[0]))
    return shown not in spellings and _field(_field(answer, "usage"), "prompt_tokens") == len(ids)


def _together(answer: Any) -> Any:
    prompt = _field(answer, "prompt")
    return _field(prompt[0], "logprobs") if isinstance(prompt, list) and prompt else None


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _same_count(found: int, expected: int) -> None:
    if found != expected:
        raise other_tokenizer(f"it makes {found} tokens of what are {expected} of ours")


def _same_text(tokenizer: Tokenizer, number: int, said: Any) -> None:
    """Compare a token's text with ours; a part of a character is shown in many ways, and a control token often not."""
    own = tokenizer.pieces([number])[0]
    if not isinstance(said, str) or any("\N{REPLACEMENT CHARACTER}" in text for text in (own, said)):
        return
    if number in (tokenizer.bos_id, tokenizer.eos_id) or said == tokenizer.backend.id_to_token(number):
        return
    if _bare(said) != _bare(own):
        raise other_tokenizer("its tokens have other texts")


def _bare(text: str) -> str:
    """Without the space at the border, which some decoders take off and others write as a mark."""
    return text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip(" ")


def other_tokenizer(how: str) -> UsageError:
    return UsageError(
        f"the endpoint's tokenizer is not the one given: {how}", fix="give the tokenizer folder of the model it serves"
    )


WAYS = tuple(
    Way(ids, fields, read)
    for ids in (True, False)
    for fields, read in (({"prompt_logprobs": 1}, _prompt_logprobs), ({"echo": True, "logprobs": 1}, _echo))
)
