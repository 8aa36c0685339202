"""Which languages texts are in: by script, and by short common words. It says `unsure` rather than guess."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

UNSURE = "unsure"
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
LEAD = 1.5
"""How many times as many common words the likeliest language must have as the next."""
LEAST = 2
"""Common words without which nothing is said of a text."""
MOST_TEXTS = 2000


def languages(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """(language, share of the texts), the most frequent first; those under 1 % only where nothing else is there.

    A language is an ISO 639-1 code, or `unsure`: for texts that are too short, mixed, or in none that is known.
    Another language of the same script as one that is known can be taken for it, as Ukrainian for Russian.
    """
    step = max(1, len(texts) // MOST_TEXTS)
    seen = [language(text) for text in texts[::step]]
    found = [(name, count / len(seen)) for name, count in Counter(seen).most_common()]
    return tuple(one for one in found if one[1] >= 0.01) or tuple(found[:1])


def language(text: str) -> str:
    """Of one text."""
    if script := _script(text):
        return script
    found = Counter(
        name for word in WORD.findall(text.casefold()) for name in _common().get(word.replace("’", "'"), ())
    )
    if not found:
        return UNSURE
    (name, most), *rest = found.most_common()
    return name if most >= LEAST and most >= LEAD * (rest[0][1] if rest else 0) else UNSURE


def _script(text: str) -> str:
    """The language of a script that most letters are in; empty for Latin. Kana decide for Japanese."""
    letters = Counter(_language_of(letter) for letter in text[:2000] if letter.isalpha())
    if not letters:
        return ""
    if letters["ja"] * 10 > letters.total():
        return "ja"
    name, count = letters.most_common(1)[0]
    return name if count * 2 > letters.total() else ""


@cache
def _language_of(letter: str) -> str:
    name = unicodedata.name(letter, "")
    return next((code for code, starts in _facts()["scripts"].items() if name.startswith(tuple(starts.split()))), "")


@cache
def _common() -> dict[str, tuple[str, ...]]:
    """Of each common word the languages it is common in."""
    found: dict[str, tuple[str, ...]] = {}
    for name, words in _facts()["words"].items():
        for word in set(words.split()):
            found[word] = (*found.get(word, ()), name)
    return found


@cache
def _facts() -> dict[str, dict[str, str]]:
    return tomllib.loads(files("basewright.looking").joinpath("languages.toml").read_text("utf-8"))
