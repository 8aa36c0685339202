"""The next token, drawn from a distribution: one rule and one random stream, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright import signals
from basewright.engine.lm import Sampling, Token
from basewright.text.tokenizer import Tokenizer

Predict = Callable[[list[int]], NDArray[Any]]
"""All ids so far → log-probabilities (V,) in nats of the id that follows."""


def tokens(
    tokenizer: Tokenizer, predict: Predict, prompt: Sequence[int], room: int, sampling: Sampling
) -> Iterator[Token]:
    """At most `room` tokens after `prompt`, ending with EOS, or another end, when it is drawn."""
    generator = np.random.default_rng(sampling.seed % 2**64)
    ids = list(prompt)
    for _ in range(room):
        signals.poll()
        logprobs_V = predict(ids)
        chosen = choose(logprobs_V, sampling, generator)
        yield Token(
            id=chosen,
            text=tokenizer.pieces([chosen])[0],
            logprob=float(logprobs_V[chosen]),
            top=_likeliest(tokenizer, logprobs_V, sampling.logprobs),
        )
        if tokenizer.ends(chosen):
            return
        ids.append(chosen)


def choose(logprobs_V: NDArray[Any], sampling: Sampling, generator: np.random.Generator) -> int:
    """Greedy at temperature 0, else nucleus sampling (Holtzman et al. 2020) from the tempered distribution."""
    if sampling.temperature == 0:
        return int(logprobs_V.argmax())
    weights_V = np.exp((logprobs_V.astype(np.float64) - logprobs_V.max()) / sampling.temperature)
    order_V = np.argsort(-weights_V, kind="stable")
    total_V = np.cumsum(weights_V[order_V])
    kept = 1 + int(np.searchsorted(total_V[:-1], sampling.top_p * total_V[-1], side="left"))
    drawn = int(np.searchsorted(total_V[:kept], generator.random() * total_V[kept - 1], side="right"))
    return int(order_V[min(drawn, kept - 1)])  # the product may round up to the total


def _likeliest(tokenizer: Tokenizer, logprobs_V: NDArray[Any], count: int) -> tuple[tuple[str, float], ...]:
    if count == 0:
        return ()
    ids = np.argsort(-logprobs_V, kind="stable")[:count].tolist()
    return tuple((name, float(logprobs_V[i])) for name, i in zip(tokenizer.pieces(ids), ids, strict=True))


def log_softmax(logits_TV: NDArray[Any]) -> NDArray[Any]:
    """Over the last axis, in float64."""
    wide = logits_TV.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide
