"""How a score was made, gathered in one way for every kind of task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import takewhile

from basewright.engine.lm import LM
from basewright.records import How
from basewright.text import encode


def made(
    lm: LM,
    prompts: Sequence[str],
    *,
    shots: int,
    sampler: str,
    normalisation: str,
    weights: str,
    stops: tuple[str, ...] = (),
    cut: int = 0,
) -> How:
    """`prompts` are whole, in order of the items; there is at least one."""
    ids = [encode.prompt(lm.tokenizer, text) for text in prompts]
    return How(
        engine=lm.engine,
        precision=lm.precision,
        weights=weights,
        shots=shots,
        sampler=sampler if shots else "none",
        normalisation=normalisation,
        stops=stops,
        prompt_hash=hash_ids(ids),
        prompt=prompts[0],
        prompt_ids=tuple(ids[0]),
        bos=sum(1 for _ in takewhile(lambda number: number == lm.tokenizer.bos_id, ids[0])),
        cut=cut,
    )


def hash_ids(prompts: Sequence[Sequence[int]]) -> str:
    """16 hex digits over the token ids of all prompts."""
    text = "\n".join(" ".join(map(str, ids)) for ids in prompts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
