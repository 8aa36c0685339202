"""GET over HTTP for strangers' files: checked addresses, few redirects, bounded patience. Standard library only.

The token goes to the configured origin and nowhere else, also not after a redirect has led away and back (H034).
Every hop is resolved first, and the address that was checked is the one connected to: no name, redirect or rebinding
leads inside a private network (H033). Only the endpoint that the user set may be there.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from basewright import __version__, signals
from basewright.errors import BasewrightError, UsageError

PUBLIC = "https://huggingface.co"
HOPS = 6
TICK = 0.25
"""Seconds between looks at signals and clocks."""
MAX_JSON = 32 * 2**20
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504, 522, 524, 529)
RESET = re.compile(r";\s*t=([0-9]{1,9})")
"""Seconds until the hub's window of requests begins anew (draft-ietf-httpapi-ratelimit-headers)."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long anything may take, in seconds."""

    connect: float = 10.0
    stall: float = 30.0
    """Of silence; Ollama's figure."""
    slowest: float = 1024.0
    """Bytes a second over `stall` seconds; below it a stream counts as stalled."""
    attempts: int = 8
    """In a row without another chunk gained."""
    pause: float = 0.5
    """Before the second attempt; each later pause is twice as long."""
    longest_pause: float = 120.0
    """A server that asks for more is not waited for."""
    deadline: float = 3600.0
    """For one file, beside the time its bytes need at `rate`."""
    rate: float = 50_000.0
    stale: float = 60.0
    """Without a sign of life of another process that fetches the same file."""

    def until(self, size: int) -> float:
        return time.monotonic() + self.deadline + size / self.rate


class Passing(Exception):
    """A fault that may be gone a moment later; `after` is how many seconds the server asks to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(slots=True)
class Answer:
    response: http.client.HTTPResponse
    socket: socket.socket
    host: str

    @property
    def status(self) -> int:
        return self.response.status

    def header(self, name: str) -> str:
        return self.response.headers.get(name, "").strip()

    def read(self, count: int) -> bytes:
        """The next bytes, at most `count`; empty at the end. Raises `Passing` when the line is lost."""
        try:
            return self.response.read1(count)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Passing(f"{self.host} broke off ({_reason(error)})") from None

    def close(self) -> None:
        self.response.close()
        self.socket.close()


@dataclass(slots=True)
class Wire:
    """One hub: its origin, the token for it, and the patience with it."""

    endpoint: str
    stated: bool = False
    """Whether the user set the endpoint: only then may it be plain http, or an address that is not public."""
    token: str = field(default="", repr=False)
    patience: Patience = Patience()
    tick: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called while waiting, some times a second."""
    origin: SplitResult = field(init=False)

    def __post_init__(self) -> None:
        self.origin = _parts(self.endpoint)
        if self.origin.query or self.origin.fragment:
            raise UsageError("HF_ENDPOINT is not a bare address", fix=f"set it to one such as {PUBLIC}")

    @classmethod
    def from_environment(cls, patience: Patience | None = None) -> Wire:
        """As HF_ENDPOINT and HF_TOKEN say. Raises `UsageError`, which shows no token."""
        stated = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
        token = os.environ.get("HF_TOKEN", "").strip()
        if not all("!" <= letter <= "~" for letter in token):
            raise UsageError("HF_TOKEN holds characters that no token has", fix="set HF_TOKEN to the token alone")
        return cls(stated or PUBLIC, bool(stated), token, patience or Patience())

    def open(self, url: str, headers: Mapping[str, str], until: float) -> Answer:
        """The answer at the end of the redirects, whatever its status. Raises `Passing`, or `BasewrightError` where
        an address is not to be gone to."""
        trusted = True
        for _ in range(HOPS):
            parts = _parts(url)
            trusted = trusted and _origin(parts) == _origin(self.origin)
            answer = self._one(parts, {**headers, **(self._authorization(parts) if trusted else {})}, until)
            if answer.status not in REDIRECTS:
                return answer
            there = answer.header("Location")
            answer.close()
            if not there:
                raise Passing(f"{answer.host} redirects ({answer.status}) to nowhere")
            try:
                url = urljoin(url, there)
            except ValueError:
                raise _not_an_address() from None
        raise BasewrightError(
            f"{self.origin.hostname} redirects more than {HOPS - 1} times",
            fix="try again later, or another HF_ENDPOINT",
        )

    def clean(self, text: str) -> str:
        """What a server says, fit to be shown: one line, without the token."""
        text = text.replace(self.token, "[token]") if self.token else text
        return "".join(letter if letter.isprintable() else " " for letter in text)[:300]

    # --- one request ---

    def _authorization(self, parts: SplitResult) -> dict[str, str]:
        """Over https, or to this machine itself."""
        if self.token and (parts.scheme == "https" or _is_loopback(parts.hostname or "")):
            return {"Authorization": f"Bearer {self.token}"}
        return {}

    def _one(self, parts: SplitResult, headers: Mapping[str, str], until: float) -> Answer:
        free = self.stated and _origin(parts) == _origin(self.origin)
        if parts.scheme != "https" and not free:
            raise BasewrightError(
                f"the address at {self.clean(parts.hostname or '')} is not https",
                fix="use an https address, or set HF_ENDPOINT to it",
            )
        _, host, port = _origin(parts)
        shown = self.clean(host)
        found = None
        try:
            found = _connected(host, shown, port, free, self.patience.connect)
            if parts.scheme == "https":
                found = ssl.create_default_context().wrap_socket(found, server_hostname=host)
            found.settimeout(TICK)
            connection = http.client.HTTPConnection(host, port)
            connection.sock = _Polled(found, self, until)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            fixed = {
                "Host": parts.netloc,
                "User-Agent": f"basewright/{__version__}",
                "Accept-Encoding": "identity",
                "Connection": "close",
            }
            connection.request("GET", target, headers={**fixed, **headers})
            return Answer(connection.getresponse(), found, shown)
        except ssl.SSLCertVerificationError:
            raise BasewrightError(
                f"the certificate of {shown} is not one this machine trusts", fix="check the address, or HF_ENDPOINT"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if found is not None:
                found.close()
            raise Passing(f"{shown} does not answer ({_reason(error)})") from None
        except BaseException:
            if found is not None:
                found.close()
            raise


class _Polled:
    """What http.client needs of a socket; reading looks at signals, the stall and the deadline."""

    def __init__(self, inner: socket.socket, wire: Wire, until: float) -> None:
        self.inner, self.wire, self.until = inner, wire, until

    def sendall(self, data: bytes) -> None:
        self.inner.settimeout(self.wire.patience.stall)
        self.inner.sendall(data)
        self.inner.settimeout(TICK)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self.inner, self.wire, self.until), 2**16)

    def close(self) -> None:
        """http.client closes the connection before the body is read; `Answer.close` closes the socket itself."""


class _Raw(io.RawIOBase):
    def __init__(self, inner: socket.socket, wire: Wire, until: float) -> None:
        self.inner, self.wire, self.until = inner, wire, until
        self.window, self.count = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        patience = self.wire.patience
        while True:
            signals.poll()
            self.wire.tick()
            now = time.monotonic()
            if now > self.until:
                raise TimeoutError("over the time it was given")
            if now - self.window > patience.stall:
                if self.count < patience.slowest * patience.stall:
                    raise TimeoutError(f"{self.count} bytes in {now - self.window:.0f} s")
                self.window, self.count = now, 0
            try:
                count = self.inner.recv_into(buffer)
            except TimeoutError:
                continue
            self.count += count
            return count


# --- asking again ---------------------------------------------------------------------------------


def refuse(wire: Wire, answer: Answer, what: str) -> Exception:
    """What a status that brings no content means: `Passing`, or an error with what to do."""
    status, code = answer.status, answer.header("X-Error-Code")
    if status in PASSING:
        after = retry_after(answer.header("Retry-After"))
        limit = RESET.search(answer.header("RateLimit")) if after is None else None
        return Passing(f"{answer.host} answers {status}", float(limit[1]) if limit else after)
    if code == "RevisionNotFound":
        return UsageError(f"{what}: there is no such revision", fix="give a branch, a tag or a commit of it")
    if status in (401, 403):
        named = "is gated" if code == "GatedRepo" else "is gated or private, or is not there"
        return UsageError(
            f"{what} {named} ({status})",
            fix="check the name; where its makers ask for consent, give it on its page, then set HF_TOKEN",
        )
    if status in (404, 410):
        return UsageError(f"{what} is not there ({status})", fix="check the name and the revision")
    said = wire.clean(code)
    return BasewrightError(
        f"{answer.host} answers {status} for {what}" + (f": {said}" if said else ""), fix="try again later"
    )


def retry_after(header: str) -> float | None:
    """Seconds that Retry-After asks for, which is a number or a date."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def pause(wire: Wire, failures: int, passing: Passing, until: float, what: str) -> None:
    """Wait before the next attempt. Raises `BasewrightError` when there is none."""
    patience = wire.patience
    seconds = passing.after if passing.after is not None else min(60.0, patience.pause * 2 ** (failures - 1))
    if not seconds <= patience.longest_pause:
        raise BasewrightError(
            f"{what}: {passing}, and asks to wait {seconds:.0f} s", fix="run the same command again after that"
        )
    if failures >= patience.attempts or time.monotonic() + seconds > until:
        raise BasewrightError(
            f"{what}: {passing}, {failures} times in a row",
            fix="run the same command again: it continues where it stopped",
        )
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        signals.poll()
        wire.tick()
        time.sleep(min(TICK, left))


# --- addresses ------------------------------------------------------------------------------------


def _parts(url: str) -> SplitResult:
    """The parts of an http or https address. Its query may hold a signature, and is never shown."""
    try:
        parts = urlsplit(url)
        fits = parts.port != 0 and all("!" <= letter <= "~" for letter in url)
    except ValueError:
        fits = False
    if not fits or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise _not_an_address()
    return parts


def _not_an_address() -> UsageError:
    return UsageError("that is not an address this goes to", fix="use a bare https address")


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _connected(host: str, shown: str, port: int, free: bool, timeout: float) -> socket.socket:
    """A connection to the first address that answers; all have to be public, unless `free`."""
    found = list(dict.fromkeys(str(place[4][0]) for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    for address in found:
        if not free and not is_public(address):
            raise BasewrightError(
                f"{shown} is at {address}, which is not a public address",
                fix="use a public address; a hub of your own network is named with HF_ENDPOINT",
            )
    last: OSError = OSError("no address")
    for address in found:
        signals.poll()
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as error:
            last = error
    raise last


def is_public(text: str) -> bool:
    """Whether an address is one of the open Internet, also as IPv6 wraps an IPv4 one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return str(error) or "too slow"
    return getattr(error, "strerror", None) or type(error).__name__
