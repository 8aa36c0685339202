"""Candidates to one winner, or an honest tie: pilots on a ladder, a race on items, other seeds for the finalists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from basewright.choose import book as books
from basewright.choose import contest, duels
from basewright.choose.book import Book, Panel
from basewright.choose.contest import RUNG_ITEMS, Contest
from basewright.choose.duels import Side
from basewright.choose.ladder import Ascent, Climb
from basewright.choose.race import Race
from basewright.choose.rivals import Rival
from basewright.errors import CannotSeparate, DoesNotFit
from basewright.records import Choice, Cost, Dropped, Duel, Interval, Question, Rung, Standing, record
from basewright.stats import intervals

RULE = (
    "Pilots of growing size; a candidate leaves early only where it is behind on the items by more than the margin and "
    "its learning curve does not lead back. The others are compared on the same items by betting (valid however often "
    "one looks), and on tunings with other seeds. A winner is better than every other by both together, at the stated "
    "confidence over all candidates; else those that cannot be told apart are tied."
)

LUCK = 0.5
"""About one standard error: bounds reach about two."""


@record
class Candidate:
    """What is known of a base model before it is asked anything."""

    model: str
    parameters: int
    costs: tuple[Cost, ...]
    dropped: Dropped | None = None
    """Set where it cannot take part."""


def decide(
    question: Question,
    items: int,
    candidates: Sequence[Candidate],
    rivals: Sequence[Rival],
    panel: Panel,
    prior: Mapping[str, float] | None = None,
    hints: Mapping[str, float] | None = None,
) -> Choice:
    """Measure what separates the candidates and answer the question, on a pool of `items`.

    `rivals` have answered all of it. `prior` (expected scores, from history) and `hints` (higher is better, in any
    unit) order the work; no stated confidence rests on them. Raises `DoesNotFit` where no candidate can take part.
    """
    entrants = [one.model for one in candidates if one.dropped is None]
    if not entrants:
        reasons = "; ".join(f"{one.model}: {one.dropped.reason}" for one in candidates if one.dropped)
        raise DoesNotFit("no candidate can take part", fix=reasons)
    field = Contest(question, entrants, items, Book(panel, question), prior or {}, hints or {})
    climb = field.climb() if question.rungs else None
    finalists = list(climb.survivors) if climb else entrants
    raced = field.race(finalists)
    field.settle(finalists)
    field.repeat(finalists)
    return Answer(field, climb, raced, finalists).choice(candidates, rivals)


def require_winner(choice: Choice, on_tie: str) -> str:
    """The model to go on with. Raises `CannotSeparate` where nothing is decided, unless the cheapest will do."""
    open_duels = [one for one in choice.duels if one.second in choice.tied and one.outcome == "not separated"]
    if on_tie == "stop" and open_duels:
        closest = max(open_duels, key=lambda one: one.low)
        raise CannotSeparate(
            f"cannot separate {', '.join(choice.tied)} on {closest.items} items: {closest.first} minus "
            f"{closest.second} is {100 * closest.low:+.1f} to {100 * closest.high:+.1f} points",
            fix='add labelled rows, raise [choose].repeats, or set on_tie = "cheapest" under [choose] in the recipe',
        )
    return choice.winner


# --- answering ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The record of what was measured, in the words of `records.Choice`."""

    field: Contest
    climb: Climb | None
    raced: Race
    finalists: Sequence[str]

    def choice(self, candidates: Sequence[Candidate], rivals: Sequence[Rival]) -> Choice:
        question, book = self.field.question, self.field.book
        found = duels.sides(book, self.finalists)
        leader = contest.leader(found)
        rest = [model for model in self.finalists if model != leader]
        against = [self.field.duel(found[leader], found[model]) for model in rest]
        by_others = {one.second: one for one in against}
        tied = [leader, *(one.second for one in against if one.outcome != "better")]
        winner = self._pick(tied, by_others, {one.model: one.parameters for one in candidates})
        sides = [duels.classical(one.name, one.items) for one in rivals]
        against += self.field.against(found[leader], sides)
        standings = [self._standing(one, found, by_others) for one in candidates]
        standings += [self._classical(one) for one in rivals]
        spent = [one.spent for one in standings]
        return Choice(
            question=question,
            items=self.field.items,
            ranked=_ranked(standings),
            duels=tuple(against),
            verdict="winner" if len(tied) == 1 else "tie",
            winner=winner,
            tied=tuple(tied) if len(tied) > 1 else (),
            beaten_by=tuple(s.model for s in sides if s.scores[0] > fmean(found[winner].scores)),
            seed_sd=found[leader].noise.sd if question.rungs else 0.0,
            spent=books.total(spent),
            exhaustive=books.exhaustive(question, len(candidates), self.field.items, RUNG_ITEMS),
            rule=RULE,
        )

    def _pick(self, tied: Sequence[str], by_others: Mapping[str, Duel], parameters: Mapping[str, int]) -> str:
        """The winner; of a tie, the cheapest within the margin of the leader by what was seen. Where the pilots say
        next to nothing (a lead below `LUCK` of its error) what frozen features promise is the better guide."""
        leader, hints = tied[0], self.field.hints
        lucky = [m for m in tied[1:] if by_others[m].difference < LUCK * (by_others[m].difference - by_others[m].low)]
        unproven = [m for m in lucky if by_others[m].outcome == "not separated"]
        if unproven and leader in hints:
            return max((leader, *unproven), key=lambda model: hints.get(model, -math.inf))
        close = [m for m in tied if m == leader or by_others[m].difference <= self.field.question.margin]
        return min(close, key=lambda model: (parameters[model], close.index(model)))

    def _standing(self, one: Candidate, found: Mapping[str, Side], by_others: Mapping[str, Duel]) -> Standing:
        question, book = self.field.question, self.field.book
        side, ascent = found.get(one.model), self._ascent(one.model)
        few_shot = list(book.answers.get((one.model, 0, 0), {}).values())
        return Standing(
            model=one.model,
            kind="base model",
            parameters=one.parameters,
            few_shot=_accuracy([one.correct for one in few_shot], question) if few_shot else None,
            rungs=self._rungs(one.model),
            score=_accuracy(list(side.values.values()), question) if side else None,
            seeds=side.scores if side and question.rungs else (),
            forecast=ascent.forecast if ascent else None,
            hint=self.field.hints.get(one.model),
            costs=one.costs,
            frontier=False,
            dropped=one.dropped or self._dropped(one.model, by_others.get(one.model)),
            spent=book.spent(one.model),
        )

    def _ascent(self, model: str) -> Ascent | None:
        return self.climb.ascents.get(model) if self.climb else None

    def _rungs(self, model: str) -> tuple[Rung, ...]:
        ascent, question = self._ascent(model), self.field.question
        return tuple(
            Rung(
                examples=examples,
                accuracy=_accuracy(one.right.tolist(), question),
                bits=intervals.mean(one.bits.tolist(), question.confidence),
            )
            for examples, one in (ascent.measured.items() if ascent else ())
        )

    def _dropped(self, model: str, duel: Duel | None) -> Dropped | None:
        """On the ladder, or in the race if what followed agrees."""
        ascent = self._ascent(model)
        if ascent and ascent.dropped:
            return ascent.dropped
        lost = next((one for one in self.raced.lost if one.model == model), None)
        if lost is None or duel is None or duel.outcome != "better":
            return None
        return Dropped(
            at="items",
            when=f"after {lost.items} of {self.field.items} items",
            by=lost.to,
            reason=f"{100 * duel.difference:.1f} points behind {lost.to} on the same items",
        )

    def _classical(self, one: Rival) -> Standing:
        cost = Cost(quantization="as it is", memory=one.size, disk=one.size, flops=0.0)
        return Standing(
            model=one.name,
            kind="classical",
            parameters=0,
            few_shot=None,
            rungs=(),
            score=_accuracy([item.correct for item in one.items], self.field.question),
            seeds=(),
            forecast=None,
            hint=None,
            costs=(cost,),
            frontier=False,
            dropped=None,
            spent=books.total(()),
        )


def _accuracy(values: Sequence[float], question: Question) -> Interval:
    return intervals.interval([float(value) for value in values], None, question.confidence, binary=False)


def _ranked(standings: Sequence[Standing]) -> tuple[Standing, ...]:
    """The best score first, those that left before they had one last, and who is on the frontier marked."""
    marked = [replace(one, frontier=_on_frontier(one, standings)) for one in standings]
    return tuple(sorted(marked, key=lambda one: (one.score is None, -one.score.value if one.score else 0.0, one.model)))


def _on_frontier(one: Standing, standings: Sequence[Standing]) -> bool:
    """Whether nothing scores as high with less memory, or higher with as much."""
    if one.score is None or not one.costs:
        return False
    memory, score = one.costs[0].memory, one.score.value
    points = [(other.costs[0].memory, other.score.value) for other in standings if other.score and other.costs]
    return not any(m <= memory and s >= score and (m, s) != (memory, score) for m, s in points)
