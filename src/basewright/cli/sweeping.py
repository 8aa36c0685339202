"""A sweep on the terminal: what is tried, the table of trials, and how far the winner is from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.records import Adapter, Checkpoint, Made, Separated, Sweep, Trial
    from basewright.train.effort import Derived
    from basewright.train.sweep import Ran, Settings

    Run = Callable[[Derived], tuple[Made[Adapter] | Made[Checkpoint], bool]]


def tried(derived: Derived, rank: int | None, rate: float | None) -> list[Settings]:
    """Ranks and rates to try around those that were not given."""
    from basewright.train import sweep

    return sweep.settings(derived, rank_given=rank is not None, rate_given=rate is not None)


def swept(derived: Derived, settings: Sequence[Settings], run: Run, say: Callable[[str], None]) -> Sweep:
    """The sweep, said."""
    from basewright.records import Adapter
    from basewright.train import sweep

    def ran(one: Derived) -> Ran:
        made, _ = run(one)
        about = made.record if isinstance(made.record, Adapter) else made.record.tuning
        assert about is not None
        assert about.validation is not None
        return about.validation, made.folder

    show.hint(f"Sweep     {len(settings)} trials; with the winner's run about three times the time of one")
    found = sweep.sweep(derived, settings, ran)
    say(_text(found))
    return found


def winning(derived: Derived, found: Sweep) -> Derived:
    from basewright.train import sweep

    return sweep.at(derived, (found.winner.rank, found.winner.learning_rate))


def _text(found: Sweep) -> str:
    rows = [
        (str(one.rung), *_named(one), f"{one.steps:,}", f"{one.held:.4f}", "went on" if one.kept else "left out")
        for one in found.trials
    ]
    table = show.table(rows, ("rung", "rank", "learning rate", "steps", "validation loss", ""))
    return "\n".join(["", table, "", *map(_separated, found.others), ""])


def _separated(one: Separated) -> str:
    by = one.worse_by
    found = f"{by.value:+.4f} nats a token ({by.low:+.4f} to {by.high:+.4f}, {by.n} rows, all at once 95%)"
    rank, rate = _named(one)
    verdict = "worse than the winner" if one.separated else "cannot be separated from the winner"
    return f"rank {rank} at {rate}: {verdict}: {found}; another seed may order them otherwise"


def _named(one: Trial | Separated) -> tuple[str, str]:
    return "-" if one.rank is None else str(one.rank), f"{one.learning_rate:g}"
