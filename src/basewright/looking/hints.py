"""What a person should look at before they train on rows: labels that may be slips of each other, personal data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from basewright.data import hints

RARE = 0.1
"""A label that has at most this share of another's rows may be a slip of it."""
ALIKE = 0.85
"""`difflib`'s ratio from which two names count as alike; `billing` and `biling` have 0.92."""


def slips(counts: Mapping[str, int]) -> tuple[tuple[str, str, str], ...]:
    """(label, the one it may be meant to be, why): equal but for case and signs, or rare and spelled much alike."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    found = []
    for place, name in enumerate(names):
        for other in names[:place]:
            if why := _slip(name, other, counts):
                found.append((name, other, why))
                break
    return tuple(found)


def _slip(name: str, other: str, counts: Mapping[str, int]) -> str:
    if _plain(name) == _plain(other):
        return "the same but for case, spaces or signs"
    digits = re.findall(r"\d+", name) != re.findall(r"\d+", other)
    if digits or counts[name] > RARE * counts[other] or min(len(name), len(other)) < 4:
        return ""
    return "rare, and spelled alike" if SequenceMatcher(None, _plain(name), _plain(other)).ratio() >= ALIKE else ""


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.casefold())


def personal(texts: Sequence[str], places: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What looks like personal data or secrets, with the places of the rows it is in; never the data itself (H071)."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in hints.KINDS:
        if seen := tuple(place for text, place in zip(texts, places, strict=True) if hints.first(kind, text)):
            found[kind + ("es" if kind.endswith("s") else "s")] = seen
    return found
