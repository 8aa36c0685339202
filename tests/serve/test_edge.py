"""What never reaches the application: other hosts, other sites' pages, no key, wrong types, endless bodies."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from basewright.engine.fake import FakeLM
from basewright.serve import edge
from tests.serve.serving import NAME, Running, running

KEY = "k" * 32
BODY = json.dumps({"model": NAME, "prompt": "a", "max_tokens": 1}).encode()
JSON = "application/json"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(FakeLM()) as found:
        yield found


@pytest.fixture(scope="module")
def keyed() -> Iterator[Running]:
    with running(FakeLM(), key=KEY) as found:
        yield found


def raw(server: Running, data: bytes) -> bytes:
    with closing(socket.create_connection((server.host, server.port), timeout=10)) as connection:
        connection.sendall(data)
        received = b""
        while b"\r\n\r\n" not in received and (part := connection.recv(65536)):
            received += part
    return received


# --- Host and Origin ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_h085_names_of_this_machine_are_answered(server: Running, name: str) -> None:
    assert server.ask("GET", "/v1/models", host=f"{name}:{server.port}").status == 200


WRONG = (
    "evil.example", "evil.example:{port}", "localhost", "127.0.0.1", "localhost:{other}", "localhost.:{port}",
    "127.0.0.1.:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example:{port}", "a.localhost:{port}",
    "user@localhost:{port}", "localhost:{port}@evil.example", "2130706433:{port}", "0x7f000001:{port}", "127.1:{port}",
    "0177.0.0.1:{port}", "0.0.0.0:{port}", "[::]:{port}", "[::1%lo]:{port}", "[::ffff:127.0.0.1]:{port}", "::1:{port}",
    "localhost:0{port}", "localhost:{port}, evil.example", "localhost: {port}", "mine.local:{port}",
    "a.internal:{port}", "localhost:", ":{port}", "127.0.0.2:{port}", "*",
)  # fmt: skip


@pytest.mark.parametrize("host", WRONG)
@pytest.mark.parametrize("path", ["/v1/models", "/healthz"])
def test_h085_any_other_host_is_misdirected(server: Running, host: str, path: str) -> None:
    name = host.format(port=server.port, other=server.port + 1)
    reply = server.ask("GET", path, host=name)
    assert reply.status in (421, 400)  # 400 where it is no header at all


def test_h085_a_missing_or_doubled_host_is_refused(server: Running) -> None:
    good = f"host: localhost:{server.port}\r\n"
    for head in (
        f"GET /healthz HTTP/1.1\r\n{good}{good}\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ):
        assert raw(server, head.encode())[9:12] in (b"421", b"400")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "file://", "http://127.0.0.1"]
)
def test_h085_pages_of_other_sites_are_refused(server: Running, origin: str) -> None:
    reply = server.ask("POST", "/v1/completions", BODY, content_type=JSON, origin=origin)
    assert (reply.status, reply.error["code"]) == (403, "wrong_origin")
    assert not any(name.startswith("access-control") for name in reply.headers)


def test_a_page_of_the_same_site_is_answered(server: Running) -> None:
    origin = f"http://{server.host}:{server.port}"
    assert server.ask("POST", "/v1/completions", BODY, content_type=JSON, origin=origin).status == 200


# --- the key --------------------------------------------------------------------------------------

PATHS = (
    "/", "/v1/models", "/v1/models/", "/V1/MODELS", "/v1/%6dodels", "/v1/completions", "/v1/completions/", "/healthz/",
    "/HEALTHZ", "//healthz", "/healthz/../v1/models", "/healthz;/v1/models", "/docs", "/openapi.json", "/nothing",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_h083_nothing_but_health_answers_without_a_key(keyed: Running, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
        reply = keyed.ask(method, path, BODY if method == "POST" else None, content_type=JSON)
        assert reply.status == 401
        assert method == "HEAD" or reply.error["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "given",
    [f"Bearer {KEY}x", "Bearer", "Bearer ", KEY, f"Basic {KEY}", f"Bearer {KEY[:-1]}", f"Bearer  x {KEY}", "Bearer é"],
)
def test_h083_a_wrong_key_is_no_key(keyed: Running, given: str) -> None:
    assert keyed.ask("GET", "/v1/models", authorization=given).status == 401


def test_h083_the_key_opens_and_health_needs_none(keyed: Running) -> None:
    assert keyed.ask("GET", "/v1/models", authorization=f"Bearer {KEY}").status == 200
    assert keyed.ask("POST", "/v1/completions", BODY, content_type=JSON, authorization=f"bearer {KEY}").status == 200
    assert keyed.ask("GET", "/healthz").status == 200


def test_h084_with_a_key_and_an_open_address_any_host_name_is_answered() -> None:
    with running(FakeLM(), key=KEY, host="0.0.0.0") as server:
        assert server.ask("GET", "/v1/models", host="my-machine:80").status == 401
        assert server.ask("GET", "/v1/models", host="my-machine:80", authorization=f"Bearer {KEY}").status == 200
        crossed = server.ask("GET", "/healthz", host="my-machine:80", origin="http://evil.example")
        assert crossed.status == 403


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
)
def test_a_form_of_a_page_cannot_post(server: Running, kind: str) -> None:
    reply = server.ask("POST", "/v1/completions", BODY, content_type=kind)
    assert (reply.status, reply.error["code"]) == (415, "wrong_content_type")


def test_a_charset_does_not_matter(server: Running) -> None:
    assert server.ask("POST", "/v1/completions", BODY, content_type="Application/JSON; charset=utf-8").status == 200


def test_h088_compressed_bodies_are_refused(server: Running) -> None:
    assert server.ask("POST", "/v1/completions", BODY, content_type=JSON, content_encoding="gzip").status == 415


@pytest.mark.parametrize("size", [edge.MAX_BODY + 1, 2 * edge.MAX_BODY])
def test_h088_a_large_body_is_413_and_not_a_reset(server: Running, size: int) -> None:
    reply = server.ask("POST", "/v1/completions", b" " * size, content_type=JSON)
    assert (reply.status, reply.error["code"]) == (413, "body_too_large")


def test_h088_a_body_without_length_is_counted_as_it_comes(server: Running) -> None:
    head = f"POST /v1/completions HTTP/1.1\r\nhost: localhost:{server.port}\r\ncontent-type: {JSON}\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    sent = 0
    with closing(socket.create_connection((server.host, server.port), timeout=10)) as connection:
        connection.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        try:
            while sent < 20 * edge.MAX_BODY:
                connection.sendall(chunk)
                sent += 65536
        except OSError:
            pass
    assert sent < 2 * edge.DRAINED
    assert server.ask("GET", "/healthz").status == 200


def test_h088_large_headers_are_refused(server: Running) -> None:
    assert server.ask("GET", "/healthz", x_large="x" * 100_000).status == 431
    assert server.ask("GET", "/healthz", None, **{f"x_{i}": "x" for i in range(101)}).status == 431


def test_h088_a_slow_body_is_given_up(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "READ_SECONDS", 0.2)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: localhost:{server.port}\r\ncontent-type: {JSON}\r\n"
    began = time.monotonic()
    assert b" 408 " in raw(server, head.encode() + b"content-length: 100\r\n\r\n{")
    assert time.monotonic() - began < 5


def test_h088_a_slow_head_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from basewright.serve import run

    monkeypatch.setattr(run, "HEAD_SECONDS", 0.2)
    with running(FakeLM()) as server:
        assert raw(server, b"GET /healthz HT") == b""


def test_a_request_by_hand(server: Running) -> None:
    head = f"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: {JSON}\r\n"
    reply = raw(server, head.encode() + b"accept: */*\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-request-id: " in reply
    assert b"server: " not in reply
