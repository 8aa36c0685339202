"""What does not fit the model: refused, or cut on the left and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.engine.fake import FakeLM
from basewright.engine.lm import check_pairs, pair
from basewright.errors import DataError
from basewright.evaluate import asking
from basewright.evaluate.run import run
from basewright.text.tokenizer import open_tokenizer
from tests.evaluate.own import make
from tests.models import TEXTS, tiny_tokenizer

CLASSIFY: dict[str, Any] = {"kind": "classify", "prompt": "T: {text}\nL:", "labels": {"good": "good", "bad": "bad"}}
GENERATE: dict[str, Any] = {"kind": "generate", "prompt": "T: {text}\nL:", "max_tokens": 20}
ROWS = [{"text": f"row {n} " + "x" * (20 * n), "label": "good", "answer": "good"} for n in range(5)]
"""With `T: ` and `\\nL:`, 12 bytes and 20 for each n."""


def test_what_is_too_long_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(DataError, match="longer than the model's context of 90"):
        run(FakeLM("f", context=90), make(CLASSIFY, *ROWS))
    with pytest.raises(DataError, match="longer than the model's context of 110"):  # no room for max_tokens
        run(FakeLM("f", context=110), make(GENERATE, *ROWS))
    run(FakeLM("f", context=97), make(CLASSIFY, *ROWS))  # <end>, 92 of the prompt, 5 of " good", the last not seen
    run(FakeLM("f", context=113), make(GENERATE, *ROWS))


def test_whole_shots_go_first_and_then_tokens_on_the_left() -> None:
    task = make({**CLASSIFY, "overflow": "cut", "shots": 2}, *ROWS)
    shots = [one for one in task.pool if len(one.solved) < 60][:2]
    assert len(shots) == 2
    (longest,) = [one for one in task.questions if len(one.asks[0].prompt) == 92]
    own = longest.asks[0].prompt

    def asked(context: int) -> asking.Prompted:
        return asking.prompted(FakeLM("f", context=context), task.spec, longest, shots)

    whole = "\n\n".join([shots[0].solved, shots[1].solved, own])
    assert asked(len(whole) + 5) == asking.Prompted(longest, (whole,), cut=False)
    assert asked(len(whole) + 4) == asking.Prompted(longest, ("\n\n".join([shots[1].solved, own]),), cut=True)
    assert asked(97) == asking.Prompted(longest, (own,), cut=True)
    assert asked(88) == asking.Prompted(longest, (own[9:],), cut=True)
    with pytest.raises(DataError, match="context of 3"):
        asked(3)


def test_cuts_are_counted_in_how() -> None:
    scores = run(FakeLM("f", context=90), make({**CLASSIFY, "overflow": "cut", "shots": 1}, *ROWS))
    assert 0 < scores.how.cut <= 5
    assert run(FakeLM("f", context=90), make({**GENERATE, "overflow": "cut"}, *ROWS)).how.cut == 2


@given(st.lists(st.sampled_from([*TEXTS, "é", "\n", "  ", "ćwierć!"]), min_size=1, max_size=5), st.integers(12, 60))
def test_what_is_cut_fits_with_any_tokenizer(tokenizer_folder: Path, parts: list[str], context: int) -> None:
    lm = FakeLM("f", context=context, tokenizer=open_tokenizer(tokenizer_folder))
    text = "".join(parts)
    raw = {**CLASSIFY, "prompt": "{text}:", "overflow": "cut"}
    (question,) = make(raw, {"text": text, "label": "good"}).questions
    found = asking.prompted(lm, make(raw, {"text": text, "label": "good"}).spec, question, [])
    (kept,) = found.contexts
    assert question.asks[0].prompt.endswith(kept)
    assert found.cut == (kept != question.asks[0].prompt)
    pairs = [pair(lm.tokenizer, kept, after) for after in question.asks[0].continuations]
    check_pairs(pairs, context)
    longest = max(len(one.context) + len(one.continuation) - 1 for one in pairs)
    assert not found.cut or longest >= context - 6  # a letter may be some bytes, each of them a token


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(folder)
    return folder
