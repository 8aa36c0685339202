"""The whole chooser on candidates that are told: how often equals get a winner, and a gap of 5 points is found.

    python -m benchmarks.choose.whole      about five minutes on one core; the same figures every time

Two candidates, up to three tunings each with independent errors, accuracies about 0.6; `tests.choose.told` draws them.
"""

from __future__ import annotations

from tests.choose.told import Told, candidate, question

from basewright.choose import best
from basewright.records import Choice, record


@record
class Row:
    decides: str
    gap: float
    items: int
    seed_sd: float
    sets: int
    winners: int
    """Sets with a winner; where there is a gap, the right one."""


CASES = (
    ("tuned", 0.0, 1000, 0.012, 200),
    ("tuned", 0.0, 1000, 0.024, 200),
    ("tuned", 0.05, 2000, 0.0, 100),
    ("tuned", 0.05, 2000, 0.012, 100),
    ("few-shot", 0.05, 2000, 0.0, 200),
)


def chosen(decides: str, gap: float, items: int, seed_sd: float, draw: int) -> Choice:
    panel = Told({"m0": 0.6, "m1": 0.6 + gap}, gain=0.03 if decides == "tuned" else 0.0, seed_sd=seed_sd, draw=draw)
    tuned = decides == "tuned"
    asked = question(decides=decides, rungs=(400,) if tuned else (), repeats=3 if tuned else 1)
    return best.decide(asked, items, [candidate(model) for model in panel.accuracy], (), panel)


def row(decides: str, gap: float, items: int, seed_sd: float, sets: int) -> Row:
    found = [chosen(decides, gap, items, seed_sd, draw) for draw in range(sets)]
    winners = sum(one.verdict == "winner" and (not gap or one.winner == "m1") for one in found)
    return Row(decides=decides, gap=gap, items=items, seed_sd=seed_sd, sets=sets, winners=winners)


def main() -> None:
    print("| decides | gap | items | seed sd | winner |\n|---|---|---|---|---|")
    for case in CASES:
        one = row(*case)
        print(
            f"| {one.decides} | {100 * one.gap:.0f} | {one.items:,} | {100 * one.seed_sd:.1f} | "
            f"{one.winners} of {one.sets} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
