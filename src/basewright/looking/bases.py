"""The base models that are here and can take the rows: how long each reads them, and whether its tuning fits."""

from __future__ import annotations

from collections.abc import Sequence

from basewright.catalog import cards
from basewright.catalog.architectures import targets
from basewright.hub import pull
from basewright.looking.seen import Row, Spread, spread
from basewright.plan import fit
from basewright.recipe import TuneSection
from basewright.records import Ask, Layout, Machine, ModelCard, record
from basewright.text import encode, layout
from basewright.text.tokenizer import Tokenizer, open_tokenizer

LEAST_AT_ONCE = 512
"""Tokens of a batch: small ones let a small model take more steps over the same examples (`docs/log.md`)."""


@record
class Base:
    model: str
    context: int
    tokens: Spread
    """Of a row as it is trained on: prompt, label and end."""
    need: int
    """Bytes its tuning takes, by the plan."""
    why_not: str = ""
    """Why it cannot take part; empty where it can."""


def here() -> dict[str, ModelCard]:
    """The decoders in the package, by name."""
    packaged = (one for one in cards.facts() if one.location.startswith("package:") and one.kind == "decoder")
    return {one.id: cards.card(one) for one in packaged}


def tokenizer_of(card: ModelCard) -> Tokenizer:
    return open_tokenizer(pull.locate(card))


def lengths(tokenizer: Tokenizer, rows: Sequence[Row], form: Layout) -> list[int]:
    """Tokens of each row as it is trained on."""
    targets = {label: len(tokenizer.ids(layout.target(label))) + 1 for label in {row.label for row in rows}}
    return [len(encode.prompt(tokenizer, layout.prompt(form, row.text))) + targets[row.label] for row in rows]


def weigh(card: ModelCard, tokens: Sequence[int], at_once: int, space: Machine) -> Base:
    """Whether the tuning of `card` on rows of so many `tokens` fits its context and the free memory."""
    ask = Ask(
        job="lora",
        context=card.context,
        micro_tokens=at_once,
        rank=TuneSection().rank,
        targets=targets(card.config),
    )
    plan = fit.of_recipe(card, space, ask, None)
    too_long = max(tokens) > card.context
    return Base(
        model=card.id,
        context=card.context,
        tokens=spread(tokens),
        need=plan.memory.total,
        why_not=f"its context of {card.context} is too short" if too_long else "" if plan.fits else plan.reasons[-1],
    )


def at_once(longest: int) -> int:
    """Tokens of a micro-batch: a power of two that the longest row fits."""
    size = LEAST_AT_ONCE
    while size < longest:
        size *= 2
    return size
