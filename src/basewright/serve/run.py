"""Bind an address and answer on it until told to stop. What could be reached without a key is refused (H084)."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from basewright.engine.lm import LM
from basewright.errors import UsageError
from basewright.serve.edge import MAX_HEAD, Edge
from basewright.text.chat import Chat

if TYPE_CHECKING:
    from uvicorn import Server

KEY = "BASEWRIGHT_API_KEY"
KEY_LENGTH = 22
"""Characters that 128 random bits need in base64."""
HEAD_SECONDS = 10.0
CONNECTIONS = 512
STOP_SECONDS = 2


def start(
    lm: LM,
    name: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Callable[[str], None] = lambda _url: None,
    chat: Chat | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is told the address once it is bound; port 0 takes a free one.

    The key comes from the environment variable BASEWRIGHT_API_KEY. Raises `UsageError`.
    """
    key = os.environ.get(KEY) or None
    with bind(host, port, key) as listener:
        server = make_server(lm, name, host, listener, key, chat)
        ready(url(host, listener))
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def bind(host: str, port: int, key: str | None) -> socket.socket:
    """A listening socket. Raises `UsageError` for an address that is taken or not here, or open without a key."""
    if not is_loopback(host) and len(key or "") < KEY_LENGTH:
        raise UsageError(
            f"{host} can be reached from other machines, and {KEY} holds no key of {KEY_LENGTH} characters or more",
            fix=f'export {KEY}="$(openssl rand -hex 16)", or use --host 127.0.0.1',
        )
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"there is no address {host!r}", fix="use --host 127.0.0.1") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            why = "is in use" if error.errno == errno.EADDRINUSE else "may not be used"
            free = port + 1 if 1024 <= port < 65535 else 8000
            raise UsageError(f"port {port} of {host} {why}", fix=f"add --port {free}") from error
        raise UsageError(f"{host} is no address of this machine", fix="use --host 127.0.0.1") from error
    return listener


def make_server(
    lm: LM, name: str, host: str, listener: socket.socket, key: str | None, chat: Chat | None = None
) -> Server:
    """The server for a bound socket; it prints nothing. `run` it, or set its `should_exit`."""
    import uvicorn

    from basewright.serve.app import make_app

    hosts = _hosts(host, listener.getsockname()[1]) if is_loopback(host) else None
    config = uvicorn.Config(
        Edge(make_app(lm, name, chat=chat), hosts, key),
        http=_protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEAD,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return uvicorn.Server(config)


def url(host: str, listener: socket.socket) -> str:
    return f"http://{_bracketed(host)}:{listener.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hosts(host: str, port: int) -> frozenset[bytes]:
    names = {"127.0.0.1", "localhost", "[::1]", _bracketed(host)}
    return frozenset(f"{name}:{port}".encode() for name in names) | (
        frozenset(name.encode() for name in names) if port == 80 else frozenset()
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _protocol() -> Any:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes a connection whose first request has not come in time (H088)."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(HEAD_SECONDS, lambda: transport.close() if self.cycle is None else None)

    return Impatient
