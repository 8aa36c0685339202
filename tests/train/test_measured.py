"""What is measured of a base model: last words, copying, and what it gives back of what it learned."""

from __future__ import annotations

import math

import pytest

from basewright.engine.fake import FakeLM
from basewright.engine.lm import Sampling, whole
from basewright.train import heldout, memorised

LM = FakeLM()
TEXT = "The old sailor came home at last. Nobody was waiting there! And so he left again? "


def test_bits_per_byte_are_of_bytes() -> None:
    (one,) = LM.rolling([TEXT])
    assert heldout.bits_per_byte(LM, [TEXT]) == pytest.approx(-one.nats / math.log(2) / len(TEXT))


def test_last_words_are_what_greedy_decoding_writes() -> None:
    written = whole(list(LM.generate("The", Sampling(max_tokens=200)))).text
    assert heldout.cloze(LM, [TEXT]) == 0
    assert heldout.cloze(LM, ["no end"]) is None
    found = heldout.LAST_WORD.findall(TEXT)
    assert found == [" last", " there", " again"]
    assert written


def test_a_model_of_two_tokens_back_copies_nothing() -> None:
    assert 0 < heldout.copied(LM) < 0.05


def test_what_the_model_writes_itself_counts_as_given_back() -> None:
    prompt = list(b"It was a dark and stormy night; the rain fell in torrents."[: memorised.PROMPT])
    windows = []
    for shift in range(4):
        start = [(i + shift) % 256 for i in prompt]
        answer = whole(list(LM.generate(start, Sampling(max_tokens=memorised.CONTINUED))))
        windows.append([0, *start, *(token.id for token in answer.tokens), 0])
    other = [[0, *[(7 * i) % 256 for i in range(memorised.PROMPT + memorised.CONTINUED)], 0]] * 4
    full = [one for one in windows if len(one) == memorised.PROMPT + memorised.CONTINUED + 2]
    found = memorised.measure(LM, full, other)
    assert found is not None
    assert (found.learned, found.held_out) == (1.0, 0.0)
    assert found.learned_nats < found.held_out_nats
    assert memorised.measure(LM, full, [[1, 2]]) is None
