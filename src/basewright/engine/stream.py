"""From tokens to text as it comes: whole characters only (H092), and no part of a stop text is ever shown (H093)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from basewright.engine import draw
from basewright.engine.lm import Piece, Sampling, Token, check_length
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def generate(
    tokenizer: Tokenizer, context: int, predict: draw.Predict, prompt: str | Sequence[int], sampling: Sampling
) -> Iterator[Piece]:
    """Continue a prompt with what `predict` says follows. Raises `DataError` when it leaves no room to answer."""
    ids = (encode.prompt(tokenizer, prompt) if isinstance(prompt, str) else list(prompt)) or [tokenizer.eos_id]
    check_length(len(ids) + 1, context)
    room = min(sampling.max_tokens, context - len(ids))
    return pieces(tokenizer, ids, draw.tokens(tokenizer, predict, ids, room, sampling), sampling)


@dataclass(slots=True)
class _Waiting:
    """A token not yet shown: where its text starts in the answer, and how much of the answer must be safe first."""

    start: int
    needs: int
    token: Token


@dataclass(slots=True)
class _Answer:
    stops: tuple[str, ...]
    text: str = ""
    settled: int = 0
    """Characters that no later token can change."""
    sent: int = 0
    waiting: list[_Waiting] = field(default_factory=list)

    def add(self, token: Token, text: str) -> None:
        before, self.text = self.settled, text
        self.settled = max(before, len(text.rstrip(UNFINISHED)))
        shown = replace(token, text=text[before : self.settled])
        self.waiting.append(_Waiting(before, max(self.settled, len(text)), shown))

    def release(self) -> Piece:
        """What can be shown now; often nothing."""
        safe = max(self.sent, self.settled - begun(self.text[: self.settled], self.stops))
        ready = [waiting for waiting in self.waiting if waiting.needs <= safe]
        self.waiting = self.waiting[len(ready) :]
        text, self.sent = self.text[self.sent : safe], safe
        return Piece(text, tuple(waiting.token for waiting in ready))

    def stop_at(self, upto: int) -> int | None:
        """Where the first stop text to be complete begins; the same however tokens split it."""
        found = [(at + len(stop), at) for stop in self.stops if (at := self.text.find(stop, self.sent, upto)) >= 0]
        return min(found)[1] if found else None

    def end(self, finish: str, cut: int | None = None) -> Piece:
        """The last piece. At a stop text, the answer ends before character `cut`, and so do its tokens."""
        if cut is not None:
            kept = [waiting for waiting in self.waiting if waiting.start < cut]
            shown = tuple(replace(w.token, text=w.token.text[: cut - w.start]) for w in kept)
            return Piece(self.text[self.sent : cut], shown, finish)
        last = [waiting.token for waiting in self.waiting]
        if last:
            last[-1] = replace(last[-1], text=last[-1].text + self.text[self.settled :])
        return Piece(self.text[self.sent :], tuple(last), finish)


def pieces(tokenizer: Tokenizer, prompt: Sequence[int], tokens: Iterable[Token], sampling: Sampling) -> Iterator[Piece]:
    """A piece for every token, also when its text must still wait, so that a reader can leave at any step.

    `tokens` ends after `max_tokens`, or with an id that ends it. The text is decoded behind the prompt's last token,
    because some decoders take the space off a first word.
    """
    before = list(prompt[-1:])
    skip = len(tokenizer.text(before))
    ids: list[int] = []
    answer = _Answer(sampling.stops)
    finish = "length"
    for token in tokens:
        if tokenizer.ends(token.id):
            finish = "stop"
            break
        ids.append(token.id)
        answer.add(token, tokenizer.text(before + ids)[skip:])
        if (at := answer.stop_at(answer.settled)) is not None:
            yield answer.end("stop", at)
            return
        yield answer.release()
    at = answer.stop_at(len(answer.text))
    yield answer.end(finish if at is None else "stop", at)


def begun(text: str, stops: tuple[str, ...]) -> int:
    """How many characters at the end may be the beginning of a stop text."""
    return max(
        (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])),
        default=0,
    )
