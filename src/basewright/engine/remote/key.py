"""Whom an endpoint's key is for: read from the environment, given to one origin, and never over an open line (H034)."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import SplitResult, urlsplit

from basewright.engine.remote.spent import Spent
from basewright.engine.remote.transport import Wire
from basewright.errors import UsageError

USUAL = {
    "api.openai.com": "OPENAI_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.together.ai": "TOGETHER_API_KEY",
    "api.fireworks.ai": "FIREWORKS_API_KEY",
    "api.replicate.com": "REPLICATE_API_TOKEN",
}
"""A provider's own variable is read for that provider's host alone."""


def open_wire(url: str, key_variable: str | None = None, price_per_million: float | None = None) -> Wire:
    """A wire to the origin of `url` with the key in `key_variable`, or in the host's usual variable.

    Raises `UsageError` for an address or a key that cannot be used.
    """
    origin = origin_of(url)
    variable = key_variable or USUAL.get(origin.hostname or "", "BASEWRIGHT_API_KEY")
    key = secret(variable)
    if key:
        refuse_open_line(origin, variable)
    bearer = {"Authorization": f"Bearer {key}"} if key else {}
    return Wire(origin, lambda _method, _path, _body: bearer, (key,) if key else (), variable, Spent(price_per_million))


def origin_of(url: str) -> SplitResult:
    """The parts of an http or https address. Raises `UsageError`, which shows no part that could hold a secret."""
    try:
        parts = urlsplit(url)
        is_one = parts.port != 0 and all("!" <= letter <= "~" for letter in url)
    except ValueError:
        is_one = False
    if not is_one or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "that is not the address of an endpoint", fix="give one such as https://api.together.xyz/v1"
        ) from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"the address of {parts.hostname} holds a user name, a query or a fragment",
            fix="give the bare address, and the key in an environment variable",
        )
    return parts


def secret(variable: str) -> str:
    """An environment variable that holds a key; empty where it is not set. Raises `UsageError` without showing it."""
    value = os.environ.get(variable, "").strip()
    if not all("!" <= letter <= "~" for letter in value):
        raise UsageError(f"{variable} holds characters that no key has", fix=f"set {variable} to the key alone")
    return value


def refuse_open_line(origin: SplitResult, variable: str) -> None:
    """Refuse to send what `variable` holds over plain http to another machine. Raises `UsageError`."""
    if origin.scheme == "http" and not _is_this_machine(origin.hostname or ""):
        raise UsageError(
            f"a key is not sent over plain http to {origin.hostname}",
            fix=f"give an https address, or unset {variable}",
        )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
