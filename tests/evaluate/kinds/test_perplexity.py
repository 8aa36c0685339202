"""Whole documents: totals over totals, windows, and groups."""

from __future__ import annotations

import math

import pytest

from basewright.engine.fake import FakeLM
from basewright.errors import DataError
from basewright.evaluate import perplexity
from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

TEXTS = ["abc", "é" * 10, "some longer text, with a comma\n"]


def test_uniform_bytes_cost_eight_bits_and_totals_weigh_by_length() -> None:
    lm = Told(lambda _context, text: -math.log(256) * len(text.encode()))
    scores = run(lm, make({"kind": "perplexity"}, *({"text": text} for text in TEXTS)))
    assert scores.metrics["bits_per_byte"].value == pytest.approx(8)
    assert scores.metrics["perplexity"].value == pytest.approx(256)
    lm = Told(lambda _context, text: -math.log(2) * (1 if "é" in text else 4) * len(text.encode()))
    scores = run(lm, make({"kind": "perplexity"}, *({"text": text} for text in TEXTS)))
    sizes = [len(text.encode()) for text in TEXTS]
    mean = (4 * sizes[0] + sizes[1] + 4 * sizes[2]) / sum(sizes)
    assert scores.metrics["bits_per_byte"].value == pytest.approx(mean)
    assert scores.metrics["perplexity"].value == pytest.approx(2**mean)
    assert (scores.metrics["bits_per_byte"].n, scores.how.shots, scores.how.sampler) == (3, 0, "none")
    assert (lm.calls, scores.majority) == (1, 0)


def test_it_is_what_the_walk_measures_and_windows_are_shorter_than_the_text() -> None:
    texts = ["Rolling windows. " * 20, "Another text."]
    lm = FakeLM("f", context=64)
    scores = run(lm, make({"kind": "perplexity"}, *({"text": text} for text in texts)))
    assert scores.metrics["bits_per_byte"].value == pytest.approx(perplexity.bits_per_byte(lm, texts))
    by_item = {item.values["bytes"]: item.values for item in scores.items}
    assert by_item[13]["bits_per_byte"] == pytest.approx(perplexity.bits_per_byte(lm, texts[1:]))
    assert "windows of the model's context" in scores.how.normalisation


def test_documents_of_one_source_are_not_independent() -> None:
    rows = [{"text": f"{'x' * (5 + n)}", "group": f"g{n // 4}"} for n in range(8)]
    lm = Told(lambda _context, text: -float(len(text) ** 2))
    shared = run(lm, make({"kind": "perplexity"}, *rows)).metrics["bits_per_byte"]
    alone = run(lm, make({"kind": "perplexity"}, *({"text": one["text"]} for one in rows))).metrics["bits_per_byte"]
    assert (shared.value, shared.n) == (alone.value, 8)
    assert shared.high - shared.low > alone.high - alone.low


def test_a_text_beyond_all_floats_and_no_text() -> None:
    lm = Told(lambda _context, _text: -1e6)
    assert run(lm, make({"kind": "perplexity"}, {"text": "x"}, {"text": "y"})).metrics["perplexity"].value > 1e300
    with pytest.raises(DataError, match="line 1 has no text"):
        make({"kind": "perplexity"}, {"text": " "})
