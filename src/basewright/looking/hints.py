"""What a person should look at before they train on rows: labels that may be slips of each other, personal data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher

RARE = 0.1
"""A label that has at most this share of another's rows may be a slip of it."""
ALIKE = 0.85
"""`difflib`'s ratio from which two names count as alike; `billing` and `biling` have 0.92."""
PHONE = re.compile(
    r"(?<![\w.])(?:\+|00)\d{1,3}[ ().-]*(?:\d[ ().-]*){6,12}(?!\w)|(?<!\d)\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)"
)
CARD = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE)
SECRET = re.compile(r"\b(?:sk|pk|ghp|gho|xox[abp]|AKIA)[-_]?[A-Za-z0-9_-]{16,}\b")


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
    for what, test in KINDS.items():
        if seen := tuple(place for text, place in zip(texts, places, strict=True) if test(text)):
            found[what] = seen
    return found


def _has(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.search(text) is not None


def _card(text: str) -> bool:
    return any(_luhn(re.sub(r"\D", "", match.group())) for match in CARD.finditer(text))


def _luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1)."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _iban(text: str) -> bool:
    return any(_mod97(match.group().replace(" ", "")) for match in IBAN.finditer(text))


def _mod97(iban: str) -> bool:
    """The check digits of an IBAN (ISO 13616)."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


KINDS: dict[str, Callable[[str], bool]] = {
    "e-mail addresses": _has(EMAIL),
    "phone numbers": _has(PHONE),
    "card numbers": _card,
    "IBANs": _iban,
    "keys or tokens": _has(SECRET),
}
