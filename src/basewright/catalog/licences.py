"""What licences of models ask of those who use them and hand them on, from `facts/licences.toml`. Not legal advice."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import tomli

from basewright.plain import from_plain
from basewright.records import Source, record


@record
class Terms:
    """One licence, as the table describes it."""

    id: str
    title: str
    duties: tuple[str, ...]
    marks: tuple[str, ...]
    source: Source
    checked: bool
    hub: str | None = None
    also: tuple[str, ...] = ()
    agreement: bool = False
    notice: str | None = None
    display: str | None = None
    name_prefix: str | None = None
    use_policy: str | None = None
    non_commercial: bool = False
    share_alike: bool = False
    """What is made from it must be handed on under the same licence."""
    most_users: int | None = None
    """Monthly users of a service above which its makers must be asked."""

    @property
    def names(self) -> tuple[str, ...]:
        """All it goes by: its id, what hubs call it, and that as a reference."""
        hubs = (*((self.hub,) if self.hub else ()), *self.also)
        known = {name.casefold(): name for name in (*(f"LicenseRef-{name}" for name in hubs), *hubs, self.id)}
        return tuple(known.values())


@cache
def table() -> tuple[Terms, ...]:
    """Every licence that is known."""
    raw = (Path(__file__).parent / "facts/licences.toml").read_text("utf-8")
    found: tuple[Terms, ...] = from_plain(tuple[Terms, ...], tomli.loads(raw)["licence"])
    return found


def find(licence: str) -> tuple[Terms | None, ...]:
    """The terms of each part of `licence`, an SPDX id or a hub's name for one, several joined by AND; None: unknown."""
    return tuple(_known().get(part.casefold()) for part in parts(licence))


def parts(licence: str) -> list[str]:
    return re.split(r"\s+AND\s+", licence.strip())


@cache
def _known() -> dict[str, Terms]:
    return {name.casefold(): terms for terms in table() for name in terms.names}
