"""Rows that are validated on, split off from those trained on by a hash of their text; rows alike stay on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from basewright.data import near
from basewright.data.prepare import Prepared
from basewright.data.rows import normal
from basewright.data.shapes import Row


def hold_out(data: Prepared, share: float) -> tuple[Prepared, Prepared]:
    """(rows to train on, rows to validate on), about `share` of them.

    Each cluster of rows that give one another away (`near.clusters`) goes where the hash of its texts says, so that
    more rows move hardly any other. Labels that no row would teach any more come back. Either side may be empty.
    """
    clusters = near.clusters([row for row, _ in groupby(data.rows)])  # windows of one text follow one another
    leaders = {id(row): leader for leader, members in clusters.items() for row in members}
    held = {leader for leader, members in clusters.items() if _place(members) < share}
    if data.shape == "text-label":
        held -= set(_needed(clusters, held))
    sides = [leaders[id(row)] in held for row in data.rows]
    return _part(data, [not side for side in sides]), _part(data, sides)


def _place(members: Sequence[Row]) -> float:
    """Where a cluster lies between 0 and 1: by the least of the hashes of its texts, whatever their order."""
    hashes = (hashlib.sha256(f"validate:{normal(row.content)}".encode()).hexdigest()[:13] for row in members)
    return int(min(hashes), 16) / 16**13


def _needed(clusters: dict[int, list[Row]], held: set[int]) -> Iterator[int]:
    taught = {row.answer for leader, members in clusters.items() if leader not in held for row in members}
    for leader in sorted(held):
        answers = {row.answer for row in clusters[leader]}
        if answers - taught:
            taught |= answers
            yield leader


def _part(data: Prepared, kept: Sequence[bool]) -> Prepared:
    pairs = [pair for pair, wanted in zip(zip(data.taught, data.rows, strict=True), kept, strict=True) if wanted]
    return replace(data, taught=tuple(taught for taught, _ in pairs), rows=tuple(row for _, row in pairs))
