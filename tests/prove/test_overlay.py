"""What is learned can be told from what is not, in the terminal without colour and on a page without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basewright.prove.overlay import html, overlay, terminal
from basewright.text import encode, layout
from basewright.text.layout import Turn
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.convert.stories260k import stories260k
from tests.models import END, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(folder)
    return open_tokenizer(folder)


def shown(tokenizer: Tokenizer, *answers: str) -> str:
    turns = [turn for answer in answers for turn in (Turn("user", "Größe?"), Turn("assistant", answer))]
    return terminal(overlay("x", encode.pieces(tokenizer, layout.example(layout.plain(turns, ""))), tokenizer), False)


def test_the_terminal_has_brackets_around_what_is_learned(tokenizer: Tokenizer) -> None:
    asked = "User: Größe?\nAssistant:"
    assert shown(tokenizer, "naïve 🙂", "Ja.") == f"{END}{asked}[ naïve 🙂{END}]{asked}[ Ja.{END}]"


def test_colour_changes_nothing_but_colour(tokenizer: Tokenizer) -> None:
    row = overlay("x", encode.example(tokenizer, "Where?", " Here."), tokenizer)
    coloured = terminal(row, True)
    assert coloured.startswith("\x1b[2m")
    for code in ("\x1b[2m", "\x1b[1;32m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == terminal(row, False)


def test_spaces_stay_where_a_decoder_takes_off_the_first(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(stories260k(tmp_path))
    assert "User: Größe?\nAssistant:[ Once upon a time" in shown(tokenizer, "Once upon a time")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_tokens_make_the_text(tokenizer: Tokenizer, text: str) -> None:
    row = encode.example(tokenizer, "Say:", text)
    tokens = overlay("x", row, tokenizer).tokens
    assert len(tokens) == len(row.ids)
    assert "".join(piece for piece, _ in tokens) == f"{END}Say:{text}{END}"


def test_the_page_is_complete_in_itself_and_text_in_it_is_text(tokenizer: Tokenizer) -> None:
    row = encode.example(tokenizer, "Say <script>alert(1)</script>:", " <b>")
    page = html([overlay("row <1>", row, tokenizer)])
    assert page.count("<script") == page.count("<b>") == page.count("http") == 0
    assert page.count("<ins>") == sum(row.mask)
    assert "row &lt;1&gt;" in page
