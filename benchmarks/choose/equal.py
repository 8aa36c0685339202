"""Is the race honest among equals, and does it see a difference of five points? Simulated entrants, errors independent.

    python -m benchmarks.choose.equal      about seven minutes on one core; the same figures every time

Each set draws new items: every entrant is right on each with its own probability, 0.60, or 0.65 for one that is better.
About future items, a winner among equals is false. About the pool, equals differ by luck and a winner may be true; a
claim is false where an entrant that is named is worse than the pool's best by more than the margin, or the pool's best
is lost. Intervals of shares are Wilson's at 95 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from basewright.choose import race
from basewright.choose.race import About, Race
from basewright.records import Interval, record
from basewright.stats import betting
from basewright.stats.intervals import proportion

Array = NDArray[np.float64]
MARGIN = 0.01
CONFIDENCE = 0.95
RIGHT = 0.60
GAP = 0.05
EQUALS = (2, 3, 5, 8)
ITEMS = 500
GAP_ITEMS = 2000


@record
class Row:
    entrants: int
    items: int
    gap: float
    about: About
    false: Interval
    """Sets with a false claim."""
    found: Interval
    """Sets whose winner is the better entrant; among equals, that name any winner."""
    within: Interval
    """Sets that name the better entrant, as the winner or as within the margin of the best."""
    cost: float
    """Share of all answers that was asked."""


@record
class Cover:
    """The interval for a difference, looked at ten times: sets where it ever missed, and where it found the gap."""

    gap: float
    about: About
    missed: Interval
    found: Interval
    width: float
    """Mean, after half of the items."""


def main() -> None:
    print("\n| entrants | items | gap | about | false claim | winner | named or winner | asked |")
    print("|---|---|---|---|---|---|---|---|")
    for row in measure():
        cells = f"{row.entrants} | {row.items} | {100 * row.gap:.0f} | {row.about} | {_share(row.false)}"
        print(f"| {cells} | {_share(row.found)} | {_share(row.within)} | {100 * row.cost:.0f} % |", flush=True)
    print("\n| gap | about | ever missed | found | width at half |\n|---|---|---|---|---|")
    for one in covers():
        print(f"| {100 * one.gap:.0f} | {one.about} | {_share(one.missed)} | {_share(one.found)} | {one.width:.3f} |")


def measure(sets: int = 2000) -> list[Row]:
    """Races among equals, and with one entrant better than all others."""
    about: tuple[About, About] = ("future", "pool")
    rows = [_row(k, ITEMS, 0.0, one, sets) for k in EQUALS for one in about]
    return rows + [_row(k, GAP_ITEMS, GAP, one, sets // 2) for k in (2, 8) for one in about]


def covers(sets: int = 200) -> list[Cover]:
    """`betting.bounds` of two entrants' differences, looked at ten times in each set."""
    about: tuple[About, About] = ("future", "pool")
    return [_cover(gap, one, sets) for gap in (0.0, GAP) for one in about]


def _row(entrants: int, items: int, gap: float, about: About, sets: int) -> Row:
    false = found = within = asked = 0
    for seed in range(sets):
        values = _drawn(entrants, items, gap, seed)
        played = _played(values, about, seed)
        false += _false(played, values, gap)
        found += played.verdict == "winner" and (gap == 0 or played.leader == "0")
        within += played.verdict != "not separated" and (gap == 0 or played.leader == "0")
        asked += sum(played.asked.values())
    return Row(
        entrants=entrants,
        items=items,
        gap=gap,
        about=about,
        false=proportion(false, sets),
        found=proportion(found, sets),
        within=proportion(within, sets),
        cost=asked / (sets * entrants * items),
    )


def _played(values: Array, about: About, seed: int) -> Race:
    return race.run(
        [str(row) for row in range(len(values))],
        values.shape[1],
        lambda model, places: list(values[int(model), places]),
        seed=seed,
        margin=MARGIN,
        confidence=CONFIDENCE,
        about=about,
    )


def _drawn(entrants: int, items: int, gap: float, seed: int) -> Array:
    random = np.random.default_rng([seed, entrants])
    right = np.full(entrants, RIGHT)
    right[0] += gap
    return (random.random((entrants, items)) < right[:, None]).astype(np.float64)


def _false(played: Race, values: Array, gap: float) -> bool:
    """Whether the best is lost, or an entrant is named that is worse by more than the margin."""
    named = {*played.tied, *([] if played.verdict == "not separated" else [played.leader])}
    lost = {one.model for one in played.lost}
    if played.about == "future":
        return played.verdict == "winner" if gap == 0 else "0" in lost or bool(named - {"0"})
    sums = values.sum(axis=1)
    worse = {str(row) for row in np.flatnonzero(sums.max() - sums > MARGIN * values.shape[1] + 1e-6)}
    return lost >= {str(row) for row in np.flatnonzero(sums == sums.max())} or bool(named & worse)


def _cover(gap: float, about: About, sets: int) -> Cover:
    missed = found = 0
    widths = []
    for seed in range(sets):
        first, second = _drawn(2, GAP_ITEMS, gap, seed)
        differences = first - second
        truth = gap if about == "future" else float(differences.mean())
        pool = None if about == "future" else GAP_ITEMS
        looks = [betting.bounds(differences[:n], CONFIDENCE, pool) for n in range(200, GAP_ITEMS + 1, 200)]
        missed += any(not low - 1e-9 <= truth <= high + 1e-9 for low, high in looks)
        found += looks[-1][0] > 0
        widths.append(looks[4][1] - looks[4][0])
    return Cover(
        gap=gap,
        about=about,
        missed=proportion(missed, sets),
        found=proportion(found, sets),
        width=float(np.mean(widths)),
    )


def _share(one: Interval) -> str:
    return f"{100 * one.value:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f})"


if __name__ == "__main__":
    main()
