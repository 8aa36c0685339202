"""HTTP to one endpoint: one origin, one key, bounded patience, and every fault is one line. Standard library only.

http.client follows no redirect and heeds no proxy variable: what authorizes a request reaches the origin it was given
for, and no other (H034).
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from basewright.engine.remote.spent import Spent
from basewright.engine.remote.work import Check
from basewright.errors import BasewrightError, UsageError

ATTEMPTS = 6
PAUSE = 0.5
"""Seconds before the second attempt; each later pause is twice as long."""
LONGEST_PAUSE = 120.0
"""Seconds; an endpoint that asks for a longer pause is not waited for."""
CONNECT_SECONDS = 10.0
SECONDS = 300.0
"""How long a connection may be silent."""
MOST_BYTES = 2**26
PASSING = {408, 429, 500, 502, 503, 504, 529}
"""What may be different a moment later."""
DONE = "[DONE]"
T = TypeVar("T")
Authorize = Callable[[str, str, bytes], dict[str, str]]
"""(method, path, body) → the headers that authorize the request."""


class Declined(UsageError):
    """The endpoint will not answer this request, now or later."""

    def __init__(self, message: str, *, fix: str, status: int) -> None:
        super().__init__(message, fix=fix)
        self.status = status


class _Passing(Exception):
    """A fault that may pass; `after` is how many seconds the endpoint asks to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(slots=True)
class Wire:
    origin: SplitResult
    authorize: Authorize = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """Never part of a message, also where the endpoint repeats them."""
    variable: str
    """Where the key is looked for."""
    spent: Spent = field(default_factory=Spent)
    _idle: list[http.client.HTTPConnection] = field(default_factory=list, repr=False)

    @property
    def host(self) -> str:
        return self.origin.netloc

    def ask(self, method: str, path: str, body: Any = None, *, check: Check, final: Collection[int] = ()) -> Any:
        """The JSON of an answer. Statuses in `final` are not tried again. Raises `Declined` or `BasewrightError`."""

        def once() -> bytes:
            connection, response = self._opened(method, path, _encoded(body), final)
            try:
                data = response.read(MOST_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise _Passing(f"the answer broke off ({type(error).__name__})") from None
            self._keep(connection, response)
            return data

        data = self._patiently(once, check)
        if len(data) > MOST_BYTES:
            raise self.fault(f"the answer is larger than {MOST_BYTES / 2**20:.0f} MiB")
        return self._parsed(data)

    def stream(self, path: str, body: Any, *, check: Check) -> Iterator[Any]:
        """The JSON of each server-sent event until [DONE]. What has begun is not begun again."""
        connection, response = self._patiently(lambda: self._opened("POST", path, _encoded(body), ()), check)
        try:
            for data in _events(response):
                check()
                if data == DONE:
                    return
                yield self._parsed(data.encode())
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise self.fault(f"the stream broke off ({type(error).__name__})") from None
        finally:
            response.close()
            connection.close()
        raise self.fault("the stream broke off")

    def fault(self, what: str) -> BasewrightError:
        """An answer that cannot be used. `what` holds nothing the endpoint sent."""
        return BasewrightError(
            f"{self.host}: {what}",
            fix="try again; if it stays so, ask whoever runs the endpoint, or use --engine torch",
        )

    def clean(self, text: str) -> str:
        """What an endpoint says, fit to be shown: one line, without secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "[key]")
        return "".join(letter if letter.isprintable() else " " for letter in text)[:300]

    # --- one request ---

    def _patiently(self, once: Callable[[], T], check: Check) -> T:
        for attempt in range(ATTEMPTS):
            check()
            try:
                return once()
            except _Passing as passing:
                reason, after = str(passing), passing.after
            if after is not None and after > LONGEST_PAUSE:
                raise BasewrightError(
                    f"{self.host} asks to wait {after:.0f} s ({reason})", fix="run the same command again after that"
                )
            if attempt + 1 < ATTEMPTS:
                wait(random.uniform(0.5, 1.0) * PAUSE * 2**attempt if after is None else after, check)
        raise BasewrightError(
            f"{self.host} did not answer in {ATTEMPTS} tries: {reason}",
            fix="check the address and that the endpoint is up, then run the same command again",
        )

    def _opened(
        self, method: str, path: str, body: bytes, final: Collection[int]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A connection with an answer of status 2xx. Raises `_Passing`, or `Declined`."""
        self.spent.add(requests=1)
        try:
            connection, response = self._sent(method, path, body)
        except ssl.SSLCertVerificationError:
            raise UsageError(
                f"the certificate of {self.host} is not one this machine trusts", fix="check the address"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise _Passing(f"no connection, or it was lost ({type(error).__name__})") from None
        if 200 <= response.status < 300:
            return connection, response
        with closing(connection):
            raise self._refusal(response, final)

    def _sent(self, method: str, path: str, body: bytes) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        while True:
            connection = self._taken()
            kept = connection.sock is not None
            try:
                if not kept:
                    connection.connect()
                connection.sock.settimeout(SECONDS)
                connection.request(method, path, body, {**headers, **self.authorize(method, path, body)})
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not (kept and isinstance(error, ConnectionError)):  # a kept one may have been closed meanwhile
                    raise

    def _refusal(self, response: http.client.HTTPResponse, final: Collection[int]) -> Exception:
        """What a status other than 2xx means."""
        status = response.status
        if status in (401, 403):  # some endpoints repeat the key here, masked in their own way
            return Declined(
                f"{self.host} refuses the key, or has none ({status})",
                fix=f"set {self.variable} to a key for this endpoint",
                status=status,
            )
        if 300 <= status < 400:
            there = self.clean(urlsplit(response.headers.get("Location", "")).netloc)
            return Declined(
                f"{self.host} sends the request on ({status}) to {there or 'another address'}, which is not followed",
                fix="give the final address, if you trust it with your texts and your key",
                status=status,
            )
        said = self.clean(_said(response))
        words = f"{self.host} answers {status}" + (f": {said}" if said else "")
        if status in PASSING and status not in final:
            return _Passing(words.removeprefix(f"{self.host} "), _after(response.headers.get("Retry-After")))
        return Declined(words, fix="check the model's name, the address, and what the endpoint offers", status=status)

    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise self.fault("the answer is not JSON") from None

    # --- connections ---

    def _taken(self) -> http.client.HTTPConnection:
        try:
            return self._idle.pop()
        except IndexError:
            host, port = self.origin.hostname or "", self.origin.port
            if self.origin.scheme == "http":
                return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
            return http.client.HTTPSConnection(
                host, port, timeout=CONNECT_SECONDS, context=ssl.create_default_context()
            )

    def _keep(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if response.isclosed():
            self._idle.append(connection)
        else:
            connection.close()

    def __del__(self) -> None:
        for connection in self._idle:
            connection.close()


def _encoded(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body, allow_nan=False).encode()


def _events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The data of server-sent events (WHATWG HTML, 9.2); comments and other fields are passed over."""
    lines: list[str] = []
    while line := response.readline(MOST_BYTES):
        text = line.decode("utf-8").rstrip("\r\n")
        if text.startswith("data:"):
            lines.append(text[5:].removeprefix(" "))
        elif not text and lines:
            yield "\n".join(lines)
            lines = []


def _said(response: http.client.HTTPResponse) -> str:
    """The error message of an answer, in one of the shapes that are in use; empty where there is none."""
    try:
        value = json.loads(response.read(2**16))
    except (ValueError, RecursionError, OSError, http.client.HTTPException):
        return ""
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    return value if isinstance(value, str) else ""


def _after(header: str | None) -> float | None:
    """Seconds that Retry-After asks for, which is a number or a date."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header or "").timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def wait(seconds: float, check: Check) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check()
        time.sleep(min(0.1, left))


def _no_constant(text: str) -> Any:
    raise ValueError(text)
