"""What an endpoint generates, as pieces: with token ids where it names them, else as text alone.

Stop texts are found here, whatever the endpoint makes of them, so that no part of one is ever shown (H093).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from basewright.engine import stream
from basewright.engine.lm import Piece, Sampling, Token
from basewright.engine.remote.ways import Unread, first_choice, nats
from basewright.text.tokenizer import Tokenizer

MARK = "token_id:"
"""What vLLM writes before the id of a token when asked for ids."""
REFUSED = (400, 405, 415, 422)
"""What endpoints answer to a request of a form they do not take."""
STOPS = 4
"""Stop texts that OpenAI's endpoints take; ours are looked for here too."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form of request for text. Its prompt is ids or text, and not every endpoint takes every field."""

    ids: bool
    fields: dict[str, Any]


FORMS = (
    Form(
        True,
        # without these, vLLM takes the model's generation_config.json and llama-server its own sampling
        {
            "return_tokens_as_token_ids": True,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "repeat_penalty": 1.0,
        },
    ),
    Form(True, {}),
    Form(False, {}),
)


def body(form: Form, prompt: list[int] | str, room: int, sampling: Sampling) -> dict[str, Any]:
    """A request to continue a prompt by at most `room` tokens, as a stream."""
    found = {
        "prompt": prompt,
        "max_tokens": room,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed % 2**63,
        "logprobs": max(1, sampling.logprobs),
        "stream": True,
        "stream_options": {"include_usage": True},
        **form.fields,
    }
    return found | {"stop": list(sampling.stops[:STOPS])} if sampling.stops else found


def pieces(
    chunks: Iterator[Any], tokenizer: Tokenizer, prompt: list[int], room: int, sampling: Sampling
) -> Iterator[Piece]:
    """The pieces of a stream of completion chunks. Raises `Unread` for one that is none."""
    choices = map(first_choice, chunks)
    begun: list[dict[str, Any]] = []
    for choice in choices:
        begun.append(choice)
        if choice.get("text") or choice.get("finish_reason") or _tokens(choice, tokenizer, 0):
            break
    row = chain(begun, choices)
    if begun and _tokens(begun[-1], tokenizer, 0):
        return stream.pieces(tokenizer, prompt, islice(_all_tokens(row, tokenizer, sampling), room), sampling)
    return texts(((_text(choice), _finish(choice)) for choice in row), sampling.stops)


def texts(parts: Iterable[tuple[str, str | None]], stops: tuple[str, ...]) -> Iterator[Piece]:
    """Pieces of (text, why it ended) that come without tokens."""
    text, sent, finish = "", 0, "stop"
    for more, ended in parts:
        text, finish = text + more, "length" if ended == "length" else "stop"
        if (at := _first_stop(text, sent, stops)) is not None:
            yield Piece(text[sent:at], (), "stop")
            return
        safe = max(sent, len(text) - stream.begun(text, stops))
        if safe > sent:
            yield Piece(text[sent:safe])
        sent = safe
    yield Piece(text[sent:], (), finish)


def _first_stop(text: str, sent: int, stops: tuple[str, ...]) -> int | None:
    """Where the first stop text to be complete begins."""
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop, sent)) >= 0]
    return min(found)[1] if found else None


def _text(choice: dict[str, Any]) -> str:
    text = choice.get("text") or ""
    if not isinstance(text, str):
        raise Unread("what should be text is none")
    return text


def _finish(choice: dict[str, Any]) -> str | None:
    """Why an answer ends with this chunk; None where it goes on. Raises `Unread` for an end that is none."""
    reason = choice.get("finish_reason")
    if reason not in (None, "stop", "eos", "length"):
        raise Unread("the answer was broken off")
    return "stop" if reason == "eos" else reason


def _all_tokens(choices: Iterable[dict[str, Any]], tokenizer: Tokenizer, sampling: Sampling) -> Iterator[Token]:
    """Tokens as they come; where the endpoint ends an answer by itself, EOS last, which it need not name."""
    for choice in choices:
        yield from _tokens(choice, tokenizer, sampling.logprobs)
        if _finish(choice) == "stop":
            yield Token(tokenizer.eos_id, "", 0.0)


def _tokens(choice: dict[str, Any], tokenizer: Tokenizer, count: int) -> list[Token]:
    """The tokens of a chunk that names their ids, with `count` alternatives; else none."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return []
    try:
        if isinstance(logprobs.get("content"), list):
            return [_llama_server_token(entry, tokenizer, count) for entry in logprobs["content"]]
        names = logprobs["tokens"]
        if not all(name.startswith(MARK) for name in names):
            return []
        rows = zip(names, logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
        return [
            _token(_id(name), value, [(_id(n), v) for n, v in top.items()], tokenizer, count)
            for name, value, top in rows
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise Unread("the tokens of an answer are not as they should be") from None


def _llama_server_token(entry: dict[str, Any], tokenizer: Tokenizer, count: int) -> Token:
    top = [(other["id"], other["logprob"]) for other in entry["top_logprobs"]]
    return _token(entry["id"], entry["logprob"], top, tokenizer, count)


def _token(number: int, value: Any, top: list[tuple[int, Any]], tokenizer: Tokenizer, count: int) -> Token:
    likeliest = sorted(((number, nats(value)) for number, value in top), key=lambda pair: -pair[1])[:count]
    texts = tokenizer.pieces([number, *(other for other, _ in likeliest)])
    return Token(number, texts[0], nats(value), tuple(zip(texts[1:], (value for _, value in likeliest), strict=True)))


def _id(name: str) -> int:
    return int(name.removeprefix(MARK))
