"""From rows to what is learned: the ledger closes, duplicates go, long rows follow the policy and lose no answer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.data import files, hints, near, prepare, shapes, split
from basewright.data.files import Raw, Source
from basewright.data.prepare import Options, Prepared
from basewright.errors import UsageError
from basewright.records import Example, Preference, Rated
from basewright.text import encode
from basewright.text.layout import Turn
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.models import tiny_tokenizer

WORDS = [f"word{i}" for i in range(300)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(folder)
    return open_tokenizer(folder)


def run(rows: list[dict[str, Any]], tokenizer: Tokenizer, context: int = 200, **options: Any) -> Prepared:
    source = Source("rows.jsonl", "JSON lines", tuple(Raw(f"line {i}", row) for i, row in enumerate(rows, start=1)))
    return prepare.prepare(source, tokenizer, context, Options(**options))


def fates(made: Prepared) -> dict[str, int]:
    found = {
        what: made.ledger.rows(what) for what in ("used", "cut", "split", "refused", "duplicate", "near-duplicate")
    }
    assert sum(found.values()) == made.ledger.read
    return {what: count for what, count in found.items() if count}


def words(seed: int, count: int = 20) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def test_h062_every_row_has_one_fate(tokenizer: Tokenizer) -> None:
    rows: list[dict[str, Any]] = [{"prompt": words(i), "completion": words(i + 100, 5)} for i in range(6)]
    rows += [
        rows[0],
        {"prompt": words(1).upper(), "completion": words(101, 5)},
        {"prompt": words(2) + " more", "completion": words(102, 5)},
        {"prompt": words(7)},
        {"prompt": words(8), "completion": ""},
        {"prompt": words(9, 200), "completion": "short"},
    ]
    made = run(rows, tokenizer, long="cut")
    assert fates(made) == {"used": 6, "cut": 1, "refused": 2, "duplicate": 2, "near-duplicate": 1}
    whys = {fate.why: fate.examples for fate in made.ledger.fates}
    assert whys["the same as an earlier row"][0].startswith("line 7 and line 1: ")
    assert whys["it has no completion"][0].startswith("line 10: it has no completion: ")
    assert all(len(fate.examples) <= 3 for fate in made.ledger.fates)


def test_near_rows_stay_if_asked_for_and_where_the_answer_differs(tokenizer: Tokenizer) -> None:
    rows = [
        {"text": words(1), "label": "a"},
        {"text": words(1) + " more", "label": "a"},
        {"text": words(1) + " less", "label": "b"},
    ]
    assert fates(run(rows, tokenizer)) == {"used": 2, "near-duplicate": 1}
    made = run(rows, tokenizer, keep_near=True)
    assert fates(made) == {"used": 3}
    assert [row.where for row in made.rows] == ["line 1", "line 2", "line 3"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_no_row_is_near_another_by_estimate_alone(seed: int, share: float) -> None:
    """MinHash proposes, the similarity decides: nothing below SIMILAR is dropped."""
    draw = random.Random(seed)
    base = draw.choices(WORDS, k=30)
    other = [draw.choice(WORDS) if draw.random() < share else word for word in base]
    pair = [shapes.Row(f"line {i}", (Turn("text", " ".join(one)),)) for i, one in enumerate((base, other))]
    kept, equal, alike = near.deduplicate(pair)
    first, second = (split.shingles(row.answer) for row in pair)
    similar = len(first & second) / len(first | second) >= split.SIMILAR
    assert len(kept) + len(equal) + len(alike) == 2
    assert not alike or similar
    if similar and len(first & second) / len(first | second) > 0.9:
        assert len(kept) == 1


def test_h078_a_form_that_all_rows_share_is_no_overlap() -> None:
    form = "Below is an instruction that describes a task. Write a response that completes the request. Now: "
    rows = [shapes.Row(f"line {i}", (Turn("prompt", form + words(i)), Turn("completion", "x"))) for i in range(40)]
    assert near.overlap(rows[:30], rows[30:]) == []
    copied = shapes.Row(
        "line 99", (Turn("prompt", f"{form}{words(50, 9)} {words(4)} {words(51, 9)}"), Turn("completion", "y"))
    )
    assert [(twin.row.where, twin.first.where) for twin in near.overlap(rows[:30], [copied])] == [("line 99", "line 4")]


# --- long rows ------------------------------------------------------------------------------------


def test_long_rows_are_refused_by_default_and_named(tokenizer: Tokenizer) -> None:
    made = run([{"prompt": "a b", "completion": "c"}, {"prompt": words(1, 200), "completion": "d"}], tokenizer)
    assert fates(made) == {"used": 1, "refused": 1}
    assert [one.where for one in made.too_long] == ["line 2"]
    assert "longer than 200 tokens" in made.too_long[0].why


def test_cutting_takes_as_little_as_possible_and_never_of_an_answer(tokenizer: Tokenizer) -> None:
    text = words(1, 200)
    made = run([{"text": text, "label": "the whole label"}], tokenizer, long="cut")
    (one,) = made.taught
    assert isinstance(one, Example)
    assert one.pieces[-1].text == " the whole label"
    cut = one.pieces[0].text
    head, tail = cut.removeprefix("Text: ").removesuffix("\nLabel:").split(prepare.GAP)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert 190 <= len(encode.pieces(tokenizer, one).ids) <= 200


def test_an_answer_that_is_too_long_is_refused_whatever_the_policy(tokenizer: Tokenizer) -> None:
    rows = [{"prompt": "a", "completion": words(1, 200)}, {"prompt": "b", "chosen": "c", "rejected": words(2, 200)}]
    for row in rows:
        made = run([row], tokenizer, long="cut")
        assert fates(made) == {"refused": 1}
        assert "although all that is asked was cut" in made.too_long[0].why


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), room=st.integers(8, 40))
def test_windows_are_the_text(tokenizer: Tokenizer, text: str, room: int) -> None:
    parts = list(prepare.windows(text * 5, room, tokenizer))
    assert "".join(parts) == text * 5
    assert all(parts)
    assert all(len(tokenizer.ids(part)) <= room or len(part) == 1 for part in parts)


def test_a_split_text_stops_once(tokenizer: Tokenizer) -> None:
    made = run([{"text": "\n".join(words(i) for i in range(20))}], tokenizer, long="split")
    assert fates(made) == {"split": 1}
    assert [one.ends for one in made.taught if isinstance(one, Example)] == [False] * (len(made.taught) - 1) + [True]
    assert all(len(row.ids) <= 200 for row in prepare.encoded(made.taught, tokenizer))
    with pytest.raises(UsageError, match="is for plain text"):
        run([{"prompt": "a", "completion": "b"}], tokenizer, long="split")


# --- what is taught -------------------------------------------------------------------------------


def test_preferences_and_ratings_keep_prompt_and_answers_apart(tokenizer: Tokenizer) -> None:
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And?"},
    ]
    sides = {"chosen": [{"role": "assistant", "content": "Yes"}], "rejected": [{"role": "assistant", "content": "No"}]}
    (pair,) = run([{"prompt": talk, **sides}], tokenizer).taught
    assert isinstance(pair, Preference)
    assert pair.prompt == "User: Hi\nAssistant: Hello\nUser: And?\nAssistant:"
    assert (pair.chosen, pair.rejected) == (" Yes", " No")
    (rated,) = run([{"prompt": "Q: Hi\nA:", "completion": "Hello", "label": True}], tokenizer).taught
    assert isinstance(rated, Rated)
    assert (rated.prompt, rated.completion, rated.desirable) == ("Q: Hi\nA:", " Hello", True)
    assert len(prepare.encoded([pair, rated], tokenizer)) == 3


def test_a_layout_of_ones_own(tokenizer: Tokenizer) -> None:
    (one,) = run([{"prompt": "Why?", "completion": "So."}], tokenizer, layout="Q: {prompt}\nA:").taught
    assert isinstance(one, Example)
    assert [piece.text for piece in one.pieces] == ["Q: Why?\nA:", " So."]
    with pytest.raises(UsageError, match=r"must hold \{text\}"):
        run([{"text": "x", "label": "y"}], tokenizer, layout="{prompt}:")
    with pytest.raises(UsageError, match="layout of their own"):
        run([{"messages": []}], tokenizer, layout="{prompt}:")


# --- hints ----------------------------------------------------------------------------------------

PLANTED = {
    "e-mail address": ["jo.smith+x@mail.example.co.uk", "a_b@x.org"],
    "phone number": ["+44 20 7946 0958", "(212) 555-0187", "212-555-0187"],
    "card number": ["4111 1111 1111 1111", "5500-0000-0000-0004"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "social security number": ["123-45-6789"],
    "private key": ["-----BEGIN RSA PRIVATE KEY-----"],
    "access key": ["AKIA" + "ABCDEFGH12345678", "ghp_" + "a1B2" * 9, "sk-" + "x9" * 16, "hf_" + "Zz" * 17],
    "network address": ["203.0.113.7"],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in PLANTED.items() for value in values])
def test_h071_a_planted_value_is_seen_and_not_shown(kind: str, value: str) -> None:
    rows = [shapes.Row("line 1", (Turn("text", f"Write to {value}, or do not."),))]
    found = {hint.kind: hint for hint in hints.hints(rows)}
    assert found[kind].rows == 1
    shown = "".join(found[kind].examples)
    assert value not in shown
    assert value[1:9] not in shown


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "1 + 2 - 3 = 0 in 2024-05-17",
        "version 1.2.3",
        "$12,345.67 at 10:30",
        "127.0.0.1",
        "DE12 years",
    ],
)
def test_ordinary_numbers_are_no_hints(text: str) -> None:
    assert hints.hints([shapes.Row("line 1", (Turn("text", text),))]) == ()


def test_rows_of_the_projects_own_example(tokenizer: Tokenizer) -> None:
    path = Path(__file__).parents[2] / "examples" / "data" / "contract-clauses.jsonl"
    made = prepare.prepare(files.read(path), tokenizer, 1024, Options())
    assert made.shape == "text-label"
    assert made.ledger.rows("used") == made.ledger.read == 1120
    assert sum(made.labels.values()) == 1120
