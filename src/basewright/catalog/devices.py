"""Accelerators that are not here, as `facts/devices.toml` describes them: what they hold and how fast they are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tomli

from basewright.errors import UsageError, nearest
from basewright.plain import from_plain
from basewright.records import Source, record

GIB = 2**30


@record
class DeviceFacts:
    """What is known of one accelerator; None is unknown."""

    id: str
    name: str
    kind: Literal["cuda", "rocm", "metal"]
    memory: int
    usable: int
    """Bytes of `memory` that one process can have without changing the system."""
    sources: tuple[Source, ...]
    also: tuple[str, ...] = ()
    """Other names it is found by."""
    bandwidth: float | None = None
    """Of its memory, bytes a second."""
    flops: float | None = None
    """Dense matrix products in 16 bits with sums in float32, operations a second."""
    flops_float32: float | None = None
    """The same outside its tensor units."""


@record
class _Share:
    up_to: int
    """GiB of memory."""
    share: float


@record
class _Metal:
    """What macOS gives its GPU of the memory that both use."""

    shares: tuple[_Share, ...]
    sources: tuple[Source, ...]

    def usable(self, gib: int) -> int:
        return int(next(s.share for s in self.shares if gib <= s.up_to) * gib * GIB)


@cache
def devices() -> tuple[DeviceFacts, ...]:
    """Every accelerator of the table, in its order."""
    table = tomli.loads((Path(__file__).parent / "facts/devices.toml").read_text("utf-8"))
    metal: _Metal = from_plain(_Metal, table["metal"])
    return tuple(facts for stanza in table["device"] for facts in _facts(stanza, metal))


def device(name: str) -> DeviceFacts:
    """The accelerator called `name`, in any case and with spaces or hyphens. Raises `UsageError` with the nearest."""
    known = {_plain(each): facts for facts in devices() for each in (facts.id, facts.name, *facts.also)}
    if _plain(name) in known:
        return known[_plain(name)]
    raise UsageError(
        f"no device is called {name!r}; {nearest(_plain(name), [facts.id for facts in devices()])}",
        fix="name a device of the table",
    )


def _facts(stanza: dict[str, Any], metal: _Metal) -> list[DeviceFacts]:
    """One device, or one for each memory that a chip is sold with."""
    if "sizes" not in stanza:
        return [from_plain(DeviceFacts, {**stanza, "usable": stanza["memory"]})]
    return [_sold_with(stanza, gib, metal) for gib in stanza["sizes"]]


def _sold_with(stanza: dict[str, Any], gib: int, metal: _Metal) -> DeviceFacts:
    chip = {key: value for key, value in stanza.items() if key not in ("sizes", "sources")}
    facts: DeviceFacts = from_plain(
        DeviceFacts,
        {
            **chip,
            "id": f"{chip['id']}-{gib}gb",
            "name": f"{chip['name']}, {gib} GB",
            "memory": gib * GIB,
            "usable": metal.usable(gib),
            "sources": (),
        },
    )
    return replace(facts, sources=(*from_plain(tuple[Source, ...], stanza["sources"]), *metal.sources))


def _plain(name: str) -> str:
    return "-".join(name.casefold().replace(",", " ").replace("-", " ").replace("_", " ").split())
