"""What a model in training can do on held-out text: its bits per byte, last words, and learning from the context."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from basewright.engine.lm import LM, Pair, Request
from basewright.records import HeldOut

LAST_WORD = re.compile(r"(?<=\w)( \w{3,})[.!?]")
BEFORE = 256
"""Characters before a last word, at most; fewer where the context has no room for that many of four tokens each."""
WORDS = 300
COPIED = 64
"""Tokens of a random sequence that is shown twice."""
SEQUENCES = 32
FIRST = 2
"""Token that is no control token."""


def measure(lm: LM, texts: Sequence[str]) -> HeldOut:
    return HeldOut(bits_per_byte=bits_per_byte(lm, texts), cloze=cloze(lm, texts), copied=copied(lm))


def bits_per_byte(lm: LM, texts: Sequence[str]) -> float:
    nats = -sum(one.nats for one in lm.rolling(texts))
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def cloze(lm: LM, texts: Sequence[str]) -> float | None:
    """Share of the last words of sentences, taken evenly from `texts`, that greedy decoding writes; None without."""
    found = [(text, match) for text in texts for match in LAST_WORD.finditer(text)]
    chosen = found[:: max(1, len(found) // WORDS)][:WORDS]
    before = min(BEFORE, lm.context // 5)
    asked = [Request(text[max(0, at.start() - before) : at.start()], (at[1],)) for text, at in chosen]
    answers = lm.loglikelihood(asked)
    return sum(one.greedy for (one,) in answers) / len(answers) if answers else None


def copied(lm: LM) -> float:
    """Mean probability of a random sequence's tokens when it comes again: 1 copies, 1 / vocabulary guesses."""
    rng = np.random.Generator(np.random.Philox(key=[0, 0]))
    start = lm.tokenizer.eos_id if lm.tokenizer.bos_id is None else lm.tokenizer.bos_id
    sequences = rng.integers(FIRST, lm.tokenizer.size, (SEQUENCES, min(COPIED, lm.context // 2))).tolist()
    answers = lm.score([Pair((start, *sequence), tuple(sequence)) for sequence in sequences])
    return float(np.mean(np.exp([one.logprobs for _, one in answers])))
