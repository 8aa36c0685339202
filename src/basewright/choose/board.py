"""The bets of a race: what each entrant's answers prove about the others, and who is worth asking on.

Why it holds. Only claims about b can be false in a way that hurts, so only its wealth counts, and there is nothing to
correct for the number of entrants. b has two kinds of it, all started from 1 together:
* one process against whoever leads. The leader is chosen before an item is seen, from items before; b is as good as
  any leader, so this wealth is a supermartingale however leaders change. It alone makes an entrant lost.
* one process against each entrant L, for "b is better than L by more than the margin", with the share of the start
  that L was given before the items it bets on. Where L is worse than that, this is a supermartingale too.
L is named once, for each other entrant j, the first wealth of j and that of j against L together reach 1 / (1 -
confidence). The sum of b's first wealth and of those against all L that are worse by more than the margin starts at
1 or less, so by Ville's inequality it gets there with probability 1 - confidence at most; if b is not lost and no
such L is named, the promise is kept. Shares never move from one L to another: where L is good its wealth may grow
without limit, and passed on to a bad one it would prove anything (chains of ties that end two margins down).

Every process is a function of the items in order; that an entrant pauses and catches up later changes when it is
looked at and not what it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from basewright.records import record
from basewright.stats import betting

Until = Literal["named", "settled"]
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]

ANY_LEADER = 0.8
"""Share of the start that bets against whoever leads; the rest bets for ties."""
BETTORS = (0.3, 0.7)
"""Of either, what each of the two bettors on future items has (`betting.growth`)."""
STARTS = (16, 32, 64, 128)
"""Items after which a part of that rest is given to those who may be the leader then."""
PRIOR_ITEMS = 20.0
"""How many items prior knowledge counts as, where it says who leads."""


@record
class Batch:
    start: int
    stop: int
    leader: int | None
    """None where nobody leads yet."""
    shares: Array
    """What each entrant is given to bet that it is within the margin of the best."""


@dataclass(kw_only=True, slots=True)
class Board:
    """What is known in a race. Of pairs, [j, L] is about L's values minus j's, on the items both answered."""

    size: int
    pool: int
    known: int | None
    """Items the claims are about: the pool's, or None for future ones."""
    margin: float
    needed: float
    until: Until
    prior: Array | None
    values: Array = field(init=False)
    sums: Array = field(init=False)
    asked: NDArray[np.int64] = field(init=False)
    alive: Flags = field(init=False)
    bettors: Array = field(init=False)
    """Share of the start that each has."""
    wealth: Array = field(init=False)
    """Of each bettor on each entrant, of bets that it is not the best."""
    against: Array = field(init=False)
    """Of each bettor on pairs, of bets that j is not better than L by more than the margin."""
    total: Array = field(init=False)
    squares: Array = field(init=False)
    shown: Flags = field(init=False)
    """Of pairs: what `against` bets on, or that j is not the best."""
    batches: list[Batch] = field(default_factory=list)
    lost: list[tuple[int, int, int, float]] = field(default_factory=list)
    """Entrant, leader, items, wealth."""

    def __post_init__(self) -> None:
        self.values = np.zeros((self.size, self.pool))
        self.sums = np.zeros(self.size)
        self.asked = np.zeros(self.size, np.int64)
        self.alive = np.ones(self.size, np.bool_)
        self.bettors = np.array(BETTORS if self.known is None else [1.0])
        self.wealth = np.multiply.outer(self.bettors, np.full(self.size, ANY_LEADER))
        self.against = np.zeros((len(self.bettors), self.size, self.size))
        self.total, self.squares = np.zeros((2, self.size, self.size))
        self.shown = np.eye(self.size, dtype=np.bool_)

    def named(self) -> Flags:
        """Who is shown to be within the margin of the best."""
        return self.alive & self.shown.all(axis=0)

    def over(self) -> bool:
        named = self.named()
        return bool(self.alive.sum() == 1 or (named.any() if self.until == "named" else named[self.alive].all()))

    def leader(self) -> int:
        """The highest sum, of those alive that answered all items so far."""
        current = self.alive & (self.asked == self.asked.max())
        expected = self.sums if self.prior is None else self.sums + PRIOR_ITEMS * self.prior
        return int(np.where(current, expected, -np.inf).argmax())

    # --- before items are seen --------------------------------------------------------------------

    def plan(self, start: int, stop: int) -> Flags:
        """Fix the bets on the items from `start` to `stop`, and say who is asked."""
        leader = self.leader() if start or self.prior is not None else None
        self.batches.append(Batch(start=start, stop=stop, leader=leader, shares=self._shares(start, leader)))
        if leader is None:
            return self.alive.copy()
        leads = np.arange(self.size) == leader
        aims = self.alive & ~self.named() if self.until == "settled" else leads
        return np.asarray(self.alive & (leads | aims | ~self.shown[:, aims].all(axis=1)))

    def _shares(self, start: int, leader: int | None) -> Array:
        """To each by how likely it is the best, going by its standard errors behind the leader."""
        starts = STARTS if self.prior is None else (0, *STARTS)
        before = self.batches[-1].start if self.batches else -1
        due = sum(before < one <= start for one in starts)
        if leader is None or not due:
            return np.zeros(self.size)
        behind = self.total[:, leader]
        if self.prior is not None:
            behind = behind + PRIOR_ITEMS * (self.prior[leader] - self.prior)
        spread = self.squares[:, leader] + betting.PRIOR_ITEMS * betting.PRIOR_SQUARE
        likely = np.where(self.alive, np.exp(-(np.maximum(behind, 0.0) ** 2) / spread), 0.0)
        return np.asarray((1 - ANY_LEADER) * due / len(starts) * likely / likely.sum())

    # --- after ------------------------------------------------------------------------------------

    def learn(self, row: int, stop: int, values: Sequence[float]) -> None:
        """One entrant's answers, up to `stop`."""
        found = np.asarray(values, np.float64)
        if found.shape != (stop - self.asked[row],) or not ((found >= 0) & (found <= 1)).all():
            raise ValueError("an answer is a value in [0, 1] for each item asked")
        self.values[row, self.asked[row] : stop] = found
        self.sums[row] += found.sum()

    def settle(self, rows: Flags, stop: int) -> None:
        """The bets on what `rows` answered up to `stop`: the last batch and, for who paused, those missed before."""
        before = self.asked.copy()
        self.asked[rows] = stop
        missed = bisect_left(self.batches, int(before[rows].min()), key=lambda batch: batch.start)
        for batch in self.batches[missed:]:
            self._settle(batch, rows & (before <= batch.start))

    def _settle(self, batch: Batch, new: Flags) -> None:
        answered = self.asked >= batch.stop
        pairs = answered[:, None] & answered & (new[:, None] | new)
        x = self.values[:, batch.start : batch.stop]
        paths = np.zeros(x.shape)
        if batch.leader is not None:
            (rows,) = np.nonzero(new & self.alive)
            grown = self._grown(self.wealth[:, rows], x, batch, rows, np.full_like(rows, batch.leader), 0.0)
            self.wealth[:, rows], paths[rows] = grown[..., -1], grown.sum(axis=0)
        self.against += np.multiply.outer(self.bettors, batch.shares * pairs)
        rows, columns = np.nonzero(pairs & ~self.shown & (self.against > 0).any(axis=0))
        grown = self._grown(self.against[:, rows, columns], x, batch, rows, columns, -self.margin)
        self.against[:, rows, columns] = grown[..., -1]
        self.shown[rows, columns] = (paths[rows] + grown.sum(axis=0) >= self.needed).any(axis=1)
        self._lose(batch, paths.max(axis=1))
        sums, squares = x.sum(axis=1), (x**2).sum(axis=1)
        self.total += (sums - sums[:, None]) * pairs
        self.squares += (squares + squares[:, None] - 2 * x @ x.T) * pairs

    def _grown(self, wealth: Array, x: Array, batch: Batch, rows: Places, leaders: Places, null: float) -> Array:
        """`wealth` after each item, of bets that `leaders` are above `rows` by more than `null`."""
        path = betting.growth(
            x[leaders] - x[rows],
            null,
            pool=self.known,
            horizon=self.pool if self.known is None else None,
            seen=batch.start,
            total=self.total[rows, leaders],
            squares=self.squares[rows, leaders],
        )
        more = np.minimum(path, betting.REFUTED / np.maximum(wealth, 1.0)[..., None]) * wealth[..., None]
        return np.asarray(np.where(path == betting.REFUTED, betting.REFUTED, more))

    def _lose(self, batch: Batch, best: Array) -> None:
        for row in np.flatnonzero((best >= self.needed) & self.alive):
            assert batch.leader is not None
            self.lost.append((int(row), batch.leader, batch.stop, float(best[row])))
            self.alive[row] = False
            self.shown[row] = True

    def close(self) -> None:
        """Who answered all of the pool is known exactly: within the margin of the best, or lost."""
        whole = self.alive & (self.asked == self.pool)
        if self.known is None or not whole.any():
            return
        leader = int(np.where(whole, self.sums, -np.inf).argmax())
        near = whole & (self.sums[leader] - self.sums <= self.margin * self.pool + betting.ROUNDING)
        for row in np.flatnonzero(near):
            # Who paused is not known exactly: it was shown of some, and so holds of those at least as good.
            below = whole & (self.sums <= self.sums[row])
            self.shown[:, row] |= whole | self.shown[:, below].any(axis=1)
        for row in np.flatnonzero(whole & ~near):
            self.lost.append((int(row), leader, self.pool, betting.REFUTED))
            self.alive[row] = False
            self.shown[row] = True

    def ranked(self) -> list[int]:
        """Who is not lost: those shown to be near the best first, and of them the best so far."""
        means, named = self.sums / np.maximum(self.asked, 1), self.named()
        return sorted(np.flatnonzero(self.alive).tolist(), key=lambda row: (not named[row], -means[row]))
