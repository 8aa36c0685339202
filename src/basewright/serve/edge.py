"""The edge: what every request must pass before anything reads it. Denies by default; only /healthz needs no key."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from dataclasses import dataclass

from basewright.serve.wire import App, Failure, Message, Receive, Scope, Send, send_failure

OPEN = "/healthz"
MAX_HEADERS, MAX_HEAD = 100, 16 * 2**10
MAX_BODY = 4 * 2**20
DRAINED = 4 * MAX_BODY
"""How much of an overlong body is read and dropped, so that its sender reads the answer and no reset."""
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Edge:
    """An ASGI application around another: Host (H085), Origin, key (H083), content type, size and pace (H088)."""

    app: App
    hosts: frozenset[bytes] | None
    """Host headers that are answered; None for any, where a key keeps web pages out."""
    key: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"  # uvicorn runs without lifespan and without websockets
        scope["request_id"] = uuid.uuid4().hex
        send = _labelled(send, scope["request_id"])
        try:
            self._check(scope)
            if scope["method"] == "POST":
                body = await _read(receive)
                if body is None:
                    return
                receive = _replay(body, receive)
        except Failure as failure:
            failure.headers += ((b"connection", b"close"),)  # what is left of the body is read by nobody
            await send_failure(send, failure)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        if len(scope["headers"]) > MAX_HEADERS or sum(len(k) + len(v) for k, v in scope["headers"]) > MAX_HEAD:
            raise Failure(431, "the headers are too large", code="headers_too_large")
        host = _only(scope, b"host")
        if host is None or (self.hosts is not None and host.lower() not in self.hosts):
            raise Failure(421, "the Host header does not name this server", code="wrong_host")
        origins = _all(scope, b"origin")
        if origins and (len(origins) > 1 or origins[0].lower().partition(b"://")[2] != host.lower()):
            raise Failure(403, "requests from pages of other sites are not answered", code="wrong_origin")
        if self.key is not None and scope["path"] != OPEN and not _bears(scope, self.key):
            challenge = ((b"www-authenticate", b"Bearer"),)
            raise Failure(401, "the API key is missing or wrong", code="invalid_api_key", headers=challenge)
        if scope["method"] == "POST":
            kind = (_only(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
            if kind != b"application/json":
                raise Failure(415, "the content type must be application/json", code="wrong_content_type")
            if _all(scope, b"content-encoding"):
                raise Failure(415, "compressed bodies are not read", code="wrong_content_encoding")


def _all(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _only(scope: Scope, name: bytes) -> bytes | None:
    found = _all(scope, name)
    return found[0] if len(found) == 1 else None


def _bears(scope: Scope, key: str) -> bool:
    scheme, _, given = (_only(scope, b"authorization") or b"").partition(b" ")
    return hmac.compare_digest(given.strip(), key.encode()) and scheme.lower() == b"bearer"


async def _read(receive: Receive) -> bytes | None:
    """The whole body, counted as it comes; None when its sender has left."""
    kept = bytearray()
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                size += len(part)
                if size <= MAX_BODY:
                    kept += part
                if not message.get("more_body", False) or size > DRAINED:
                    break
    except TimeoutError:
        raise Failure(408, "the body did not come in time", code="slow_body") from None
    if size > MAX_BODY:
        raise Failure(413, f"the body is larger than {MAX_BODY} bytes", code="body_too_large")
    return bytes(kept)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` for the application: the body in one message, then whatever comes, which is the disconnect."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _labelled(send: Send, request_id: str) -> Send:
    labels = [(b"x-request-id", request_id.encode()), (b"cache-control", b"no-store")]
    labels.append((b"x-content-type-options", b"nosniff"))

    async def labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *labels]
        await send(message)

    return labelled
