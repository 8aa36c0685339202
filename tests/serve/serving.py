"""A real server on a loopback port in a thread, and engines that are slow or break."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from basewright.engine.fake import FakeLM
from basewright.engine.lm import LM, Piece, Sampling
from basewright.serve import run
from basewright.serve.app import make_app
from basewright.serve.edge import Edge
from basewright.text.chat import Chat

NAME = "fake"


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found = self.json["error"]
        assert set(found) == {"message", "type", "param", "code"}
        assert isinstance(found["message"], str)
        return dict(found)


@dataclass(slots=True)
class Running:
    host: str
    port: int

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """One raw request; header names are written with _ for -. A name set to "" is left out."""
        given = {"host": f"{self.host}:{self.port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            for name, value in given.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def complete(self, **fields: Any) -> Reply:
        body = json.dumps({"model": NAME, "prompt": "a", **fields}).encode()
        return self.ask("POST", "/v1/completions", body, content_type="application/json")


@contextmanager
def running(
    lm: LM,
    key: str | None = None,
    host: str = "127.0.0.1",
    places: int | None = None,
    chat: Chat | None = None,
) -> Iterator[Running]:
    with run.bind(host, 0, key) as listener:
        server = run.make_server(lm, NAME, host, listener, key, chat)
        if places is not None:
            edge = server.config.app
            assert isinstance(edge, Edge)
            server.config.app = Edge(make_app(lm, NAME, places), edge.hosts, edge.key)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        _wait(server)
        try:
            yield Running(host, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive()


def _wait(server: uvicorn.Server) -> None:
    until = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.005)


@dataclass(slots=True)
class SlowLM(FakeLM):
    """Every step takes `pause` seconds; `steps` counts them, `log` keeps the prompts that were begun."""

    pause: float = 0.01
    log: list[str | Sequence[int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        pieces = FakeLM.generate(self, prompt, sampling)
        return self._slowed(prompt, pieces)

    def _slowed(self, prompt: str | Sequence[int], pieces: Iterator[Piece]) -> Iterator[Piece]:
        self.log.append(prompt)
        for piece in pieces:
            time.sleep(self.pause)
            self.steps.append(1)
            yield piece


@dataclass(slots=True)
class BrokenLM(FakeLM):
    """Fails with `error` after `good` pieces."""

    good: int = 3
    error: Exception = field(default_factory=lambda: RuntimeError("/home/somebody/secret.bin is gone"))
    log: list[str | Sequence[int]] = field(default_factory=list)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        self.log.append(prompt)
        return self._broken(FakeLM.generate(self, prompt, sampling))

    def _broken(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for done, piece in enumerate(pieces):
            if done == self.good:
                raise self.error
            yield piece
