"""The ways to find out more about candidates, each of which asks only what the ones before left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from basewright.choose import duels, ladder, race, repeats
from basewright.choose.book import Book
from basewright.choose.duels import Side
from basewright.choose.ladder import Climb, Measured
from basewright.choose.race import Race
from basewright.records import Duel, Question
from basewright.stats import noise

RUNG_ITEMS = 256
"""Items that the rungs of the ladder are measured on, at most: they decide what is tuned further, not who wins."""
BATCH = 32
"""Items that are asked at a time, at least."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What is asked of whom, and what was answered."""

    question: Question
    entrants: Sequence[str]
    items: int
    book: Book
    prior: Mapping[str, float]
    """Expected scores, from history."""
    hints: Mapping[str, float]
    """Higher is better, in any unit."""

    def climb(self) -> Climb:
        places = self.order()[:RUNG_ITEMS]

        def measure(model: str, examples: int) -> Measured:
            answers = self.book.ask(model, examples, 0, places)
            return Measured(
                right=np.array([one.correct for one in answers]), bits=np.array([one.bits for one in answers])
            )

        return ladder.climb(
            self.entrants,
            self.question.rungs,
            measure,
            target=self.question.target,
            margin=self.question.margin,
            confidence=self.question.confidence,
            budget=self.question.budget,
            prior=self.prior or self.hints,
        )

    def race(self, finalists: Sequence[str]) -> Race:
        """Their first tunings on the same items; who is clearly behind is asked no more."""
        if len(finalists) == 1:
            self.book.values(finalists[0], 0, self.order()[:RUNG_ITEMS])
        return race.run(
            finalists,
            self.items,
            lambda model, places: self.book.values(model, 0, places),
            seed=self.question.seed,
            margin=self.question.margin,
            confidence=self.question.confidence,
            order_prior=self.prior,
        )

    def settle(self, finalists: Sequence[str]) -> None:
        """More items for the leader and for whom it is not yet told from, about future items, as long as there are any:
        the race ends when the pool at hand is decided, which takes fewer."""
        while True:
            found = duels.sides(self.book, finalists)
            first = leader(found)
            rest = [model for model in finalists if model != first]
            close = [model for model in rest if self._open(self.duel(found[first], found[model]))]
            known = min(len(found[model].values) for model in (first, *close))
            if not close or known == self.items:
                return
            places = self.order()[: known + max(BATCH, known // 2)]
            for model in (first, *close):
                self.book.values(model, 0, places)

    def _open(self, duel: Duel) -> bool:
        """Whether future items might turn it, these tunings given."""
        seen, margin = duel.on_items, self.question.margin
        return seen.low <= 0 and not (-margin < seen.low and seen.high < margin)

    def repeat(self, finalists: Sequence[str]) -> None:
        """Other seeds for the leader and for whom it is not yet proven better than, as far as the budget goes."""
        found = duels.sides(self.book, finalists)
        first = leader(found)
        rest = [model for model in finalists if model != first]
        unsettled = [model for model in rest if self.duel(found[first], found[model]).outcome != "better"]
        if self.question.repeats == 1 or not unsettled:
            return
        places = sorted(found[first].values)
        contenders = [first, *unsettled]
        accuracy = fmean(fmean(found[model].scores) for model in contenders)
        repeats.play(
            contenders,
            lambda model, seed: fmean(self.book.values(model, seed, places)),
            margin=self.question.margin,
            confidence=self.question.confidence,
            budget=self._tunings(len(contenders)),
            repeats=self.question.repeats,
            sd=noise.expected(len(places), accuracy),
            prior=self.prior,
        )

    def duel(self, first: Side, second: Side) -> Duel:
        """Of two entrants. The level holds over all that entered, also those that left before."""
        return self._duel(first, second, len(self.entrants))

    def against(self, first: Side, rivals: Sequence[Side]) -> list[Duel]:
        """An entrant against classical methods, a family of their own."""
        return [self._duel(first, rival, 1 + len(rivals)) for rival in rivals]

    def _duel(self, first: Side, second: Side, family: int) -> Duel:
        question = self.question
        level = alpha(question, family)
        return duels.duel(first, second, self.order(), repeats=question.repeats, alpha=level, margin=question.margin)

    def order(self) -> list[int]:
        return race.order(self.items, self.question.seed)

    def _tunings(self, contenders: int) -> int:
        """Tunings at the last rung that the contenders may have together, those they have counted."""
        most = contenders * self.question.repeats
        if self.question.budget is None:
            return most
        models = {model for model, _, _ in self.book.answers}
        left = self.question.budget - sum(self.book.spent(model).examples for model in models)
        return max(contenders, min(most, contenders + left // self.book.last))


def alpha(question: Question, family: int) -> float:
    """How often each end of a duel's bounds may fail: whichever of the family leads, by luck too, all hold together."""
    return (1 - question.confidence) / max(2, family)


def leader(found: Mapping[str, Side]) -> str:
    return max(found, key=lambda model: fmean(found[model].scores))
