"""Classification by log-likelihood, over the fake and over a model whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from basewright.data import rows
from basewright.engine.fake import FakeLM
from basewright.engine.lm import Likelihood, Piece, Request, Sampling
from basewright.errors import DataError, UsageError
from basewright.evaluate import classify, perplexity
from basewright.records import Item, Layout, Ledger, Progress, Task, silent
from basewright.text.tokenizer import Tokenizer


def items(texts: Sequence[str], labels: str) -> tuple[Item, ...]:
    return tuple(Item(id=rows.identity(t), text=t, label=label) for t, label in zip(texts, labels, strict=True))


TASK = Task(
    name="t",
    version="1",
    kind="classify",
    labels=("a", "b", "c"),
    layout=Layout(prompt="T: {text}\nL:", separator="\n"),
    shots=3,
    train=items(["one", "two", "three", "four"], "aabc"),
    choose=items(["five", "six", "seven"], "abc"),
    test=items(["eight", "nine"], "ba"),
    ledger=Ledger(read=9, used=9, duplicates=0, near_duplicates=0, duplicate_examples=()),
)


class Known(FakeLM):
    """Answers with given log-likelihoods, and remembers what it was asked."""

    asked: ClassVar[list[Request]] = []

    def loglikelihood(self, requests: Sequence[Request], progress: Progress = silent) -> list[tuple[Likelihood, ...]]:
        self.asked[:] = requests
        return [tuple(Likelihood((nats,), False) for nats in (-1.0, -2.0, -3.0))] * len(requests)


def test_the_likeliest_label_wins_and_surprise_is_over_the_labels() -> None:
    scores = classify.run(Known("k"), TASK, "choose", model="k", few_shot=False)
    assert [score.answer for score in scores.items] == ["a", "a", "a"]
    assert (scores.accuracy.value, scores.accuracy.n, scores.majority) == (1 / 3, 3, 1 / 3)
    total = sum(math.exp(-n) for n in (1, 2, 3))
    assert scores.items[2].bits == pytest.approx(-math.log2(math.exp(-3) / total))


def test_few_shot_shows_training_rows_only_and_never_the_item() -> None:
    lm = Known("k")
    classify.run(lm, TASK, "choose", model="k", few_shot=True)
    for request, item in zip(lm.asked, TASK.choose, strict=True):
        assert request.context.count("T: ") == 4
        assert request.context.endswith(f"\nT: {item.text}\nL:")
        assert request.context.count(item.text) == 1
        assert request.continuations == (" a", " b", " c")
    assert len({request.context.rsplit("T: ", 1)[0] for request in lm.asked}) == 1
    classify.run(lm, TASK, "choose", model="k", few_shot=False)
    assert lm.asked[0].context == "T: five\nL:"


def test_h082_the_same_question_has_the_same_answer() -> None:
    one = classify.run(FakeLM("f"), TASK, "test", model="f", few_shot=True)
    assert one == classify.run(FakeLM("f"), TASK, "test", model="f", few_shot=True)
    assert one.how.shots == 3
    assert (one.how.bos, one.how.prompt_ids[:1]) == (1, (FakeLM("f").tokenizer.bos_id,))


def test_h073_another_prompt_has_another_hash() -> None:
    other = replace(TASK, layout=Layout(prompt="Text: {text}\nL:", separator="\n"))
    scores = [classify.run(FakeLM("f"), t, "test", model="f", few_shot=f) for t in (TASK, other) for f in (True, False)]
    hashes = {score.how.prompt_hash for score in scores}
    assert len(hashes) == 4


def test_scores_on_other_items_do_not_compare() -> None:
    one = classify.run(FakeLM("f"), TASK, "test", model="f", few_shot=False)
    two = classify.run(FakeLM("f"), TASK, "choose", model="f", few_shot=False)
    with pytest.raises(UsageError, match="other items"):
        classify.same_items(one, two, 0.95)
    assert classify.same_items(one, one, 0.95).p_value == 1


class Uniform(FakeLM):
    """Gives every byte a probability of 1/256."""

    def rolling(self, texts: Sequence[str], progress: Progress = silent) -> list[Likelihood]:
        return [Likelihood((-math.log(256),) * len(text.encode()), False) for text in texts]

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        raise AssertionError


def test_uniform_bytes_cost_eight_bits() -> None:
    assert perplexity.bits_per_byte(Uniform("u"), ["abc", "é" * 10]) == pytest.approx(8)
    with pytest.raises(DataError, match="no text"):
        perplexity.bits_per_byte(Uniform("u"), [""])


def test_the_fake_has_a_tokenizer_like_any_other() -> None:
    assert isinstance(FakeLM("f").tokenizer, Tokenizer)
