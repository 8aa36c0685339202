"""The tables of an answer, pure functions of the record: cells are text, ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping

from basewright.choose import lookup, words
from basewright.choose.lookup import leader, legible, shown
from basewright.pages.phrases import bits, count, figure, part, percent, plural, signed, size, span
from basewright.pages.sheet import Table
from basewright.records import Choice, Duel, Standing

LEFT_AT = {
    "plan": "planning",
    "certificate": "check of the data",
    "curve": "learning curve",
    "items": "race on items",
    "budget": "end of the budget",
}


@shown
def standings(choice: Choice) -> Table:
    """Everyone with everything measured, the best first; differences and intervals in percent."""
    head = ("Candidate", "Standing", "Accuracy", "Interval", "Tunings", "Few-shot", "Parameters")
    return Table(head=head, rows=tuple(_standing(choice, one) for one in choice.ranked))


def _standing(choice: Choice, one: Standing) -> tuple[str, ...]:
    return (
        one.model,
        words.label(choice, one),
        percent(one.score.value) if one.score else "",
        f"{percent(one.score.low)} to {percent(one.score.high)}" if one.score else "",
        count(len(one.seeds)) if one.seeds else "",
        percent(one.few_shot.value) if one.few_shot else "",
        count(one.parameters) if one.parameters else "",
    )


@shown
def duels(choice: Choice) -> Table:
    """The leader against each other: points ahead, for each of the three claims."""
    head = (f"{leader(choice)} against", "Measured", "These items", "Future items", "Future tunings", "Outcome")
    return Table(head=head, rows=tuple(_duel(choice, duel) for duel in choice.duels))


def _duel(choice: Choice, duel: Duel) -> tuple[str, ...]:
    return (
        duel.second,
        signed(duel.difference),
        span(*lookup.pool(duel)),
        span(*lookup.on_items(duel)),
        span(*lookup.future(duel)) if lookup.tuned(choice) else "",
        duel.outcome,
    )


@shown
def eliminated(choice: Choice) -> Table:
    """Who left, when, by whom and why."""
    rows = tuple(
        (one.model, LEFT_AT[out.at], out.when, out.by, out.reason)
        for one in choice.ranked
        if (out := one.dropped) is not None
    )
    return Table(head=("Candidate", "Left at", "After", "Beaten by", "Why"), rows=rows)


@shown
def curves(choice: Choice) -> Table:
    """Bits of surprise at each rung, and the forecast with its interval."""
    rungs = sorted({rung.examples for one in choice.ranked for rung in one.rungs})
    rows = []
    for one in (one for one in choice.ranked if one.rungs):
        seen = {rung.examples: bits(rung.bits.value) for rung in one.rungs}
        ahead = one.forecast.bits if one.forecast else None
        forecast = f"{bits(ahead.value)} ({bits(ahead.low)} to {bits(ahead.high)})" if ahead else ""
        rows.append((one.model, *(seen.get(examples, "") for examples in rungs), forecast))
    head = ("Candidate", *map(count, rungs), f"Forecast at {count(choice.question.target)}")
    return Table(head=head, rows=tuple(rows))


def costs(choice: Choice, measured: Mapping[str, float], price_per_hour: float | None) -> Table:
    """What each candidate that was scored needs when used, a row for each quantization.

    `measured` is answers a second by model. Speed and price stand on the first row of a model: they were measured
    once, as it was scored.
    """
    named = [(named.model, one) for named, one in zip(legible(choice).ranked, choice.ranked, strict=True) if one.score]
    rows = []
    for name, one in named:
        speed = measured.get(one.model)
        for place, cost in enumerate(sorted(one.costs, key=lambda cost: -cost.memory)):
            work = f"{figure(cost.flops / 1e9)} GFLOP" if cost.flops else ""
            rate, price = (figure(speed), _price(speed, price_per_hour)) if speed and not place else ("", "")
            first = (name, "yes" if one.frontier else "") if not place else ("", "")
            rows.append((*first, cost.quantization, size(cost.memory), size(cost.disk), work, rate, price))
    head = ("Candidate", "Frontier", "Precision", "Memory", "Disk", "Work per answer", "Answers/s", "Per 1,000 answers")
    used = [place for place in range(len(head)) if place < 5 or any(row[place] for row in rows)]
    return Table(
        head=tuple(head[place] for place in used), rows=tuple(tuple(row[place] for place in used) for row in rows)
    )


def _price(speed: float, price_per_hour: float | None) -> str:
    """In the currency of the price: an hour gives 3,600 times the answers a second."""
    return figure(1000 * price_per_hour / (3600 * speed)) if price_per_hour is not None else ""


@shown
def spent(choice: Choice) -> Table:
    """What was paid, against measuring everything."""
    paid, full = choice.spent, choice.exhaustive
    pairs = (
        ("Training examples seen", paid.examples, full.examples),
        ("Items answered", paid.evaluations, full.evaluations),
        ("Tunings", paid.tunings, full.tunings),
    )
    rows = tuple((what, count(a), count(b), part(a / b) if b else "") for what, a, b in pairs if a or b)
    return Table(head=("What", "Spent", "Everything measured", "Share"), rows=rows)


@shown
def bill(choice: Choice) -> str:
    """What was paid in one sentence."""
    paid, full = choice.spent, choice.exhaustive
    pairs = ((paid.examples, full.examples, "training example"), (paid.evaluations, full.evaluations, "answer"))
    parts = [f"{plural(a, noun)} ({part(a / b)})" for a, b, noun in pairs if a and b]
    return f"Spent {' and '.join(parts)} of what measuring everything takes." if parts else "Nothing was spent."
