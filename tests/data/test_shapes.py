"""Rows in every usual spelling become the same turns; a shape that is not clear is asked for; a bad row says why."""

from __future__ import annotations

from typing import Any

import pytest

from basewright.data import shapes
from basewright.data.files import Raw
from basewright.errors import DataError, UsageError
from basewright.records import DataShape
from basewright.text.layout import Turn

ASK, TELL = Turn("user", "Hi"), Turn("assistant", "Hello")
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
HUMAN, GPT = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}
PAIR = (Turn("prompt", "Hi"), Turn("completion", "Hello"))

SPELLINGS: list[tuple[dict[str, Any], DataShape, tuple[Turn, ...]]] = [
    ({"text": "Hi"}, "text", (Turn("text", "Hi"),)),
    ({"text": "Hi", "source": "letters"}, "text", (Turn("text", "Hi"),)),
    ({"text": " Hi ", "label": "a "}, "text-label", (Turn("text", "Hi"), Turn("label", "a"))),
    ({"text": "Hi", "label": 3}, "text-label", (Turn("text", "Hi"), Turn("label", "3"))),
    ({"prompt": "Hi", "completion": "Hello"}, "prompt-completion", PAIR),
    ({"prompt": "Hi", "response": "Hello", "id": 4}, "prompt-completion", PAIR),
    ({"question": "Hi", "answer": "Hello"}, "prompt-completion", PAIR),
    ({"prompt": [USER], "completion": [ASSISTANT]}, "prompt-completion", (ASK, TELL)),
    ({"messages": [USER, ASSISTANT]}, "messages", (ASK, TELL)),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, ASSISTANT]}, "messages", (ASK, TELL)),
    ({"messages": [{"role": "system", "content": "S"}, USER, ASSISTANT]}, "messages", (Turn("system", "S"), ASK, TELL)),
    ({"conversations": [HUMAN, GPT]}, "sharegpt", (ASK, TELL)),
    ({"conversations": [HUMAN, GPT], "system": "S"}, "sharegpt", (Turn("system", "S"), ASK, TELL)),
    ({"instruction": "Hi", "input": "", "output": "Hello"}, "alpaca", (ASK, TELL)),
    ({"instruction": "Hi", "output": "Hello"}, "alpaca", (ASK, TELL)),
    ({"instruction": "Say", "input": "Hi", "output": "Hello"}, "alpaca", (Turn("user", "Say\n\nHi"), TELL)),
]


@pytest.mark.parametrize(("value", "shape", "turns"), SPELLINGS)
def test_a_spelling_is_recognised_and_read(value: dict[str, Any], shape: DataShape, turns: tuple[Turn, ...]) -> None:
    raws = [Raw("line 1", value)]
    assert shapes.recognise(raws, "a.jsonl") == shape
    kept, refused = shapes.read(raws, shape)
    assert refused == []
    assert kept[0].turns == turns


@pytest.mark.parametrize(
    ("value", "turns"),
    [
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "No"}, PAIR),
        ({"prompt": [USER], "chosen": [ASSISTANT], "rejected": [{"role": "assistant", "content": "No"}]}, (ASK, TELL)),
        ({"prompt": [USER], "chosen": "Hello", "rejected": "No"}, (ASK, TELL)),
        ({"prompt": "Hi", "chosen": [ASSISTANT], "rejected": [{"role": "assistant", "content": "No"}]}, (ASK, TELL)),
        (
            {
                "prompt": "Hi",
                "chosen": [USER, ASSISTANT],
                "rejected": [USER, {"role": "assistant", "content": "No"}],
            },
            (ASK, TELL),
        ),
        ({"chosen": [USER, ASSISTANT], "rejected": [USER, {"role": "assistant", "content": "No"}]}, (ASK, TELL)),
        ({"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "No"}}, (ASK, TELL)),
        (
            {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"},
            (Turn("prompt", "Human: Hi\n\nAssistant:"), Turn("completion", " Hello")),
        ),
    ],
)
def test_preferences_in_all_their_spellings(value: dict[str, Any], turns: tuple[Turn, ...]) -> None:
    raws = [Raw("line 1", value)]
    assert shapes.recognise(raws, "a") == "preference"
    (row,), refused = shapes.read(raws, "preference")
    assert (row.turns, (row.rejected or "").strip(), refused) == (turns, "No", [])


@pytest.mark.parametrize(
    ("value", "turns"),
    [
        ({"prompt": "Hi", "completion": "Hello", "label": False}, PAIR),
        ({"prompt": "Hi", "completion": "Hello", "label": "FALSE"}, PAIR),
        ({"messages": [USER, ASSISTANT], "label": False}, (ASK, TELL)),
    ],
)
def test_rated_answers(value: dict[str, Any], turns: tuple[Turn, ...]) -> None:
    raws = [Raw("line 1", value)]
    assert shapes.recognise(raws, "a") == "kto"
    (row,), _ = shapes.read(raws, "kto")
    assert (row.turns, row.desirable) == (turns, False)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"text": "x", "messages": [USER, ASSISTANT]}, "conversations as TRL.* or plain text"),
        ({"text": "x", "prompt": "Hi", "completion": "Hello"}, "prompt and completion.* or plain text"),
        (
            {"instruction": "x", "output": "y", "prompt": "Hi", "completion": "Hello"},
            "prompt and completion.* or Alpaca",
        ),
        ({"messages": [USER, ASSISTANT], "conversations": [HUMAN, GPT]}, "TRL.* or conversations as ShareGPT"),
        ({"prompt": "p", "completion": "c", "chosen": "a", "rejected": "b"}, "preference pairs.* or prompt"),
    ],
)
def test_an_ambiguous_shape_is_asked_for(value: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        shapes.recognise([Raw("line 1", value)], "a.jsonl")
    assert "--shape" in caught.value.fix


def test_an_unknown_shape_names_the_columns() -> None:
    with pytest.raises(DataError, match=r"has the columns of a\.csv: clause, kind") as caught:
        shapes.recognise([Raw("line 2", {"clause": "x", "kind": "y"})], "a.csv")
    assert "--column" in caught.value.fix
    with pytest.raises(DataError, match="no names at all"):
        shapes.recognise([Raw("line 2", "x")], "a.csv")


def test_the_shape_is_that_of_most_rows_and_others_are_refused() -> None:
    raws = [Raw(f"line {i}", {"prompt": "Hi", "completion": "Hello"}) for i in range(5)]
    raws[1] = Raw("line 1", {"text": "x", "label": "y"})
    assert shapes.recognise(raws, "a") == "prompt-completion"
    kept, refused = shapes.read(raws, "prompt-completion")
    assert len(kept) == 4
    assert [(one.where, one.why) for one in refused] == [("line 1", "it has no prompt")]


def test_h064_a_type_that_changes_late_is_named() -> None:
    raws = [Raw(f"line {i}", {"text": "x", "label": "y"}) for i in range(500)]
    raws.append(Raw("line 500", {"text": ["x"], "label": "y"}))
    kept, refused = shapes.read(raws, "text-label")
    assert (len(kept), [one.why for one in refused]) == (500, ["its text is no text, but list"])


def test_columns_by_other_names() -> None:
    raws = [Raw("line 2", {"clause": "x", "label": "old", "kind": "y"})]
    named = shapes.renamed(raws, {"text": "clause", "label": "kind"}, "a.csv")
    (row,), _ = shapes.read(named, shapes.recognise(named, "a.csv"))
    assert row.turns == (Turn("text", "x"), Turn("label", "y"))
    assert shapes.unused(named, "text-label") == ()
    with pytest.raises(UsageError, match="did you mean 'clause'"):
        shapes.renamed(raws, {"text": "clauses"}, "a.csv")


def test_h068_what_is_shown_of_a_bad_row_can_be_printed() -> None:
    raws = [Raw("line 1", {"text": "by the \ud83d sea", "label": "y"})]
    _, (refused,) = shapes.read(raws, "text-label")
    assert refused.why == "its text holds half a surrogate pair"
    refused.shown.encode()
