"""Which token ids to compute once. Pairs become a trie over token ids, and the trie becomes groups of rows.

A group is a prefix that is computed once for all below it; a row is a context with its branches, computed at once
under a tree mask. What is shared is decided on ids, never on strings: a context that ends in a space splits its last
token from the continuation's first in another way each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from basewright.engine.lm import Pair


@dataclass(frozen=True, slots=True)
class Limits:
    """What sharing is worth its cost. The defaults were chosen by `benchmarks/scoring.py`."""

    branches: bool = True
    """Rows may branch; without, every row is one chain of ids."""
    prefixes: bool = True
    """Prefixes may be computed once for several rows."""
    shortest: int = 16
    """Ids of the shortest prefix worth keeping."""
    saved: int = 256
    """Ids that keeping a prefix must save."""
    spread: int = 256
    """Ids a row may have beyond its longest chain: branches do not see each other, and what is masked costs too."""


@dataclass(slots=True)
class Query:
    """Where in a row the answer to a pair is read off."""

    place: int
    """Of the pair."""
    at: list[int]
    """For each target, the id whose output predicts it: an index into the row, or `~depth` of the prefix."""


@dataclass(slots=True)
class Row:
    ids: list[int] = field(default_factory=list)
    segments: list[tuple[int, int, int]] = field(default_factory=list)
    """(begin, end, parent): ids that follow one another, after the id at `parent`; -1 is the end of the prefix."""
    queries: list[Query] = field(default_factory=list)

    @property
    def chain(self) -> bool:
        return all(parent == begin - 1 for begin, _, parent in self.segments)


@dataclass(slots=True)
class Group:
    prefix: tuple[int, ...]
    """Ids computed once, after those of the groups above."""
    length: int
    """Of all prefixes down to this one."""
    rows: list[Row] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    """Of pairs that end inside the prefix."""


@dataclass(slots=True)
class _Node:
    begin: int
    end: int
    path: int
    """A path that runs through this node."""
    children: list[_Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Paths that end here."""
    tokens: int = 0
    longest: int = 0
    """Ids of the subtree, and of its longest chain."""
    rows: int = 0

    def fits(self, limits: Limits) -> bool:
        """Whether the subtree is one row."""
        return self.tokens == self.longest or (limits.branches and self.tokens - self.longest <= limits.spread)


def plan(pairs: Sequence[Pair], limits: Limits) -> Group:
    """Groups and rows in which every pair is answered exactly once."""
    paths = [np.array(one.context + one.continuation[:-1], dtype=np.int64) for one in pairs]
    root = _trie(paths)
    _count(root, limits)
    whole = Group(prefix=(), length=0)
    if not pairs:
        return whole
    stack: list[tuple[_Node, Group, list[int]]] = [(root, whole, [])]
    while stack:
        node, group, carried = stack.pop()
        if node.fits(limits):
            group.rows.append(_row(node, group.length, carried, paths, pairs))
            continue
        ends = carried + node.ends
        added = node.end - group.length
        if limits.prefixes and added >= limits.shortest and added * (node.rows - 1) >= limits.saved:
            inner = Group(prefix=tuple(paths[node.path][group.length : node.end].tolist()), length=node.end)
            inner.queries = [_query(place, pairs[place], None, node.end) for place in ends]
            group.groups.append(inner)
            group, ends = inner, []
        stack += [(child, group, []) for child in node.children[1:]]
        stack.append((node.children[0], group, ends))  # what ends above a branching is read off its first row
    return whole


def positions(group: Group) -> int:
    """Ids that are computed for a plan, without padding."""
    return len(group.prefix) + sum(len(row.ids) for row in group.rows) + sum(positions(inner) for inner in group.groups)


def fewest(pairs: Sequence[Pair]) -> int:
    """Ids of the whole trie: no way of computing can do with fewer."""
    root = _trie([np.array(one.context + one.continuation[:-1], dtype=np.int64) for one in pairs])
    return sum(node.end - node.begin for node in _preorder(root))


# --- the trie -------------------------------------------------------------------------------------


def _trie(paths: Sequence[NDArray[np.int64]]) -> _Node:
    """The compressed trie of the paths, its children in order."""
    order = sorted(range(len(paths)), key=lambda place: paths[place].tolist())
    root = _Node(0, 0, order[0] if order else 0)
    open_nodes = [root]
    for before, place in zip([-1, *order], order, strict=False):
        shared = _common(paths[before], paths[place]) if before >= 0 else 0
        while len(open_nodes) > 1 and open_nodes[-1].begin >= shared:
            open_nodes.pop()
        top = open_nodes[-1]
        if top.end > shared:
            _split(top, shared)
        if len(paths[place]) > shared:
            node = _Node(shared, len(paths[place]), place)
            top.children.append(node)
            open_nodes.append(node)
        open_nodes[-1].ends.append(place)
    return root


def _split(node: _Node, at: int) -> None:
    """Its part beyond depth `at` becomes its only child."""
    node.children = [_Node(at, node.end, node.path, node.children, node.ends)]
    node.end, node.ends = at, []


def _common(first: NDArray[np.int64], second: NDArray[np.int64]) -> int:
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    return int(differs.argmax()) if differs.any() else length


def _preorder(root: _Node) -> Iterator[_Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(node.children)


def _count(root: _Node, limits: Limits) -> None:
    for node in reversed(list(_preorder(root))):
        own = node.end - node.begin
        node.tokens = own + sum(child.tokens for child in node.children)
        node.longest = own + max((child.longest for child in node.children), default=0)
        node.rows = 1 if node.fits(limits) else sum(child.rows for child in node.children)


# --- rows -----------------------------------------------------------------------------------------


def _row(
    root: _Node, prefix: int, carried: list[int], paths: Sequence[NDArray[np.int64]], pairs: Sequence[Pair]
) -> Row:
    """The subtree below `root` as one row after `prefix` ids; what lies between is repeated in it."""
    row = Row()
    chain: list[int] = []
    """Index in the row of each depth from `prefix` on, along the way to the current node."""
    for node in _preorder(root):
        begin = prefix if node is root else node.begin
        del chain[begin - prefix :]
        own = paths[node.path][begin : node.end].tolist()
        at = len(row.ids)
        if own:
            row.segments.append((at, at + len(own), chain[-1] if chain else -1))
        chain += range(at, at + len(own))
        row.ids += own
        ends = carried + node.ends if node is root else node.ends
        row.queries += [_query(place, pairs[place], chain, prefix) for place in ends]
    return row


def _query(place: int, pair: Pair, chain: list[int] | None, prefix: int) -> Query:
    first = len(pair.context) - 1
    depths = range(first, first + len(pair.continuation))
    return Query(place, [chain[d - prefix] if chain is not None and d >= prefix else ~d for d in depths])
