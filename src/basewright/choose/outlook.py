"""What would change an answer, worked out from its numbers: items, seeds, budget, margin, more training examples."""

from __future__ import annotations

import math

from basewright.choose import lookup
from basewright.choose.lookup import future, leader, shown, standing
from basewright.pages.phrases import bits, count, joined, plural, points
from basewright.records import Choice, Duel, Standing

PRACTICAL = 1_000_000
"""More items than this nobody labels."""


@shown
def would_change(choice: Choice) -> list[str]:
    """The nearest first, a sentence each; one that says so where nothing measured points to another answer."""
    said = [
        *_evidence(choice),
        *_seeds(choice),
        *_budget(choice),
        *_curves(choice),
        *_margin(choice),
        *_unmeasured(choice),
    ]
    return said or ["Nothing measured here points to another answer."]


def _open(choice: Choice) -> list[Duel]:
    return [duel for duel in choice.duels if duel.outcome == "not separated"]


def _evidence(choice: Choice) -> list[str]:
    """How much more would separate the pairs that are open. An interval narrows with the square root of what it rests
    on; the two errors are added, which asks for a little more than is needed."""
    return [_more(choice, duel) for duel in _open(choice)[:3]]


def _more(choice: Choice, duel: Duel) -> str:
    gap = abs(duel.difference)
    need = max(gap, choice.question.margin - gap)
    names = f"{duel.first} and {duel.second}"
    apart = f"Telling {names} apart, {points(gap)} from each other,"
    end = apart if gap >= need else f"Showing that {names} are within {points(choice.question.margin)}"
    half = (duel.on_items.high - duel.on_items.low) / 2
    sides = [standing(choice, name) for name in (duel.first, duel.second)]
    seeds = min((len(one.seeds) for one in sides if one.kind == "base model"), default=0)
    rerun = lookup.tuned(choice) and duel.seed_error > need / 2 and seeds > 0
    room = need / 2 if rerun else need - duel.seed_error
    items = rounded_up(duel.items * (half / room) ** 2) if room > 0 else PRACTICAL
    tunings = max(seeds + 1, rounded_up(seeds * (duel.seed_error / (need / 2)) ** 2)) if rerun else 0
    if max(items, tunings) >= PRACTICAL:
        return f"{end} is out of reach: no practical number of items would do."
    asked = [f"about {plural(items, 'item')} (now {count(duel.items)})"] if items > duel.items else []
    asked += [f"about {plural(tunings, 'tuning')} of each (now {count(seeds)})"] if rerun else []
    return f"{end} would take {' and '.join(asked or ['a few more items'])}."


def rounded_up(value: float) -> int:
    """To two digits: more would pretend to know."""
    if value >= PRACTICAL:
        return PRACTICAL
    step: int = 10 ** max(0, math.floor(math.log10(max(value, 1.0))) - 1)
    return math.ceil(value / step) * step


def _seeds(choice: Choice) -> list[str]:
    """Luck of the seed, where a lead that was named is not far above it."""
    duels = lookup.against_models(choice)
    if not lookup.tuned(choice) or not duels or future(duels[0])[0] > choice.seed_sd:
        return []
    sd, gap = points(choice.seed_sd), points(duels[0].difference)
    said = (
        f"Another seed: tuned again, a score moves by about {sd} (one standard deviation); {leader(choice)} and "
        f"{duels[0].second} scored {gap} apart."
    )
    return [said]


def _budget(choice: Choice) -> list[str]:
    names = lookup.unbeaten(choice)
    budget = f" of {plural(choice.question.budget, 'example')}" if choice.question.budget is not None else ""
    return (
        [f"A larger budget: {joined(names)} left when the one{budget} ended, not because of a score."] if names else []
    )


def _curves(choice: Choice) -> list[str]:
    """Learning curves that are forecast to cross that of the winner."""
    best = standing(choice, choice.winner)
    crossing = [one for one in choice.ranked if one.model != best.model and _crosses(one, best)]
    return [_crossing(one, best) for one in crossing[:2]]


def _crosses(one: Standing, best: Standing) -> bool:
    """Better in the forecast, and not yet at the most examples that both were tuned on."""
    if one.forecast is None or best.forecast is None or one.forecast.examples != best.forecast.examples:
        return False
    seen = {rung.examples: rung.bits.value for rung in best.rungs}
    both = [(rung.bits.value, seen[rung.examples]) for rung in one.rungs if rung.examples in seen]
    return bool(both) and both[-1][0] >= both[-1][1] and one.forecast.bits.value < best.forecast.bits.value


def _crossing(one: Standing, best: Standing) -> str:
    assert one.forecast is not None
    assert best.forecast is not None
    sure = "" if one.forecast.bits.high < best.forecast.bits.low else ", though the forecasts overlap"
    return (
        f"More training: by {plural(one.forecast.examples, 'example')} {one.model} is forecast to pass {best.model} "
        f"({bits(one.forecast.bits.value)} against {bits(best.forecast.bits.value)} bits of surprise{sure})."
    )


def _margin(choice: Choice) -> list[str]:
    """The margin at which the closest pair would come out otherwise."""
    duels = lookup.against_models(choice)
    if not duels:
        return []
    duel, margin = duels[0], choice.question.margin
    reach = max(map(abs, future(duel)))
    if duel.outcome == "tie within the margin":
        return [f"A smaller margin: below {points(reach)} {duel.first} and {duel.second} are not shown to be the same."]
    if reach <= margin or reach > 5 * margin:
        return []
    return [f"A larger margin: if {points(reach)} did not matter, {duel.first} and {duel.second} would be tied."]


def _unmeasured(choice: Choice) -> list[str]:
    names = [one.model for one in choice.ranked if one.dropped and one.dropped.at in ("plan", "certificate")]
    return [f"Never tuned: {joined(names)}; the reasons are under who left."] if names else []
