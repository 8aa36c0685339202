"""Before and after on the same rows: figures that a fake model makes known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from basewright.engine.lm import LM, Likelihood, Pair, Piece, Sampling, check_pairs
from basewright.prove import held
from basewright.records import Example, Item, Layout, Ledger, Preference, Progress, Task, silent
from basewright.records import Piece as Part
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.models import tiny_tokenizer


class Knows(LM):
    """Likes what it knows: a token of a known continuation has 0.5, of any other 0.25; it writes what it knows."""

    engine, precision = "fake", "float32"

    def __init__(self, name: str, tokenizer: Tokenizer, known: dict[str, str], context: int = 256) -> None:
        self.name, self.tokenizer, self.known, self.context = name, tokenizer, known, context
        self.prompts: list[str] = []

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.backend.decode(list(ids), skip_special_tokens=True))

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        check_pairs(pairs, self.context)
        for place, one in enumerate(pairs):
            asked, said = self._text(one.context), self._text(one.continuation)
            knows = any(asked.endswith(end) and said.strip() == answer for end, answer in self.known.items())
            yield place, Likelihood((math.log(0.5 if knows else 0.25),) * len(one.continuation), False)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        text = prompt if isinstance(prompt, str) else self._text(prompt)
        self.prompts.append(text)
        answer = next((answer for end, answer in self.known.items() if text.endswith(end)), None)
        yield Piece(f" {answer}" if answer else " hm hm", finish="stop" if answer else "length")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    tiny_tokenizer(tmp_path)
    return open_tokenizer(tmp_path)


def example(asked: str, answer: str) -> Example:
    return layouts.example((Part(text=asked, learned=False), Part(text=f" {answer}", learned=True)))


ROWS = [example(f"Colour {number}?", f"is {number}") for number in range(8)]
KNOWN = {f"Colour {number}?": f"is {number}" for number in range(6)}


def test_stretches_are_what_is_learned_behind_all_before(tokenizer: Tokenizer) -> None:
    parts = [Part(text=t, learned=learned) for t, learned in (("a?", False), (" b", True), ("c?", False), (" d", True))]
    row = encode.pieces(tokenizer, layouts.example(tuple(parts)))
    found = held.stretches(row)
    assert [(*one.context, *one.continuation) for one in found] == [row.ids[: len(found[0].context) + 2], row.ids]
    assert sum(len(one.continuation) for one in found) == sum(row.mask)
    assert all(one.continuation[-1] == tokenizer.eos_id for one in found)


def test_surprise_is_nats_of_what_is_learned(tokenizer: Tokenizer) -> None:
    rows = [encode.pieces(tokenizer, one) for one in ROWS]
    found = held.surprise(Knows("base", tokenizer, {}), Knows("tuned", tokenizer, KNOWN), rows, 0.95, silent)
    assert found.before == pytest.approx(math.log(4))
    known = sum(sum(row.mask) for row in rows[:6])
    assert found.after == pytest.approx(math.log(4) - math.log(2) * known / found.size)
    assert found.change.value == pytest.approx(found.after - found.before)
    assert found.change.low < found.change.value < found.change.high
    assert (found.texts, found.size) == (8, sum(sum(row.mask) for row in rows))


def both(*rows: Example) -> list[tuple[Example, Example]]:
    """What the tuned model reads and what the base: the same, but for a chat template."""
    return [(row, row) for row in rows]


def test_greedy_answers_are_compared_letter_by_letter(tokenizer: Tokenizer) -> None:
    base, tuned = Knows("base", tokenizer, {"Colour 0?": "is 0"}), Knows("tuned", tokenizer, KNOWN)
    long = example("Tell all.", "it goes on and on " * 20)
    found = held.greedy(base, tuned, [example("Shade?", "red")] * 3, both(*ROWS, long), 0.95, silent)
    assert found is not None
    assert (found.before.value, found.after.value, found.gain.difference.n) == (1 / 8, 6 / 8, 8)
    assert (found.gain.only_first, found.gain.only_second) == (5, 0)
    assert "8 of 9 rows" in found.how
    assert all(text.startswith("Shade? red\n\n" * 3) for text in base.prompts)
    assert {text.partition("?")[2] for text in tuned.prompts} == {""}


def test_what_a_chat_template_puts_before_an_answer_is_no_mistake(tokenizer: Tokenizer) -> None:
    thinks = [example(f"Colour {number}?", f"thought: is {number}") for number in range(4)]
    tuned = Knows("tuned", tokenizer, {f"Colour {number}?": f"thought: is {number}" for number in range(3)})
    found = held.greedy(Knows("base", tokenizer, {}), tuned, [], list(zip(thinks, ROWS, strict=False)), 0.95, silent)
    assert found is not None
    assert (found.before.value, found.after.value) == (0.0, 3 / 4)
    assert {one.expected for one in found.items} == {f"is {number}" for number in range(4)}


def test_greedy_shows_fewer_examples_where_they_do_not_fit(tokenizer: Tokenizer) -> None:
    base = Knows("base", tokenizer, {}, context=34)
    found = held.greedy(
        base, Knows("tuned", tokenizer, KNOWN), [example("Shade?", "red")] * 9, both(*ROWS), 0.95, silent
    )
    assert found is not None
    assert "after 1 solved example " in found.how
    assert all(text.count("Shade") == 1 for text in base.prompts)
    assert held.greedy(base, base, [], both(example("Tell", "much " * 60)), 0.95, silent) is None


def test_labels_are_few_shot_before_and_bare_after(tokenizer: Tokenizer) -> None:
    layout = Layout(prompt="T: {text}\nL:", separator="\n\n")
    train = tuple(Item(id=f"t{n}", text=f"seen {n}", label="ab"[n % 2]) for n in range(6))
    test = tuple(Item(id=f"h{n}", text=f"new {n}", label="ab"[n % 2]) for n in range(6))
    ledger = Ledger(read=6, used=6, duplicates=0, near_duplicates=0, duplicate_examples=())
    task = Task(
        name="t", version="v", kind="classify", labels=("a", "b"), layout=layout, shots=8, train=train, choose=(),
        test=test, ledger=ledger,
    )  # fmt: skip
    tuned = Knows("tuned", tokenizer, {f"T: {item.text}\nL:": item.label for item in test})
    found = held.labels(Knows("base", tokenizer, {}), tuned, task, 0.95, silent)
    assert (found.before.value, found.after.value, found.majority) == (0.5, 1.0, 0.5)
    assert "base after 6 solved examples" in found.how
    flipped = [one for one in found.items if one.right_after and not one.right_before]
    assert {(one.expected, one.before, one.after) for one in flipped} == {("b", "a", "b")}
    short = held.labels(Knows("base", tokenizer, {}, context=30), tuned, task, 0.95, silent)
    assert "base after 1 solved example," in short.how


def test_preferences_ask_which_answer_is_likelier(tokenizer: Tokenizer) -> None:
    rows = [Preference(id=str(n), prompt=f"Q{n}:", chosen=" good it", rejected=" bad it") for n in range(4)]
    tuned = Knows("tuned", tokenizer, {"Q0:": "good it", "Q1:": "good it", "Q2:": "bad it", "Q3:": "good it"})
    found = held.preferred(Knows("base", tokenizer, {}), tuned, rows, 0.95, silent)
    assert found.after.value == 0.75
    assert [one.after.strip() for one in found.items] == ["good it", "good it", "bad it", "good it"]


def test_samples_say_where_each_stopped(tokenizer: Tokenizer) -> None:
    rows = [encode.pieces(tokenizer, one) for one in ROWS]
    first, *_ = found = held.samples(Knows("b", tokenizer, {}), Knows("t", tokenizer, KNOWN), rows, silent)
    assert len(found) == held.SHOWN
    assert (first.asked, first.expected) == ("Colour 0?", " is 0")
    assert (first.before.finish, first.after.finish, first.after.text) == ("length", "stop", " is 0")
    text = encode.pieces(tokenizer, layouts.example((Part(text="The old clock on the wall", learned=True),)))
    (whole,) = held.samples(Knows("b", tokenizer, {}), Knows("t", tokenizer, {}), [text], silent)
    assert whole.asked
    assert whole.asked + whole.expected == "The old clock on the wall"
