"""Rows that say the same, or nearly: within a set, and between training and held-out rows (H078).

MinHash LSH proposes pairs, and the similarity itself is then counted: no row is dropped for an estimate.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from basewright import signals
from basewright.data.rows import normal
from basewright.data.shapes import Row
from basewright.data.split import RUN, SIMILAR, shingles

PERMUTATIONS = 64
PROPOSED = 0.55
"""Threshold of the LSH, below SIMILAR, because an estimate from 64 permutations is off by 0.06 (one standard error)."""
COMMON = 10
"""A run of words in more rows than this is a form that rows are written in, and not text copied from one another."""


class Twin(NamedTuple):
    row: Row
    first: Row
    """The row it repeats, or overlaps."""


def deduplicate(rows: Sequence[Row]) -> tuple[list[Row], list[Twin], list[Twin]]:
    """(the rows that stay, those equal to one before, those nearly equal to one before, with nearly its answer)."""
    seen: dict[str, Row] = {}
    equal: list[Twin] = []
    for row in rows:
        first = seen.setdefault(normal(row.content), row)
        if first is not row:
            equal.append(Twin(row, first))
    kept: list[Row] = []
    near: list[Twin] = []
    index = Index()
    for row in seen.values():
        signals.poll()
        sketch = index.sketch(row.content)
        alike = next((one for one in index.like(sketch) if _same(row, one)), None)
        if alike is None:
            index.add(row, sketch)
            kept.append(row)
        else:
            near.append(Twin(row, alike))
    return kept, equal, near


def overlap(train: Sequence[Row], held: Sequence[Row]) -> list[Twin]:
    """Held-out rows that training rows give away: they ask the same, or with RUN words in a row of it, or nearly the
    same with nearly the same answer."""
    index = Index()
    for row in train:
        index.add(row, index.sketch(_asked(row)))
    common = _common([*train, *held])
    owners = {run: row for row in train for run in _runs(row, common)}
    found = []
    for row in held:
        copied = next((owners[run] for run in _runs(row, common) if run in owners), None)
        alike = (one for one in index.like(index.sketch(_asked(row))) if _similar(row.answer, one.answer))
        first = copied or next(alike, None)
        if first is not None:
            found.append(Twin(row, first))
    return found


def clusters(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """Rows that `overlap` would not allow on two sides, directly or through others, under the number of their first."""
    root: dict[int, int] = {}

    def find(number: int) -> int:
        while root[number] != number:
            number = root[number]
        return number

    common = _common(rows)
    owners: dict[int, int] = {}
    index = Index()
    numbers = {id(row): number for number, row in enumerate(rows)}
    for number, row in enumerate(rows):
        signals.poll()
        sketch = index.sketch(_asked(row))
        copied = _runs(row, common)
        alike = {find(owners[run]) for run in copied if run in owners}
        alike |= {find(numbers[id(one)]) for one in index.like(sketch)}
        root[number] = min(alike, default=number)
        for one in alike:
            root[one] = root[number]
        index.add(row, sketch)
        owners.update(dict.fromkeys(copied, number))
    found: dict[int, list[Row]] = {}
    for number, row in enumerate(rows):
        found.setdefault(find(number), []).append(row)
    return found


class Sketch(NamedTuple):
    parts: set[str]
    minhash: Any


class Index:
    """Rows found again by texts like theirs."""

    def __init__(self) -> None:
        from datasketch import MinHash, MinHashLSH

        self._blank = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
        self._proposals = MinHashLSH(threshold=PROPOSED, num_perm=PERMUTATIONS)
        self._rows: list[tuple[Row, set[str]]] = []

    def sketch(self, text: str) -> Sketch:
        parts = shingles(text)
        minhash = self._blank.copy()
        minhash.update_batch([part.encode() for part in parts])
        return Sketch(parts, minhash)

    def add(self, row: Row, sketch: Sketch) -> None:
        self._proposals.insert(len(self._rows), sketch.minhash)
        self._rows.append((row, sketch.parts))

    def like(self, sketch: Sketch) -> Iterator[Row]:
        """Rows added whose text is similar by SIMILAR or more, in the order they were added."""
        for number in sorted(self._proposals.query(sketch.minhash)):
            row, others = self._rows[number]
            if _jaccard(sketch.parts, others) >= SIMILAR:
                yield row


def _same(first: Row, second: Row) -> bool:
    """Nearly equal in what is asked and in what is answered: another label makes another row."""
    return (first.desirable, len(first.turns)) == (second.desirable, len(second.turns)) and all(
        _similar(a, b)
        for a, b in (
            (first.asked, second.asked),
            (first.answer, second.answer),
            (first.rejected or "", second.rejected or ""),
        )
    )


def _similar(first: str, second: str) -> bool:
    return _jaccard(shingles(first), shingles(second)) >= SIMILAR


def _jaccard(first: set[str], second: set[str]) -> float:
    return len(first & second) / max(1, len(first | second))


def _asked(row: Row) -> str:
    return row.asked or row.answer


def _windows(row: Row) -> list[int]:
    """Every RUN words in a row of what is asked, hashed; a shorter one as a whole."""
    words = normal(_asked(row)).split()
    return [hash(tuple(words[i : i + RUN])) for i in range(max(1, len(words) - RUN + 1))]


def _common(rows: Sequence[Row]) -> set[int]:
    counts = Counter(run for row in rows for run in set(_windows(row)))
    return {run for run, count in counts.items() if count > COMMON}


def _runs(row: Row, common: set[int]) -> list[int]:
    """The runs that share no word with a common one, which would reach from a form into its filling."""
    windows = _windows(row)
    formed = [i for i, run in enumerate(windows) if run in common]
    return [run for i, run in enumerate(windows) if all(abs(i - at) >= RUN for at in formed)]
