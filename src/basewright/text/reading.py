"""Token ids of texts that begin alike, as few-shot prompts do: what a text shares with the last is not read again.

It rests on how byte-level BPE tokenizers work: a pattern cuts the text into words from left to right, looking at most
one word ahead, and no token spans two words. Whoever is built otherwise is read whole each time.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_right
from typing import Any

from basewright.text.tokenizer import Tokenizer

MARGIN = 2
"""Words before the place where two texts part that are read again: the pattern may have looked ahead."""


class Reader:
    """`ids` gives exactly what `Tokenizer.ids` gives."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._normalizes, self._in_words = _kind(tokenizer.backend)
        self._lengths: dict[int, int] = {}
        self._raw = b""
        self._ids: list[int] = []
        self._word_ids: list[int] = []
        """Index of each word's first id, and its first byte."""
        self._word_bytes: list[int] = []

    def ids(self, text: str) -> list[int]:
        if not self._in_words or (self._normalizes and not unicodedata.is_normalized("NFC", text)):
            return self._tokenizer.ids(text)
        raw = text.encode()
        kept = max(0, bisect_right(self._word_bytes, _common(self._raw, raw)) - 1 - MARGIN)
        index, begin = (self._word_ids[kept], self._word_bytes[kept]) if kept else (0, 0)
        encoding = self._tokenizer.backend.encode(raw[begin:].decode(), add_special_tokens=False)
        del self._ids[index:], self._word_ids[kept:], self._word_bytes[kept:]
        last = None
        for at, (number, word) in enumerate(zip(encoding.ids, encoding.word_ids, strict=True), index):
            if word != last:
                self._word_ids.append(at)
                self._word_bytes.append(begin)
                last = word
            begin += self._length(number)
        self._ids += encoding.ids
        self._raw = raw
        if begin != len(raw):  # a token that stands for other bytes than its own, such as an unknown one
            self._in_words = False
            return self._tokenizer.ids(text)
        return list(self._ids)

    def _length(self, number: int) -> int:
        """Bytes of a token: byte-level vocabularies write each byte as one character."""
        if number not in self._lengths:
            self._lengths[number] = len(str(self._tokenizer.backend.id_to_token(number)))
        return self._lengths[number]


def _kind(backend: Any) -> tuple[bool, bool]:
    """(whether it normalizes to NFC, whether it is a byte-level BPE that reads words from left to right)."""
    normalizer = _state(backend.normalizer)
    steps = _state(backend.pre_tokenizer)
    parts = steps.get("pretokenizers", [steps])
    left_to_right = all(
        (part.get("type") == "Split" and part["behavior"] == "Isolated" and not part["invert"])
        or (part.get("type") == "ByteLevel" and not part["add_prefix_space"])
        or part.get("type") == "Digits"
        for part in parts
    )
    byte_level = parts[-1].get("type") == "ByteLevel" and type(backend.model).__name__ == "BPE"
    known = normalizer.get("type") in (None, "NFC")
    return normalizer.get("type") == "NFC", known and left_to_right and byte_level


def _state(part: Any) -> dict[str, Any]:
    return dict(json.loads(part.__getstate__())) if part is not None else {}


def _common(first: bytes, second: bytes) -> int:
    """How many bytes both begin with, by halving."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
