"""Personal data and secrets that training rows may hold: counted, shown masked, never changed (H071).

These are patterns and nothing more: what they find may be harmless, and what they do not find may still be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from basewright.data.shapes import Row
from basewright.records import Hint

SHOWN = 3


def _luhn(found: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    digits = [int(one) for one in found if one.isdigit()][::-1]
    total = sum(digits[::2]) + sum(sum(divmod(2 * one, 10)) for one in digits[1::2])
    return total % 10 == 0 and len(set(digits)) > 1


def _iban(found: str) -> bool:
    """The check digits of ISO 13616: the rearranged number is 1 modulo 97."""
    bare = found.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in bare[4:] + bare[:4])) % 97 == 1


def _always(_found: str) -> bool:
    return True


KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "e-mail address": (
        re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b"),
        _always,
    ),
    "phone number": (
        re.compile(
            r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}"
            r"|(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4})(?![\w-])"
        ),
        _always,
    ),
    "card number": (re.compile(r"(?<![\w-])\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}(?![\w-])"), _luhn),
    "IBAN": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), _iban),
    "social security number": (re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"), _always),
    "private key": (re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"), _always),
    "access key": (
        re.compile(
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{20,}"
            r"|\bhf_[A-Za-z0-9]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{35}"
            r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
        ),
        _always,
    ),
    "network address": (
        re.compile(
            r"(?<![\w.])(?!127\.|0\.|10\.|192\.168\.)(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])"
        ),
        _always,
    ),
}


def hints(rows: Sequence[Row]) -> tuple[Hint, ...]:
    """What was seen, by kind; kinds that were not are left out."""
    found = []
    for kind in KINDS:
        seen = [(row.where, match) for row in rows if (match := first(kind, row.content))]
        if seen:
            shown = tuple(f"{where}: {masked(match)}" for where, match in seen[:SHOWN])
            found.append(Hint(kind=kind, rows=len(seen), examples=shown))
    return tuple(found)


def masked(value: str) -> str:
    """Its first character and its punctuation; every other letter and digit becomes a dot."""
    return value[:1] + re.sub(r"\w", "•", value[1:33])


def first(kind: str, text: str) -> str | None:
    """The first that a text seems to hold of a kind of `KINDS`."""
    pattern, holds = KINDS[kind]
    return next((match[0] for match in pattern.finditer(text) if holds(match[0])), None)
