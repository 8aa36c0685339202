"""The waist: what every engine answers, and nothing else. Above it all is tested with `engine.fake`.

An engine answers two questions about token ids: how likely each continuation is (`score`), and what follows a prompt
(`generate`). The questions about texts (`loglikelihood`, `rolling`) are made of the first one here, in one way for
every engine.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from basewright.errors import DataError
from basewright.records import Progress, silent
from basewright.text import encode
from basewright.text.reading import Reader
from basewright.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Request:
    """One context and the texts that might continue it."""

    context: str
    continuations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids of a context (at least one) and of what might continue it."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a continuation is: the log-probability of each of its tokens, in nats."""

    logprobs: tuple[float, ...]
    greedy: bool
    """Whether each token was the likeliest there."""

    @property
    def nats(self) -> float:
        """The log-likelihood of the whole."""
        return math.fsum(self.logprobs)


CERTAIN = Likelihood((), True)
"""Of an empty continuation."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy. Text ends before the first of `stops`, at EOS, or after `max_tokens`."""

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stops: tuple[str, ...] = ()
    logprobs: int = 0
    """How many alternatives to report for each token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token: its log-probability in nats, and the likeliest alternatives."""

    id: int
    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What a stream yields: text that is safe to show, the tokens that led to it, and at the end why it ended."""

    text: str
    tokens: tuple[Token, ...] = ()
    finish: str | None = None
    """`stop` (EOS or a stop text) or `length`; None while it goes on."""


class LM(ABC):
    """Log-likelihoods are in nats. Batching, order and sharing of prefixes change no answer beyond rounding."""

    __slots__ = ()

    name: str
    engine: str
    precision: str
    tokenizer: Tokenizer
    context: int
    """Tokens the model can see at once."""

    @abstractmethod
    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        """(place in `pairs`, answer) for every pair, each once, in the order the engine computes them.

        Raises `DataError`, before anything is computed, for a pair longer than the model can see
        (`check_length`): nothing is cut in silence.
        """

    @abstractmethod
    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue a prompt: a text, or token ids as they are. Joined pieces are the same text whatever they are."""

    def complete(
        self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], progress: Progress = silent
    ) -> Iterator[tuple[int, Piece]]:
        """(place of the prompt, its whole answer in one piece) for prompts in token ids, in the order they end."""
        for place, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
            yield place, whole(list(self.generate(prompt, sampling)))
            progress("answers written", place + 1, len(prompts))

    def loglikelihood(self, requests: Sequence[Request], progress: Progress = silent) -> list[tuple[Likelihood, ...]]:
        """For each request, the likelihood of each continuation given the context; of an empty one, certainty.

        Raises `DataError` for a text that is longer than the model's context.
        """
        answers = [[CERTAIN] * len(request.continuations) for request in requests]
        asked = [(r, c) for r, request in enumerate(requests) for c, text in enumerate(request.continuations) if text]
        ids = Reader(self.tokenizer).ids
        pairs = [pair(self.tokenizer, requests[r].context, requests[r].continuations[c], ids) for r, c in asked]
        for place, answer in self.score(pairs, progress):
            r, c = asked[place]
            answers[r][c] = answer
        return [tuple(answer) for answer in answers]

    def rolling(self, texts: Sequence[str], progress: Progress = silent) -> list[Likelihood]:
        """The likelihood of each whole text, in windows as long as the context, each token predicted once."""
        parts = []
        for text in texts:
            first, ids = whole_text(self.tokenizer, text)
            parts.append(windows(ids, first, self.context))
        answers = dict(self.score([window for part in parts for window in part], progress))
        return [joined([answers[place] for place in places]) for places in _places(parts)]


def whole(pieces: Sequence[Piece]) -> Piece:
    """A stream that has ended, in one piece."""
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    return Piece("".join(piece.text for piece in pieces), tokens, pieces[-1].finish)


def joined(parts: Sequence[Likelihood]) -> Likelihood:
    """The likelihood of continuations that follow one another."""
    return Likelihood(tuple(value for part in parts for value in part.logprobs), all(part.greedy for part in parts))


def _places(parts: Sequence[Sequence[Pair]]) -> list[range]:
    """Where the members of each part are when all parts stand in one row."""
    ends = list(accumulate(map(len, parts), initial=0))
    return [range(begin, end) for begin, end in pairwise(ends)]


def check_length(length: int, context: int) -> None:
    """Refuse what the model cannot see whole. Raises `DataError`."""
    if length > context:
        raise DataError(
            f"a text of {length} tokens is longer than the model's context of {context}",
            fix="use fewer shots ([task].shots), shorter rows, or a model with a longer context",
        )


def check_pairs(pairs: Sequence[Pair], context: int) -> None:
    """Refuse pairs the model cannot see whole; the last token is predicted, not seen. Raises `DataError`."""
    for one in pairs:
        check_length(len(one.context) + len(one.continuation) - 1, context)


def pair(tokenizer: Tokenizer, context: str, continuation: str, ids: Callable[[str], list[int]] | None = None) -> Pair:
    """The ids of a context and of a continuation that is not empty (`text.encode.pair`)."""
    before, after = encode.pair(tokenizer, context, continuation, ids)
    return Pair(tuple(before), tuple(after))


def windows(ids: Sequence[int], first: int, context: int) -> list[Pair]:
    """Pairs that predict each id exactly once, as lm-evaluation-harness rolls: the first window starts from `first`
    (BOS or EOS); every later one from the last id before it, and the last is moved left to be full."""
    found = []
    for position in range(0, len(ids), context):
        end = min(position + context, len(ids))
        before = (first,) if position == 0 else tuple(ids[max(0, end - context - 1) : position])
        found.append(Pair(before, tuple(ids[position:end])))
    return found


def whole_text(tokenizer: Tokenizer, text: str) -> tuple[int, list[int]]:
    """(the id a text is conditioned on, the ids of the text)."""
    head = encode.start(tokenizer)
    return (head[0] if head else tokenizer.eos_id), tokenizer.ids(text)
