"""Every answer of every candidate once, and what was paid for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from basewright.records import ItemScore, Question, Spent

FORMS = {"few-shot": (False,), "tuned": (True,), "both": (False, True)}
"""Whether a candidate answers after its last pilot, for each thing that decides; the score is the mean of them."""


class Panel(Protocol):
    """The candidates, asked. `places` are items by number; `examples` 0 asks the model few-shot, as it is, and then
    `seed` is 0; else it answers after a pilot tuning of so many training examples."""

    def answer(self, model: str, examples: int, seed: int, places: Sequence[int]) -> Sequence[ItemScore]: ...


@dataclass(slots=True)
class Book:
    panel: Panel
    question: Question
    answers: dict[tuple[str, int, int], dict[int, ItemScore]] = field(default_factory=dict)

    def ask(self, model: str, examples: int, seed: int, places: Sequence[int]) -> list[ItemScore]:
        """In order of `places`; only what was never answered is asked."""
        known = self.answers.setdefault((model, examples, seed), {})
        missing = [place for place in places if place not in known]
        if missing:
            known.update(zip(missing, self.panel.answer(model, examples, seed, missing), strict=True))
        return [known[place] for place in places]

    def values(self, model: str, seed: int, places: Sequence[int]) -> list[float]:
        """What decides, for each place: 1 where the model is right, 0 where not, the mean where both forms count."""
        asked = [
            self.ask(model, self.last if tuned else 0, seed if tuned else 0, places)
            for tuned in FORMS[self.question.decides]
        ]
        return [sum(one.correct for one in forms) / len(forms) for forms in zip(*asked, strict=True)]

    @property
    def last(self) -> int:
        """Training examples of the last rung."""
        return self.question.rungs[-1] if self.question.rungs else 0

    def places(self, model: str, seed: int) -> set[int]:
        """The items that `values` is known of."""
        return set.intersection(
            *(
                set(self.answers.get((model, self.last if tuned else 0, seed if tuned else 0), ()))
                for tuned in FORMS[self.question.decides]
            )
        )

    def seeds(self, model: str) -> list[int]:
        """The seeds that a candidate was tuned with to the last rung; few-shot there is only one."""
        if self.question.decides == "few-shot":
            return [0]
        return sorted(seed for name, examples, seed in self.answers if name == model and examples == self.last)

    def spent(self, model: str) -> Spent:
        """What one candidate took so far."""
        forms = {key: known for key, known in self.answers.items() if key[0] == model}
        return Spent(
            examples=sum(examples for _, examples, _ in forms),
            evaluations=sum(map(len, forms.values())),
            tunings=sum(examples > 0 for _, examples, _ in forms),
        )


def total(parts: Sequence[Spent]) -> Spent:
    return Spent(
        examples=sum(one.examples for one in parts),
        evaluations=sum(one.evaluations for one in parts),
        tunings=sum(one.tunings for one in parts),
    )


def exhaustive(question: Question, candidates: int, items: int, rung_items: int) -> Spent:
    """Every candidate on every rung, tuned with every seed, on every item that is asked there."""
    tuned, shot = True in FORMS[question.decides], False in FORMS[question.decides]
    lower = question.rungs[:-1] if tuned else ()
    last = question.repeats if tuned else 0
    return Spent(
        examples=candidates * (sum(lower) + (question.rungs[-1] * last if tuned else 0)),
        evaluations=candidates * (len(lower) * min(rung_items, items) + (last + shot) * items),
        tunings=candidates * (len(lower) + last),
    )
