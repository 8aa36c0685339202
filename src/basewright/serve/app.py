"""The addresses of the server, and the one place where a request's fields are checked."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from basewright.engine.lm import LM, Sampling
from basewright.errors import nearest
from basewright.serve.answer import Answer, Job, Worker
from basewright.serve.wire import Failure, Receive, Scope, Send
from basewright.text.chat import Chat, Unfit
from basewright.text.layout import Turn

PLACES = 64
"""Requests that may wait while one is answered."""
Stop = Annotated[str, Field(min_length=1, max_length=64)]
Neutral = Annotated[float, Field(ge=0, le=0)]
NOT_OFFERED = {"n", "best_of", "echo", "suffix", "logit_bias", "frequency_penalty", "presence_penalty"}
"""Fields of OpenAI's that are accepted only where they change nothing."""


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StreamOptions(_Fields):
    include_usage: bool = False


class Completion(_Fields):
    """POST /v1/completions. Defaults and meaning as in OpenAI's reference; null is the default."""

    model: Annotated[str, Field(max_length=256)]
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=8)]
    max_tokens: Annotated[int, Field(ge=0, le=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=8)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    echo: Literal[False] | None = None
    suffix: None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    frequency_penalty: Neutral | None = None
    presence_penalty: Neutral | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    """Ignored."""


class TextPart(_Fields):
    type: Literal["text"]
    text: str


class Message(_Fields):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1, max_length=64)]

    @property
    def turn(self) -> Turn:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Turn("system" if self.role == "developer" else self.role, text)


class Conversation(_Fields):
    """POST /v1/chat/completions. Defaults and meaning as in OpenAI's reference; null is the default."""

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)]
    max_tokens: Annotated[int, Field(ge=0, le=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=0, le=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=8)] | None = None
    logprobs: Literal[False] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    frequency_penalty: Neutral | None = None
    presence_penalty: Neutral | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    """Ignored."""


def make_app(lm: LM, name: str, places: int = PLACES, chat: Chat | None = None) -> FastAPI:
    """The application without its edge; `name` is what the model is called over the wire. It chats where it was tuned
    with a chat template, `chat` (H067)."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    worker = Worker(lm, places)
    created = int(time.time())

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": name, "object": "model", "created": created, "owned_by": "basewright"}
        return {"object": "list", "data": [model]}

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        job = read_job(await request.body(), name)
        return _Sent(Answer(worker, job, name, request.scope["request_id"]))

    if chat is not None:

        @app.post("/v1/chat/completions")
        async def converse(request: Request) -> Response:
            job = await worker.run(read_conversation, await request.body(), name, lm, chat)
            return _Sent(Answer(worker, job, name, request.scope["request_id"]))

    @app.exception_handler(Failure)
    async def failed(_request: Request, failure: Failure) -> JSONResponse:
        headers = {key.decode(): value.decode() for key, value in failure.headers}
        return JSONResponse(failure.body, failure.status, headers)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        offered = (
            "POST /v1/completions and GET /v1/models are offered; a base model completes text, it does not chat"
            if chat is None
            else "POST /v1/chat/completions, POST /v1/completions and GET /v1/models are offered"
        )
        code = {404: "unknown_url", 405: "wrong_method"}.get(error.status_code)
        return JSONResponse(Failure(error.status_code, offered, code=code).body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse(
            Failure(500, "the server failed", code="server_failed").body, 500, {"x-should-retry": "false"}
        )

    return app


class _Sent(Response):
    """An `Answer` as the framework wants it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(receive, send)


def read_job(body: bytes, name: str) -> Job:
    """A request's body as a `Job`. Raises `Failure` naming the field: 400, or 404 for another model than `name`."""
    try:
        asked = Completion.model_validate_json(body)
    except ValidationError as error:
        raise _fault(error) from None
    _check_common(asked, name)
    return Job(
        prompts=(asked.prompt,) if isinstance(asked.prompt, str) else tuple(asked.prompt),
        sampling=Sampling(16 if asked.max_tokens is None else asked.max_tokens, *_drawn(asked), asked.logprobs or 0),
        logprobs=asked.logprobs is not None,
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
    )


def read_conversation(body: bytes, name: str, lm: LM, chat: Chat) -> Job:
    """A request's body as a `Job`: its messages as the model's chat template writes them, in token ids.

    Raises `Failure` as `read_job`, and for what the template does not write.
    """
    try:
        asked = Conversation.model_validate_json(body)
    except ValidationError as error:
        raise _fault(error) from None
    _check_common(asked, name)
    try:
        prompt = chat.ids([one.turn for one in asked.messages])
    except Unfit as error:
        raise Failure(400, str(error), param="messages", code="invalid_value") from None
    most = next((one for one in (asked.max_completion_tokens, asked.max_tokens) if one is not None), None)
    room = max(1, lm.context - len(prompt))
    return Job(
        prompts=(tuple(prompt),),
        sampling=Sampling(room if most is None else most, *_drawn(asked)),
        logprobs=False,
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        chat=True,
    )


def _check_common(asked: Completion | Conversation, name: str) -> None:
    if asked.model != name:
        raise Failure(404, f"this server has {name!r}", param="model", code="model_not_found")
    if asked.stream_options and not asked.stream:
        raise Failure(400, "stream_options needs stream to be true", param="stream_options", code="invalid_value")


def _drawn(asked: Completion | Conversation) -> tuple[float, float, int, tuple[str, ...]]:
    """Temperature, nucleus, seed and stop texts."""
    return (
        1.0 if asked.temperature is None else asked.temperature,
        1.0 if asked.top_p is None else asked.top_p,
        secrets.randbits(63) if asked.seed is None else asked.seed,
        (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
    )


def _fault(error: ValidationError) -> Failure:
    """The first fault, with all that is said about the same field; never the value that was given."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    where = faults[0]["loc"]
    if not where:
        return Failure(400, f"the body is no JSON object: {faults[0]['msg']}", code="invalid_json")
    field = str(where[0])
    if faults[0]["type"] == "extra_forbidden":
        known = StreamOptions.model_fields if len(where) > 1 else Completion.model_fields
        field = ".".join(map(str, where))
        return Failure(
            400, f"unknown field {field!r}; {nearest(str(where[-1]), known)}", param=field, code="unknown_parameter"
        )
    if faults[0]["type"] == "missing":
        return Failure(400, f"{field} is needed", param=field, code="missing_parameter")
    if field in NOT_OFFERED:
        return Failure(400, f"{field} is not offered here: leave it out", param=field, code="unsupported_parameter")
    said = " or ".join(dict.fromkeys(fault["msg"] for fault in faults if fault["loc"][0] == field))
    return Failure(400, f"{field}: {said}", param=field, code="invalid_value")
