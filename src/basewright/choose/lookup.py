"""What an answer's record says of one candidate or one pair, and the record made fit to be shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar

from basewright.pages.phrases import clean, short
from basewright.records import Choice, Duel, Standing

T = TypeVar("T")
Role = Literal["winner", "tied", "rival", "base", "dropped"]
NAME_WIDTH = 48


def legible(choice: Choice, width: int = NAME_WIDTH) -> Choice:
    """The same with names that can be shown: clean (H106), at most `width` columns, still different from each other."""
    names: dict[str, str] = {}
    for one in choice.ranked:
        names[one.model] = _distinct(clean(one.model), set(names.values()), width)
    shown: Choice = _changed(choice, lambda text: names.get(text) or clean(text))
    return shown


def _distinct(name: str, taken: set[str], width: int) -> str:
    shown, number = short(name, width), 2
    while shown in taken:
        shown, number = f"{short(name, width - len(f'~{number}'))}~{number}", number + 1
    return shown


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """The record with every text in it changed."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(
            **{one.name: _changed(getattr(value, one.name), change) for one in dataclasses.fields(value)}
        )
    if isinstance(value, tuple):
        return tuple(_changed(item, change) for item in value)
    return change(value) if isinstance(value, str) else value


def shown(function: Callable[[Choice], T]) -> Callable[[Choice], T]:
    """The function on a legible record, whoever calls it."""

    @wraps(function)
    def on_legible(choice: Choice) -> T:
        return function(legible(choice))

    return on_legible


def standing(choice: Choice, model: str) -> Standing:
    return next(one for one in choice.ranked if one.model == model)


def leader(choice: Choice) -> str:
    """Who every other was compared with; it is not the winner where a cheaper one is tied with it."""
    return choice.duels[0].first if choice.duels else choice.winner


def role(choice: Choice, one: Standing) -> Role:
    if one.model == choice.winner:
        return "winner"
    if one.dropped:
        return "dropped"
    if one.kind == "classical":
        return "rival"
    return "tied" if one.model in choice.tied else "base"


def scored(choice: Choice) -> list[Standing]:
    """Those that got a score, the best first: what is drawn."""
    found = [one for one in choice.ranked if one.score]
    return sorted(found, key=lambda one: -one.score.value if one.score else 0.0)


def memory(one: Standing) -> int | None:
    """Bytes in use at the widest of its precisions: the score was not measured at narrower ones."""
    return max((cost.memory for cost in one.costs), default=None)


def future(duel: Duel) -> tuple[float, float]:
    """The bounds on future tunings and items, within what a difference of accuracies can be."""
    return max(-1.0, duel.low), min(1.0, duel.high)


def proven(duel: Duel, model: str) -> bool:
    """Whether `model` is ahead in this duel, also for future tunings and items."""
    return duel.low > 0 if duel.first == model else duel.high < 0


def on_items(duel: Duel) -> tuple[float, float]:
    return max(-1.0, duel.on_items.low), min(1.0, duel.on_items.high)


def pool(duel: Duel) -> tuple[float, float]:
    return max(-1.0, duel.pool.low), min(1.0, duel.pool.high)


def tuned(choice: Choice) -> bool:
    return choice.question.decides != "few-shot"


def against_models(choice: Choice) -> list[Duel]:
    """Duels between base models, the closest first."""
    found = [
        duel
        for duel in choice.duels
        if standing(choice, duel.first).kind == standing(choice, duel.second).kind == "base model"
    ]
    return sorted(found, key=lambda duel: duel.low)


def pair(choice: Choice, one: str, other: str) -> Duel | None:
    return next((duel for duel in choice.duels if {duel.first, duel.second} == {one, other}), None)


def unbeaten(choice: Choice) -> list[str]:
    """Those that left when the budget ended: nothing speaks against them."""
    return [one.model for one in choice.ranked if one.dropped and one.dropped.at == "budget"]


def strongest(choice: Choice) -> Standing:
    """The best of the classical rivals that score higher than the winner."""
    rivals = [standing(choice, name) for name in choice.beaten_by]
    return max(rivals, key=lambda one: one.score.value if one.score else 0.0)


def rival_proven(choice: Choice) -> bool:
    """Whether the strongest rival is shown to be ahead of the base models' leader."""
    rival = strongest(choice).model
    duel = pair(choice, rival, choice.winner) or pair(choice, rival, leader(choice))
    return duel is not None and proven(duel, rival)
