"""The waist: what every engine answers, and nothing else. Above it all is tested with `engine.fake`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from basewright.errors import DataError
from basewright.records import Progress, silent
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Request:
    """One context and the texts that might continue it."""

    context: str
    continuations: tuple[str, ...]


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


class LM(Protocol):
    """Log-likelihoods are in nats. Batching, order and sharing of prefixes change no answer."""

    @property
    def name(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def context(self) -> int:
        """Tokens the model can see at once."""
        ...

    def loglikelihood(self, requests: Sequence[Request], progress: Progress = silent) -> list[tuple[float, ...]]:
        """For each request, the log-likelihood of each continuation given the context.

        Raises `DataError` when a text is longer than the model's context: nothing is cut in silence.
        """
        ...

    def rolling(self, texts: Sequence[str], progress: Progress = silent) -> list[float]:
        """The log-likelihood of each whole text, in windows as long as the context, each token predicted once."""
        ...

    def generate(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        """Continue a prompt. Joined pieces are the same text whatever the pieces are."""
        ...


def check_length(length: int, context: int) -> None:
    """Refuse what the model cannot see whole. Raises `DataError`."""
    if length > context:
        raise DataError(
            f"a text of {length} tokens is longer than the model's context of {context}",
            fix="use fewer shots ([task].shots), shorter rows, or a model with a longer context",
        )


def pairs(tokenizer: Tokenizer, context: int, requests: Sequence[Request]) -> list[list[tuple[list[int], list[int]]]]:
    """(context ids, continuation ids) for every continuation of every request; an empty text has no ids, and so
    the log-likelihood 0. Raises `DataError` for one that is longer than the model's context."""
    found = [[encode.pair(tokenizer, r.context, c) if c else ([], []) for c in r.continuations] for r in requests]
    for request in found:
        for before, after in request:
            check_length(len(before) + len(after), context)
    return found


def windows(ids: Sequence[int], first: int, context: int) -> Iterator[tuple[list[int], list[int]]]:
    """(inputs, targets) that predict each id exactly once, as lm-evaluation-harness rolls: the first window starts
    from `first` (BOS or EOS); every later one from the last id before it, and the last is moved left to be full."""
    position = 0
    while position < len(ids):
        take = min(context, len(ids) - position)
        targets = list(ids[position : position + take])
        if position == 0:
            yield [first, *targets[:-1]], targets
        else:
            begin = position + take - context - 1
            yield list(ids[max(0, begin) : position + take - 1]), targets
        position += take


def whole_text(tokenizer: Tokenizer, text: str) -> tuple[int, list[int]]:
    """(the id a text is conditioned on, the ids of the text)."""
    head = encode.start(tokenizer)
    return (head[0] if head else tokenizer.eos_id), tokenizer.ids(text)
