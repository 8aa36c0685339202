"""From tokens to text as it comes: whole characters only (H092), and no part of a stop text is ever shown (H093)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from basewright.engine.lm import Piece, Sampling, Token
from basewright.text.tokenizer import Tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def pieces(tokenizer: Tokenizer, tokens: Iterable[Token], sampling: Sampling) -> Iterator[Piece]:
    """Turn tokens into pieces of text. `tokens` ends after `max_tokens`, or with the EOS token."""
    ids: list[int] = []
    waiting: list[Token] = []
    sent = 0
    text = ""
    for token in tokens:
        if token.id == tokenizer.eos_id:
            yield Piece(text[sent:], tuple(waiting), "stop")
            return
        ids.append(token.id)
        decoded = tokenizer.text(ids)
        waiting.append(replace(token, text=decoded[len(text) :] if decoded.startswith(text) else token.text))
        text = decoded
        if (end := _first_stop(text, sampling.stops, sent)) is not None:
            yield Piece(text[sent:end], tuple(waiting), "stop")
            return
        safe = len(text) - _held(text, sampling.stops)
        if safe > sent:
            yield Piece(text[sent:safe], tuple(waiting))
            sent, waiting = safe, []
    yield Piece(text[sent:], tuple(waiting), "length")


def _first_stop(text: str, stops: tuple[str, ...], sent: int) -> int | None:
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return max(min(found), sent) if found else None


def _held(text: str, stops: tuple[str, ...]) -> int:
    """How many characters at the end may still change, or may be the beginning of a stop text."""
    unfinished = len(text) - len(text.rstrip(UNFINISHED))
    begun = max(
        (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])),
        default=0,
    )
    return max(unfinished, begun)
