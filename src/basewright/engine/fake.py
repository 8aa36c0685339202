"""A language model without weights, for everything above the waist: bytes predicted from the two bytes before.

What follows is read off a hash, so it is the same everywhere, at once, and a true probability distribution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.engine import draw, scoring, stream
from basewright.engine.lm import LM, Likelihood, Pair, Piece, Sampling
from basewright.records import Progress, silent
from basewright.text.tokenizer import Tokenizer

END = "<|endoftext|>"
SPREAD = 12.0
"""Nats between the likeliest and the least likely byte that could be."""


@cache
def bytes_tokenizer() -> Tokenizer:
    """One token a byte, and END, which starts and ends a text."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END])
    backend.encode_special_tokens = True
    end = len(alphabet)
    return Tokenizer(backend=backend, bos=True, bos_id=end, eos_id=end, pad_id=0, size=end + 1)


@dataclass(slots=True)
class FakeLM(LM):
    name: str = "fake"
    seed: int = 0
    context: int = 512
    engine: str = "fake"
    precision: str = "float64"
    tokenizer: Tokenizer = field(default_factory=bytes_tokenizer)

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        return scoring.one_by_one(self._score, pairs, self.context, progress)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        return stream.generate(self.tokenizer, self.context, self._predict, prompt, sampling)

    def _score(self, pair: Pair) -> Likelihood:
        ids = [*pair.context, *pair.continuation]
        rows = [(self._predict(ids[:at]), ids[at]) for at in range(len(pair.context), len(ids))]
        return Likelihood(tuple(float(row[i]) for row, i in rows), all(int(row.argmax()) == i for row, i in rows))

    def _predict(self, ids: list[int]) -> NDArray[Any]:
        return _after(self.seed, tuple(ids[-2:]), self.tokenizer.size)


@cache
def _after(seed: int, ids: tuple[int, ...], size: int) -> NDArray[Any]:
    raw = hashlib.shake_256(repr((seed, ids)).encode()).digest(2 * size)
    return draw.log_softmax(np.frombuffer(raw, dtype="<u2") * (SPREAD / 2**16))
