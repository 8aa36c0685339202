"""Which models of the catalog are asked for, and in which order: filters and sorting over facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from basewright.catalog import cards
from basewright.errors import UsageError, nearest
from basewright.records import ModelCard, ModelFacts, record

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@record
class Entry:
    """A model of the catalog: what is known, and its card where its config is known too."""

    facts: ModelFacts
    card: ModelCard | None

    @property
    def parameters(self) -> int | None:
        """Counted from the config; without one, as published."""
        return self.card.parameters if self.card else printed(self.facts.published)

    @property
    def context(self) -> int | None:
        return self.facts.context or (self.card.context if self.card else None)


@record
class Filter:
    """What a model must be; None and empty ask nothing. What is unknown of a model never matches."""

    kinds: tuple[str, ...] = ()
    natures: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    least: int | None = None
    """Parameters."""
    most: int | None = None
    context: int | None = None
    """Tokens, at least."""
    open_only: bool = False
    """Leave out what its makers ask a name or a promise for."""


COLUMNS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda one: one.facts.id,
    "family": lambda one: one.facts.family,
    "kind": lambda one: one.facts.kind,
    "size": lambda one: one.parameters,
    "licence": lambda one: one.facts.licence,
    "context": lambda one: one.context,
    "tokens": lambda one: one.facts.tokens_seen,
    "released": lambda one: one.facts.released,
}


def entries() -> list[Entry]:
    """Every model of the catalog, in order of name."""
    return [_entry(one) for one in cards.facts()]


def find(name: str) -> Entry:
    """A model by its id or repository. Raises `UsageError` for one that the catalog does not have."""
    if one := cards.named(name):
        return _entry(one)
    fix = f"basewright catalog {name} --online reads its own config" if "/" in name else "basewright catalog lists them"
    known = [one.id for one in cards.facts()]
    raise UsageError(f"no model of the catalog is called {name!r}; {nearest(name, known)}", fix=fix)


def _entry(one: ModelFacts) -> Entry:
    return Entry(facts=one, card=cards.card(one) if cards.counted(one) else None)


def select(entries: Sequence[Entry], asked: Filter) -> list[Entry]:
    """Those that are all of it. Raises `UsageError` for a word that no model of the catalog has."""
    words: tuple[tuple[tuple[str, ...], Callable[[Entry], tuple[str, ...]]], ...] = (
        (asked.kinds, lambda one: (one.facts.kind,)),
        (asked.natures, lambda one: (one.facts.nature,)),
        (asked.families, lambda one: (one.facts.family,)),
        (asked.licences, lambda one: (one.facts.licence,)),
        (asked.languages, lambda one: one.facts.languages),
        (asked.modalities, lambda one: one.facts.modality),
    )
    found = list(entries)
    for wanted, of in words:
        known = {word.lower() for one in entries for word in of(one)}
        for word in wanted:
            if word.lower() not in known:
                raise UsageError(
                    f"no model of the catalog is {word!r}; {nearest(word.lower(), known)}",
                    fix="basewright catalog lists them",
                )
        if wanted:
            asked_for = {word.lower() for word in wanted}
            found = [one for one in found if asked_for & {word.lower() for word in of(one)}]
    return [one for one in found if _within(one, asked)]


def ordered(entries: Sequence[Entry], column: str, *, descending: bool = False) -> list[Entry]:
    """By a column, what is unknown last. Raises `UsageError` for a column that is none."""
    if column not in COLUMNS:
        raise UsageError(f"there is no column {column!r}; {nearest(column, COLUMNS)}", fix="basewright catalog --help")
    of = COLUMNS[column]
    known = sorted((one for one in entries if of(one) is not None), key=lambda one: (of(one), one.facts.id))
    return [*(reversed(known) if descending else known), *(one for one in entries if of(one) is None)]


def number(text: str) -> int:
    """A count of parameters or tokens as people write it: `7B`, `350M`, `131072`. Raises `UsageError`."""
    found = printed(text)
    if found is None:
        raise UsageError(f"{text!r} is no number", fix="write it like 8B, 350M or 131072")
    return found


def printed(text: str | None) -> int | None:
    """The number in a size as it was printed; None where there is none."""
    match = re.fullmatch(r"(\d[\d,_]*(?:\.\d+)?) ?([KMBT]?)", (text or "").strip().upper())
    return round(float(re.sub("[,_]", "", match[1])) * UNITS[match[2]]) if match else None


def _within(one: Entry, asked: Filter) -> bool:
    size, context = one.parameters, one.context
    return (
        (asked.least is None or (size is not None and size >= asked.least))
        and (asked.most is None or (size is not None and size <= asked.most))
        and (asked.context is None or (context is not None and context >= asked.context))
        and not (asked.open_only and one.facts.gated is not False)
    )
