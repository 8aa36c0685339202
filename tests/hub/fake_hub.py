"""A hub on this machine that lies in every way asked of it: the API and the files of one repository, over loopback."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

OWNER_ID = "6200000000000000000000aa"
LARGE = (".safetensors", ".gguf", "tokenizer.json")
PIECE = 2**14


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Asked:
    """One request, as the server saw it."""

    path: str
    range: str
    if_range: str
    token: str
    sent: int = 0
    start: int = 0


@dataclass
class Hub:
    """What it holds and how it behaves; `lie` may answer a request itself, and then returns True."""

    files: dict[str, bytes]
    repo: str = "maker/model"
    owner_id: str = OWNER_ID
    commit: str = "1" * 40
    lie: Callable[[Handler], bool] | None = None
    """For requests of files."""
    lie_api: Callable[[Handler], bool] | None = None
    pace: float = 0.0
    """Seconds between pieces."""
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    old: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files of former commits."""

    def push(self, files: dict[str, bytes], commit: str) -> None:
        self.old[self.commit] = self.files
        self.files, self.commit = files, commit

    def at(self, commit: str) -> dict[str, bytes]:
        return self.files if commit == self.commit else self.old[commit]

    def listing(self, revision: str = "main") -> dict[str, Any]:
        commit = revision if revision in self.old else self.commit
        siblings = []
        for name, data in self.at(commit).items():
            one: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_sha1(data)}
            if name.endswith(LARGE):
                one |= {"blobId": git_sha1(b"pointer"), "lfs": {"sha256": hashlib.sha256(data).hexdigest()}}
                one["lfs"] |= {"size": len(data), "pointerSize": 134}
            siblings.append(one)
        return {"_id": self.owner_id, "id": self.repo, "sha": commit, "siblings": siblings}

    def of_files(self) -> list[Asked]:
        return [one for one in self.asked if "/resolve/" in one.path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    @property
    def hub(self) -> Hub:
        return cast("Any", self.server).hub  # type: ignore[no-any-return]

    def do_GET(self) -> None:
        headers = self.headers
        self.note = Asked(
            self.path, headers.get("Range", ""), headers.get("If-Range", ""), headers.get("Authorization", "")
        )
        self.hub.asked.append(self.note)
        try:
            self._answer()
        except OSError:  # the other side has gone
            self.close_connection = True

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/api/models/"):
            if self.hub.lie_api is None or not self.hub.lie_api(self):
                self.json(self.hub.listing(unquote(parts.path.rpartition("/")[2])))
        elif self.hub.lie is None or not self.hub.lie(self):
            self.file()

    # --- honest answers, with a part of them changed where a lie wants it ---

    @property
    def data(self) -> bytes:
        _, _, rest = urlsplit(self.path).path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        return self.hub.at(commit)[unquote(name)]

    @property
    def start(self) -> int:
        return int(self.note.range.removeprefix("bytes=").partition("-")[0] or 0) if self.note.range else 0

    @property
    def first(self) -> bool:
        """Whether it is the first request for this path."""
        return sum(urlsplit(one.path).path == urlsplit(self.path).path for one in self.hub.asked) == 1

    def json(self, value: Any) -> None:
        self.body(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def etag(self, data: bytes) -> str:
        return f'"{hashlib.sha256(data).hexdigest()}"'

    def file(self, data: bytes | None = None, **changed: str) -> None:
        """The file asked for, with a range where one is asked for and the etag is the same."""
        data = self.data if data is None else data
        etag = changed.pop("etag", self.etag(data))
        headers = {"ETag": etag}
        start = self.start
        if start and self.note.if_range in ("", etag):
            self.note.start = start
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.body(206, data[start:], headers | {name.replace("_", "-"): value for name, value in changed.items()})
        else:
            self.body(200, data, headers | {name.replace("_", "-"): value for name, value in changed.items()})

    def body(self, status: int, data: bytes, headers: dict[str, str] | None = None, upto: int | None = None) -> None:
        """Status, headers and the first `upto` bytes of the body."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        for begin in range(0, len(data) if upto is None else upto, PIECE):
            piece = data[begin : min(begin + PIECE, len(data) if upto is None else upto)]
            self.wfile.write(piece)
            self.note.sent += len(piece)
            if self.hub.pace:
                time.sleep(self.hub.pace)
        if upto is not None:
            self.close_connection = True

    def reset(self) -> None:
        """The connection ends as when a machine fails: RST instead of FIN."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True

    def redirect(self, there: str, status: int = 302) -> None:
        self.body(status, b"", {"Location": there})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        pass

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
        super().server_bind()


@contextmanager
def serve(hub: Hub, tls: tuple[Path, Path] | None = None) -> Iterator[Hub]:
    """The hub, over http or with a certificate and its key over https."""
    server = _Server(("127.0.0.1", 0), Handler)
    server.hub = hub  # type: ignore[attr-defined]
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        hub.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def of_folder(folder: Path, **more: Any) -> Hub:
    return Hub({path.name: path.read_bytes() for path in sorted(folder.iterdir())}, **more)


def flipped(data: bytes, draw: random.Random) -> bytes:
    """One random bit the other way round."""
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)
