"""The race: entrants answer the same items in one random order, and who cannot be the best is asked no more.

What is promised, with probability `confidence` or more over the order, however often one looks: the best entrant b is
not `lost`, and no entrant that is named (the leader, those tied) is worse than b by more than the margin. Where two
are best and exactly equal, it holds for each: either may be lost to the other. Why it holds is in `board`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from basewright.choose.board import Board, Until
from basewright.records import record

Answer = Callable[[str, Sequence[int]], Sequence[float]]
"""Entrant and places in the pool to the values of these items, in [0, 1]."""
About = Literal["pool", "future"]
Outcome = Literal["winner", "tie", "leader", "not separated"]

BATCH = 8
GROWS = 16
"""Batches become as large as one in so many of the items answered: late looks save little."""


@record
class Lost:
    """An entrant shown not to be the best."""

    model: str
    to: str
    """Who led when it was."""
    items: int
    e_value: float
    """Wealth of the bet that it is not the best, from a start of 1; what the pool leaves no doubt of has 1e300."""


@record
class Race:
    leader: str
    verdict: Outcome
    """`winner`: all others are lost. `tie`: all that are not lost are within the margin of the best. `leader`: that
    holds for the leader, and others may be further down. `not separated`: it is not shown of anyone."""
    tied: tuple[str, ...]
    """Each within the margin of the best, so that the cheapest of them will do; the leader first."""
    left: tuple[str, ...]
    """Neither lost nor shown to be within the margin of the best."""
    lost: tuple[Lost, ...]
    asked: dict[str, int]
    """Items each entrant answered."""
    items: int
    """Items in the pool."""
    about: About
    margin: float
    confidence: float
    seed: int


def order(pool: int, seed: int) -> list[int]:
    """The places of the pool in the order they are asked; of the seed alone, so that entrants may join later."""
    return [int(place) for place in np.random.default_rng(seed).permutation(pool)]


def run(
    entrants: Sequence[str],
    pool: int,
    answer: Answer,
    *,
    seed: int,
    margin: float,
    confidence: float,
    batch: int = BATCH,
    order_prior: Mapping[str, float] | None = None,
    until: Until = "settled",
    about: About = "pool",
) -> Race:
    """Ask entrants, `batch` items at a time and later more, until the outcome is certain or all of the pool was asked.

    `until` says when it is: as soon as one entrant is `named` as within the `margin` (a difference of mean values) of
    the best, or when everyone is `settled`: lost, or within the margin too. Claims are about the mean over this
    `pool`, which is known when all of it was asked, or about `future` items like these, which may stay open.
    `order_prior` (expected mean values; who is not in it counts as average) says whom to bet on first. It makes a
    race shorter where it is right and longer where it is wrong, and confidence does not rest on it. An entrant is
    asked a beginning of `order`, never an item twice. Raises `ValueError` for no entrants, one twice, or values
    outside [0, 1].
    """
    if not entrants or len(set(entrants)) < len(entrants):
        raise ValueError("a race needs entrants, each once")
    prior = _prior(entrants, order_prior)
    known = pool if about == "pool" else None
    needed = 1 / (1 - confidence)
    board = Board(size=len(entrants), pool=pool, known=known, margin=margin, needed=needed, until=until, prior=prior)
    places = order(pool, seed)
    stop = 0
    while stop < pool and not board.over():
        start, stop = stop, min(stop + max(batch, stop // GROWS), pool)
        rows = board.plan(start, stop)
        for row in np.flatnonzero(rows).tolist():
            board.learn(row, stop, answer(entrants[row], places[board.asked[row] : stop]))
        board.settle(rows, stop)
    board.close()
    named, ranked = board.named(), board.ranked()
    tied, left = [row for row in ranked if named[row]], [row for row in ranked if not named[row]]
    return Race(
        leader=entrants[ranked[0]],
        verdict=_verdict(tied, left),
        tied=tuple(entrants[row] for row in tied) if len(tied) > 1 else (),
        left=tuple(entrants[row] for row in left if row != ranked[0]),
        lost=tuple(Lost(model=entrants[j], to=entrants[to], items=n, e_value=e) for j, to, n, e in board.lost),
        asked={one: int(items) for one, items in zip(entrants, board.asked, strict=True)},
        items=pool,
        about=about,
        margin=margin,
        confidence=confidence,
        seed=seed,
    )


def _verdict(tied: Sequence[int], left: Sequence[int]) -> Outcome:
    if not tied:
        return "not separated"
    if left:
        return "leader"
    return "tie" if len(tied) > 1 else "winner"


def _prior(entrants: Sequence[str], prior: Mapping[str, float] | None) -> NDArray[np.float64] | None:
    known = [prior[one] for one in entrants if one in prior] if prior else []
    if not prior or not known:
        return None
    return np.array([prior.get(one, sum(known) / len(known)) for one in entrants])
