"""What goes over the wire: OpenAI's completions shapes, its error shape, and server-sent events."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from basewright.engine.lm import Token

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

NEVER_RETRY: Headers = ((b"x-should-retry", b"false"),)
"""What fails the same way each time is not to be run three times (H095); openai's client heeds this."""
LEAST_LOGPROB = -9999.0
"""JSON has no infinity."""
DONE = b"data: [DONE]\n\n"


class Failure(Exception):
    """An answer that is an error. Holds no path, no prompt and no trace (H098)."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    @property
    def body(self) -> dict[str, Any]:
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


async def send_json(send: Send, status: int, value: Any, headers: Headers = ()) -> None:
    body = encode(value)
    plain = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_failure(send: Send, failure: Failure) -> None:
    await send_json(send, failure.status, failure.body, failure.headers)


def encode(value: Any) -> bytes:
    """ASCII only, so that no character inside a text can end a line of an event stream."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def event(value: Any) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def choice(index: int, text: str, finish: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def message(index: int, text: str, finish: str | None) -> dict[str, Any]:
    """A whole answer in a conversation."""
    said = {"role": "assistant", "content": text}
    return {"index": index, "message": said, "logprobs": None, "finish_reason": finish}


def delta(index: int, text: str, finish: str | None, first: bool) -> dict[str, Any]:
    """A part of an answer in a conversation; the first one says who speaks."""
    part: dict[str, Any] = {"role": "assistant"} if first else {}
    part |= {"content": text} if text or first else {}
    return {"index": index, "delta": part, "logprobs": None, "finish_reason": finish}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """The completions logprobs object; `offset` is where the first token's text begins in the answer.

    As in OpenAI's, the drawn token is always among the alternatives, which then are one more than asked for.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [_alternatives(token) for token in tokens],
        "text_offset": offsets,
    }


def _alternatives(token: Token) -> dict[str, float]:
    found: dict[str, float] = {}
    for text, logprob in (*token.top, (token.text, token.logprob)):
        found.setdefault(text, _finite(logprob))
    return found


def _finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
