"""One answer at a time: a bounded queue, a worker thread, and a client that may leave at any moment (H090, H096)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from basewright.engine.lm import LM, Piece, Sampling, Token
from basewright.errors import BasewrightError, DataError
from basewright.serve import wire
from basewright.serve.wire import Failure, Receive, Send
from basewright.text import encode

SEND_SECONDS = 30.0
"""A client that reads nothing for so long has left."""
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A request that has been checked; nothing in it is raw input but texts."""

    prompts: tuple[str | tuple[int, ...], ...]
    """Texts, or token ids as they are."""
    sampling: Sampling
    logprobs: bool
    stream: bool
    include_usage: bool
    chat: bool = False
    """Whether it is asked and answered as a conversation."""


class Worker:
    """The engine in a thread of its own, so that the event loop stays free. Each step of an answer is one call, so
    whoever leaves frees it within one step, and a slow reader is never computed ahead of."""

    def __init__(self, lm: LM, places: int) -> None:
        self.lm = lm
        self.places = places
        self.inside = 0
        self.lock = asyncio.Lock()
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="basewright")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait in order of arrival, or refuse at once when all places are taken."""
        if self.inside > self.places:
            raise Failure(
                429,
                f"{self.places} requests are waiting already",
                code="queue_full",
                headers=((b"retry-after", b"2"),),
            )
        self.inside += 1
        try:
            async with self.lock:
                yield
        finally:
            self.inside -= 1

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, call, *arguments)

    async def pieces(self, prompt: str | tuple[int, ...], sampling: Sampling) -> AsyncGenerator[Piece, None]:
        steps = await self.run(self.lm.generate, prompt, sampling)
        while (piece := await self.run(next, steps, None)) is not None:
            yield piece


@dataclass(slots=True)
class Answer:
    worker: Worker
    job: Job
    model: str
    request_id: str
    created: int = field(default_factory=lambda: int(time.time()))
    prompt_tokens: int = 0
    completion_tokens: int = 0
    begun: bool = False
    """Whether a part has been sent."""

    async def __call__(self, receive: Receive, send: Send) -> None:
        """Work until the answer is sent or its client has left. Raises `Failure` when nothing has been sent."""
        work = asyncio.create_task(self._work(send))
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: work.cancel())
        try:
            await work
        except asyncio.CancelledError:
            if not gone.done():
                raise  # the server is stopping
        finally:
            gone.cancel()

    async def _work(self, send: Send) -> None:
        async with self.worker.turn():
            await (self._stream(send) if self.job.stream else self._whole(send))

    async def _steps(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """(which prompt, piece), prompt after prompt; whatever fails in the engine comes out as `Failure`."""
        try:
            self.prompt_tokens = await self.worker.run(count_and_check, self.worker.lm, self.job)
            for index, prompt in enumerate(self.job.prompts):
                async with aclosing(self.worker.pieces(prompt, self.job.sampling)) as pieces:
                    async for piece in pieces:
                        self.completion_tokens += len(piece.tokens)
                        yield index, piece
        except Failure:
            raise
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, DataError):
            return Failure(422, error.message, param="prompt", code="unprocessable", headers=wire.NEVER_RETRY)
        what = error.message if isinstance(error, BasewrightError) else f"{type(error).__name__}: {error}"
        log.error("request %s failed: %s", self.request_id, what)
        return Failure(
            500, f"the model failed; request {self.request_id}", code="engine_failed", headers=wire.NEVER_RETRY
        )

    # --- in one piece ---

    async def _whole(self, send: Send) -> None:
        texts = [""] * len(self.job.prompts)
        tokens: list[list[Token]] = [[] for _ in texts]
        finish: list[str | None] = [None] * len(texts)
        async with aclosing(self._steps()) as steps:
            async for index, piece in steps:
                texts[index] += piece.text
                tokens[index] += piece.tokens
                finish[index] = piece.finish
        choices = [
            wire.message(i, text, finish[i])
            if self.job.chat
            else wire.choice(i, text, finish[i], wire.logprobs(tokens[i], 0) if self.job.logprobs else None)
            for i, text in enumerate(texts)
        ]
        usage = wire.usage(self.prompt_tokens, self.completion_tokens)
        await wire.send_json(send, 200, {**self._frame(choices), "usage": usage})

    # --- as it comes ---

    async def _stream(self, send: Send) -> None:
        offsets = [0] * len(self.job.prompts)
        out = _Events(send)
        try:
            async with aclosing(self._steps()) as steps:
                async for index, piece in steps:
                    if piece.text or piece.finish or (piece.tokens and self.job.logprobs):
                        await out.send(wire.event(self._chunk(index, piece, offsets[index])))
                    offsets[index] += sum(len(token.text) for token in piece.tokens)
            if self.job.include_usage:
                usage = wire.usage(self.prompt_tokens, self.completion_tokens)
                await out.send(wire.event({**self._frame([]), "usage": usage}))
            await out.send(wire.DONE, last=True)
        except Failure as failure:
            if not out.started:
                raise
            await out.send(wire.event(failure.body), last=True)  # and no [DONE]: a failure never looks like an end
        except TimeoutError:
            return  # its reader is stuck; an answer cut short closes the connection

    def _chunk(self, index: int, piece: Piece, offset: int) -> dict[str, Any]:
        logprobs = wire.logprobs(piece.tokens, offset) if self.job.logprobs else None
        choice = (
            wire.delta(index, piece.text, piece.finish, first=not self.begun)
            if self.job.chat
            else wire.choice(index, piece.text, piece.finish, logprobs)
        )
        self.begun = True
        frame = self._frame([choice])
        return {**frame, "usage": None} if self.job.include_usage else frame

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = f"chat.completion{'.chunk' if self.job.stream else ''}" if self.job.chat else "text_completion"
        return {
            "id": f"{'chat' if self.job.chat else ''}cmpl-{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


@dataclass(slots=True)
class _Events:
    """An event stream whose headers go out with the first event, so that an early failure has its own status."""

    to: Send
    started: bool = False

    async def send(self, body: bytes, last: bool = False) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            if not self.started:
                self.started = True
                headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
                await self.to({"type": "http.response.start", "status": 200, "headers": headers})
            await self.to({"type": "http.response.body", "body": body, "more_body": not last})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def count_and_check(lm: LM, job: Job) -> int:
    """Tokens of all prompts. Raises `Failure` for one that leaves no room for `max_tokens`: nothing is cut."""
    total = 0
    for prompt in job.prompts:
        tokens = max(1, len(encode.prompt(lm.tokenizer, prompt) if isinstance(prompt, str) else prompt))
        if tokens + max(1, job.sampling.max_tokens) > lm.context:
            raise Failure(
                400,
                f"the prompt has {tokens} tokens and max_tokens is {job.sampling.max_tokens};"
                f" together they are more than the model's context of {lm.context}",
                param="prompt",
                code="context_length_exceeded",
            )
        total += tokens
    return total
