"""Rows into training, choosing and test, by a hash of the text; near-duplicates stay on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from basewright.data.rows import normal
from basewright.errors import DataError, Refused
from basewright.records import Item, Ledger

SIMILAR = 0.7
"""Jaccard similarity of word trigrams from which two rows count as near-duplicates."""
RUN = 13
"""Words in a row that count as copied text, as in GPT-3's contamination study (Brown et al. 2020, appendix C)."""


def deduplicate(items: Sequence[Item]) -> tuple[list[Item], Ledger]:
    """The first of each set of equal texts. Raises `DataError` when equal texts carry different labels."""
    kept: dict[str, Item] = {}
    dropped: list[str] = []
    for item in items:
        known = kept.get(item.id)
        if known is None:
            kept[item.id] = item
            continue
        if known.label != item.label:
            raise DataError(
                f"the same text has label {known.label!r} and {item.label!r}: {item.text[:60]!r}",
                fix="decide on one label for it",
            )
        dropped.append(item.text[:80])
    groups = clusters(list(kept.values()))
    near = len(kept) - len(set(groups))
    ledger = Ledger(
        read=len(items),
        used=len(kept),
        duplicates=len(dropped),
        near_duplicates=near,
        duplicate_examples=tuple(dropped[:3]),
    )
    return list(kept.values()), ledger


def divide(items: Sequence[Item], **shares: float) -> dict[str, tuple[Item, ...]]:
    """`{"train": …, NAME: …}`: each cluster of near-duplicates goes where the hash of its first member says.

    `shares` are the fractions of the held-out parts; the rest is training. A row's side depends on its own text
    only, so adding rows moves no other. Raises `DataError` when a part is empty or training lacks a label.
    """
    parts: dict[str, list[Item]] = {"train": [], **{name: [] for name in shares}}
    for item, leader in zip(items, clusters(items), strict=True):
        parts[_part(leader, shares)].append(item)
    for name, members in parts.items():
        if not members:
            raise DataError(f"the {name} part of the split is empty", fix="add rows; a few hundred make a usable task")
    missing = {item.label for item in items} - {item.label for item in parts["train"]}
    if missing:
        raise DataError(f"label {sorted(missing)[0]!r} has no training row", fix="add rows with that label")
    return {name: tuple(members) for name, members in parts.items()}


def _part(leader: str, shares: Mapping[str, float]) -> str:
    place = int(hashlib.sha256(f"split:{leader}".encode()).hexdigest()[:13], 16) / 16**13
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return "train"


def refuse_overlap(train: Sequence[Item], held: Sequence[Item], where: str) -> None:
    """Raise `Refused` when a held-out text, or a near-duplicate of it, is also in training (H078)."""
    groups = clusters([*train, *held])
    seen = dict(zip(groups, train, strict=False))
    for group, item in zip(groups[len(train) :], held, strict=True):
        if group in seen:
            raise Refused(
                f"{where} overlaps the training rows: {item.text[:50]!r} is close to {seen[group].text[:50]!r}",
                fix="remove such rows from one side, or let [task].test be a fraction: the split is then made for you",
            )


def clusters(items: Sequence[Item]) -> list[str]:
    """For each item the id of the first item it is a near-duplicate of, directly or through others: found similar by
    MinHash LSH, or with words copied from one another."""
    from datasketch import MinHash, MinHashLSH

    leader: dict[str, str] = {}
    index = MinHashLSH(threshold=SIMILAR, num_perm=64)
    blank = MinHash(num_perm=64, seed=1)
    owner: dict[str, str] = {}
    found: list[str] = []
    for item in items:
        if item.id not in leader:
            sketch = blank.copy()  # drawing its permutations anew costs more than a short text's hashes
            sketch.update_batch([shingle.encode() for shingle in shingles(item.text)])
            copied = runs(item.text)
            alike = {str(other) for other in index.query(sketch)} | {owner[run] for run in copied if run in owner}
            near = sorted({_root(leader, other) for other in alike})
            leader[item.id] = near[0] if near else item.id
            for other in near[1:]:
                leader[other] = near[0]
            index.insert(item.id, sketch)
            owner.update(dict.fromkeys(copied, item.id))
        found.append(item.id)
    return [_root(leader, one) for one in found]


def runs(text: str) -> set[str]:
    """Every RUN words in a row of a text; a shorter one as a whole."""
    words = normal(text).split()
    return {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}


def _root(leader: dict[str, str], key: str) -> str:
    while leader[key] != key:
        key = leader[key]
    return key


def shingles(text: str) -> set[str]:
    """Every three words in a row of a text, what near-duplicates share; a shorter one as a whole."""
    words = text.casefold().split()
    return {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
