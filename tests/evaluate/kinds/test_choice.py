"""Multiple choice: each normalisation by its definition, contexts by choice, letters, and answers as data give them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.engine.lm import Request
from basewright.errors import DataError
from basewright.evaluate.run import run
from tests.evaluate.own import Told, make

CHOICE = {"kind": "choice", "prompt": "Q: {q}\nA:"}


def test_each_normalisation_picks_by_its_own_length() -> None:
    """Four choices, each the best under one rule: the plain sum, by characters, by bytes, by the choice alone."""
    choices = ["ab", "héééééé", "abcdefghijkl", "abcd"]
    nats = {"ab": -4.0, "héééééé": -8.5, "abcdefghijkl": -13.0, "abcd": -6.0}
    alone = {"ab": -1.0, "héééééé": -6.0, "abcdefghijkl": -11.0, "abcd": -30.0}
    lm = Told(lambda context, text: (nats if context.startswith("Q") else alone)[text.strip()])
    by = {"sum": "ab", "characters": "abcdefghijkl", "bytes": "héééééé", "unconditional": "abcd"}
    lengths: dict[str, Callable[[str], int]] = {"characters": len, "bytes": lambda text: len(text.encode())}
    for rule, length in lengths.items():
        assert max((nats[text] / length(text), text) for text in choices)[1] == by[rule]
    for rule, best in by.items():
        task = make({**CHOICE, "normalisation": rule}, {"q": "x", "choices": choices, "answer": best})
        scores = run(lm, task)
        assert scores.items[0].answer == best
        assert next(iter(scores.metrics.values())).value == 1
    names = ["acc_mutual_info", "acc", "acc_norm", "acc_bytes", "acc_tokens"]
    assert (list(scores.metrics), list(scores.items[0].values)) == (names, names[1:] + names[:1])


@given(
    st.lists(st.tuples(st.text("abcé ", min_size=1).filter(str.strip), st.floats(-50, -0.1)), min_size=2, max_size=6)
)
def test_acc_norm_and_acc_bytes_are_those_of_lm_evaluation_harness(of: list[tuple[str, float]]) -> None:
    """lm_eval.api.task.ConfigurableTask.process_results: lls / len(choice), lls / len(choice.encode()), argmax."""
    choices = [text.strip() for text, _ in of]
    told = dict(zip(choices, (value for _, value in of), strict=True))
    lm = Told(lambda _context, text: told[text[1:]])
    (found,) = lm.loglikelihood([Request("Q: x\nA:", tuple(f" {text}" for text in choices))])
    lls = np.array([one.nats for one in found])
    (item,) = run(lm, make(CHOICE, {"q": "x", "choices": choices, "answer": 0})).items
    assert item.values["acc"] == float(np.argmax(lls) == 0)
    assert item.values["acc_norm"] == float(np.argmax(lls / [float(len(i)) for i in choices]) == 0)
    assert item.values["acc_bytes"] == float(np.argmax(lls / [float(len(i.encode())) for i in choices]) == 0)


def test_acc_tokens_divides_by_tokens() -> None:
    lm = Told(lambda _context, text: -3.0 if text == " ab" else -4.0)
    (item,) = run(lm, make(CHOICE, {"q": "x", "choices": ["ab", "abcdef"], "answer": 1})).items
    assert (item.values["acc"], item.values["acc_tokens"]) == (0, 1)  # -3/3 and -4/7: a token is a byte, space included


def test_a_context_for_each_choice() -> None:
    """WinoGrande's form: the likeliest context of one ending; every normalisation is then the same."""
    raw = {"kind": "choice", "prompt": "{context}", "answer": " {ending}"}
    fields = {"contexts": ["It fell, so the cup ", "It fell, so the floor"], "ending": "broke.", "answer": 0}
    lm = Told(lambda context, _text: -2.0 if context.endswith("cup") else -3.0)
    scores = run(lm, make(raw, fields))
    assert [(one.context, one.continuations[0]) for one in lm.asked[:2]] == [
        ("It fell, so the cup", " broke."),
        ("It fell, so the floor", " broke."),
    ]
    assert set(scores.items[0].values.values()) == {1.0}
    assert scores.items[0].answer == "It fell, so the cup"


def test_letters_and_the_list_of_options() -> None:
    raw = {"kind": "choice", "prompt": "{q}\n{options}\nAnswer:", "answer": " {letter}", "shots": 1}
    task = make(raw, {"q": "x", "choices": ["p", "q"], "answer": "B"}, {"q": "y", "choices": ["r", "s"], "answer": 0})
    lm = Told()
    run(lm, task)
    asked = {one.context: one.continuations for one in lm.asked}
    assert asked["x\nA. p\nB. q\nAnswer: B\n\ny\nA. r\nB. s\nAnswer:"] == (" A", " B")


def test_all_is_asked_in_one_call_and_choices_alone_without_shots() -> None:
    rows = [{"q": f"q{n}", "choices": ["a", "b"], "answer": n % 2} for n in range(6)]
    lm = Told()
    run(lm, make({**CHOICE, "shots": 2, "unconditional": "Answer:"}, *rows))
    assert lm.calls == 1
    assert sum(one.context == "Answer:" for one in lm.asked) == 6
    assert all(one.context == "Answer:" or one.context.count("Q: ") == 3 for one in lm.asked)


@pytest.mark.parametrize(
    ("answer", "place"), [(0, 0), (2, 2), ("2", 2), ("C", 2), ("blue", 1), (" blue ", 1), ("B", 1)]
)
def test_the_answer_as_place_letter_or_text(answer: Any, place: int) -> None:
    task = make(CHOICE, {"q": "x", "choices": ["red", "blue", "green"], "answer": answer})
    assert task.questions[0].gold == place


def test_a_text_that_is_a_choice_is_no_place() -> None:
    assert make(CHOICE, {"q": "x", "choices": ["1", "0", "A"], "answer": "0"}).questions[0].gold == 1
    assert make(CHOICE, {"q": "x", "choices": ["1", "0", "A"], "answer": "A"}).questions[0].gold == 2
    assert make(CHOICE, {"q": "x", "choices": ["1", "0", "A"], "answer": 0}).questions[0].gold == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"choices": ["a", "b"], "answer": 2}, r"line 1: the answer '2' is none of the 2 choices"),
        ({"choices": ["a", "b"], "answer": "C"}, r"none of the 2 choices"),
        ({"choices": ["a", "b"], "answer": -1}, r"none of the 2 choices"),
        ({"choices": ["a", "b"], "answer": True}, r"the answer 'true'"),
        ({"choices": ["a", "b"]}, r"has no answer"),
        ({"choices": ["a"], "answer": 0}, r"choices is no list of 2 texts"),
        ({"choices": ["a", ""], "answer": 0}, r"choices holds something that is no text"),
        ({"choices": "ab", "answer": 0}, r"choices is no list"),
        ({"answer": 0}, r"choices is no list"),
        ({"contexts": ["a", "b"], "choices": ["a", "b", "c"], "answer": 0}, r"2 contexts and 3 choices"),
        ({"choices": ["a"] * 27, "answer": 0}, r"more than 26 choices"),
    ],
)
def test_a_row_that_is_no_choice_names_its_line(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        make(CHOICE, {"q": "x", **fields})


def test_the_same_choices_for_every_row() -> None:
    task = make({**CHOICE, "choices": ["yes", "no"]}, {"q": "x", "answer": "no"})
    assert task.questions[0].asks[0].continuations == (" yes", " no")
    assert math.isclose(run(Told(), task).metrics["acc"].value, 0)  # a tie goes to the first
