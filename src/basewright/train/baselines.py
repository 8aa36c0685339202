"""What held-out text costs without a neural model, in bits per byte: uniform bytes, `xz -6`, a 5-gram of the tokens."""

from __future__ import annotations

import lzma
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ORDER = 5
PRIME = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier of the hash that stands for an n-gram (Knuth's); of 10^8 n-grams hardly two share one."""
Keys = NDArray[np.uint64]


def all_of(
    held: Sequence[str], held_ids: Sequence[Sequence[int]], learned: NDArray[Any], vocabulary: int
) -> dict[str, float]:
    """`held_ids` are the tokens of `held`, behind their start tokens; `learned` those of the corpus, in one row."""
    nats = five_gram(learned, held_ids, vocabulary)
    size = sum(len(text.encode()) for text in held)
    return {"uniform": 8.0, **compressed(held), "5-gram": nats / math.log(2) / size}


def compressed(held: Sequence[str]) -> dict[str, float]:
    """Bits per byte of the texts packed one by one, and in one piece."""
    raw = [text.encode() for text in held]
    size = sum(map(len, raw))
    return {
        "xz -6 of each": 8 * sum(_packed(one) for one in raw) / size,
        "xz -6 of all": 8 * _packed(b"".join(raw)) / size,
    }


def _packed(raw: bytes) -> int:
    return len(lzma.compress(raw, preset=6))


class Level(NamedTuple):
    """n-grams of one order: how often each occurs, and of each context how often and before how many tokens."""

    grams: Keys
    counts: NDArray[np.int64]
    contexts: Keys
    totals: NDArray[np.int64]
    kinds: NDArray[np.int64]
    discount: float


def five_gram(learned: NDArray[Any], texts: Sequence[Sequence[int]], vocabulary: int) -> float:
    """Nats of all tokens but the first of each text under an interpolated Kneser-Ney model of order 5 (Chen and
    Goodman 1999, section 2.7), one discount an order."""
    levels = _levels(np.asarray(learned))
    return -sum(float(np.log(_probabilities(np.array(ids), levels, vocabulary)).sum()) for ids in texts)


def _levels(ids: NDArray[Any]) -> list[Level]:
    """From order 1 to 5. Below the highest, an n-gram counts once for each token that it was seen behind."""
    levels = []
    above: NDArray[np.int64] | None = None
    for order in range(ORDER, 0, -1):
        keys = _keys(ids, order)
        where = np.arange(len(keys)) if above is None else above + 1
        grams, first, counts = np.unique(keys[where], return_index=True, return_counts=True)
        above = where[first]
        contexts, inverse = np.unique(_keys(ids, order - 1)[above], return_inverse=True)
        totals = np.bincount(inverse, weights=counts).astype(np.int64)
        once, twice = (int((counts == n).sum()) for n in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        levels.append(Level(grams, counts, contexts, totals, np.bincount(inverse), discount))
    return levels[::-1]


def _keys(ids: NDArray[Any], order: int) -> Keys:
    """A hash of the `order` tokens from each place on, where there are that many."""
    keys = np.full(len(ids) - max(order, 1) + 1, order, dtype=np.uint64)
    for offset in range(order):
        keys = keys * PRIME + ids[offset : offset + len(keys)].astype(np.uint64) + np.uint64(1)
        keys ^= keys >> np.uint64(29)
    return keys


def _probabilities(ids: NDArray[np.int64], levels: Sequence[Level], vocabulary: int) -> NDArray[np.float64]:
    """Of each token but the first, from as many of the tokens before it as there are."""
    found = np.full(len(ids) - 1, 1 / vocabulary)
    for order, level in enumerate(levels[: len(ids)], start=1):
        begin = max(0, order - 2)  # the first token that has `order` - 1 before it, counted from the second token
        at = slice(begin, None)
        grams, contexts = _keys(ids, order), _keys(ids, order - 1)
        if order == 1:
            grams, contexts = grams[1:], contexts[1:]
        totals, kinds = (
            _look(contexts[: len(grams)], level.contexts, values) for values in (level.totals, level.kinds)
        )
        counts = _look(grams, level.grams, level.counts)
        seen = totals > 0
        lower = found[at]
        mixed = (np.maximum(counts - level.discount, 0) + level.discount * kinds * lower) / np.maximum(totals, 1)
        found[at] = np.where(seen, mixed, lower)
    return found


def _look(keys: Keys, known: Keys, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of each key; 0 for one that is not known."""
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, values[place], 0)
