"""A literal table of the kinds of tasks."""

from __future__ import annotations

from typing import Any

from basewright.evaluate.kinds import choice, classify, generate, perplexity, rating, span
from basewright.evaluate.question import Kind

KINDS: dict[str, Kind[Any]] = {
    "choice": choice.KIND,
    "classify": classify.KIND,
    "generate": generate.KIND,
    "span": span.KIND,
    "rating": rating.KIND,
    "perplexity": perplexity.KIND,
}
