"""Greedy answers to many prompts at once: prompts of like length in a batch, what they begin with computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from basewright import signals
from basewright.engine import stream
from basewright.engine.lm import Piece, Sampling, Token, whole
from basewright.text.tokenizer import Tokenizer

ROWS = 16
SHORTEST = 16
"""Ids of the shortest prefix worth computing by itself."""


@dataclass(slots=True)
class _Row:
    place: int
    prompt: list[int]
    sampling: Sampling
    room: int
    """Tokens the answer may have."""
    tokens: list[Token] = field(default_factory=list)

    def ended(self, tokenizer: Tokenizer) -> bool:
        """Whether no further token can be shown."""
        if len(self.tokens) >= self.room or (self.tokens and tokenizer.ends(self.tokens[-1].id)):
            return True
        if not self.sampling.stops:
            return False
        before = self.prompt[-1:]
        text = tokenizer.text(before + [token.id for token in self.tokens])[len(tokenizer.text(before)) :]
        return any(stop in text.rstrip(stream.UNFINISHED) for stop in self.sampling.stops)

    def piece(self, tokenizer: Tokenizer) -> Piece:
        """The whole answer."""
        return whole(list(stream.pieces(tokenizer, self.prompt, self.tokens, self.sampling)))


@torch.inference_mode()
def complete(
    model: Any, tokenizer: Tokenizer, context: int, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]
) -> Iterator[tuple[int, Piece]]:
    """(place of the prompt, its answer). Every sampling is greedy and asks for no alternatives; no prompt is empty."""
    rows = [
        _Row(place, list(prompt), sampling, min(sampling.max_tokens, context - len(prompt)))
        for place, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True))
    ]
    rows.sort(key=lambda row: -len(row.prompt))
    for begin in range(0, len(rows), ROWS):
        batch = rows[begin : begin + ROWS]
        _write(model, tokenizer, [row for row in batch if row.room > 0])
        yield from ((row.place, row.piece(tokenizer)) for row in batch)


def _write(model: Any, tokenizer: Tokenizer, rows: list[_Row]) -> None:
    """Fill in the tokens of each row. Rows that have ended leave the batch."""
    if not rows:
        return
    shared = _shared(model, rows)
    width = max(len(row.prompt) for row in rows)
    pads = torch.tensor([width - len(row.prompt) for row in rows], device=model.device)
    ids = torch.zeros(len(rows), width - shared, dtype=torch.long, device=model.device)
    for b, row in enumerate(rows):
        own = row.prompt[shared:]
        ids[b, ids.shape[1] - len(own) :] = torch.tensor(own)
    cache = _prefix(model, rows[0].prompt[:shared], len(rows))
    seen = torch.ones(len(rows), width, dtype=torch.long, device=model.device)
    seen[:, shared:] = torch.arange(width - shared, device=model.device) >= pads[:, None]
    positions = (torch.arange(shared, width, device=model.device) - pads[:, None]).clamp(min=0)
    while rows:
        signals.poll()
        out = model(
            input_ids=ids, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        logprobs_BV = out.logits[:, -1].float().log_softmax(-1)
        best, chosen = logprobs_BV.max(-1)
        for row, number, logprob in zip(rows, chosen.tolist(), best.tolist(), strict=True):
            row.tokens.append(Token(number, tokenizer.pieces([number])[0], logprob))
        kept = [b for b, row in enumerate(rows) if not row.ended(tokenizer)]
        rows = [rows[b] for b in kept]
        left = torch.tensor(kept, dtype=torch.long, device=model.device)
        cache = out.past_key_values
        if len(kept) < len(seen):
            cache.batch_select_indices(left)
        ids, positions = chosen[left, None], positions[left, -1:] + 1
        seen = torch.cat([seen[left], seen.new_ones(len(kept), 1)], dim=1)


def _shared(model: Any, rows: Sequence[_Row]) -> int:
    """How many ids all prompts begin with, one less than the shortest at most; padding comes after them."""
    if getattr(model.config.get_text_config(), "sliding_window", None):
        return 0  # a window counts places, and padding would take some
    low, high = min(row.prompt for row in rows), max(row.prompt for row in rows)
    limit = min(len(row.prompt) for row in rows) - 1
    same = next((at for at in range(limit) if low[at] != high[at]), limit)
    return same if same >= SHORTEST else 0


def _prefix(model: Any, ids: Sequence[int], batch: int) -> Any:
    cache = DynamicCache()
    if ids:
        model.base_model(torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(batch)
    return cache
