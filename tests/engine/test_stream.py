"""Streaming: whole characters, stop texts never shown, and the same text however the tokens fall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from basewright.engine import stream
from basewright.engine.fake import bytes_tokenizer
from basewright.engine.lm import Piece, Sampling, Token
from basewright.text.tokenizer import Tokenizer

ALPHABET = "ab \né\N{GRINNING FACE}\N{REPLACEMENT CHARACTER}"
texts = st.text(ALPHABET, max_size=24)
stop_sets = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4).map(tuple)


@cache
def words_tokenizer() -> Tokenizer:
    """Tokens of one to three characters of `ALPHABET`, so that a text has many tokenizations; 0 is EOS."""
    names = ["</s>", *(a + b + c for a in ALPHABET for b in ("", *ALPHABET) for c in ("", "a", "é"))]
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    backend = Backend(models.WordLevel(vocabulary, unk_token="</s>"))
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(["</s>"])
    return Tokenizer(backend=backend, bos=False, bos_id=None, eos_id=0, pad_id=1, size=len(vocabulary))


def run(
    tokenizer: Tokenizer, ids: Sequence[int], stops: tuple[str, ...] = (), prompt: Sequence[int] = ()
) -> list[Piece]:
    tokens = (Token(i, tokenizer.pieces([i])[0], -1.0) for i in ids)
    return list(stream.pieces(tokenizer, prompt, tokens, Sampling(stops=stops)))


def reference(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """Read character by character: the answer ends before the first stop text that is complete."""
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            return text[: end - max(map(len, done))], True
    return text, False


def check(pieces: list[Piece], text: str, stops: tuple[str, ...]) -> None:
    expected, stopped = reference(text, stops)
    assert "".join(piece.text for piece in pieces) == expected
    assert "".join(token.text for piece in pieces for token in piece.tokens) == expected
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert (pieces[-1].finish == "stop") == stopped
    shown = ""
    for piece in pieces:
        shown += piece.text
        assert expected.startswith(shown)  # nothing is shown that would have to be taken back
        assert not any(stop in shown for stop in stops)


@given(texts, stop_sets)
def test_h093_byte_tokens_never_show_a_stop_text(text: str, stops: tuple[str, ...]) -> None:
    tokenizer = bytes_tokenizer()
    check(run(tokenizer, tokenizer.ids(text), stops), text, stops)


@given(st.data(), stop_sets)
def test_h093_the_text_is_the_same_however_tokens_split_it(data: st.DataObject, stops: tuple[str, ...]) -> None:
    tokenizer = words_tokenizer()
    ids = data.draw(st.lists(st.integers(1, tokenizer.size - 1), max_size=12))
    check(run(tokenizer, ids, stops), tokenizer.text(ids), stops)


@given(st.lists(st.integers(0, 255), max_size=30), stop_sets)
def test_h092_any_bytes_join_to_the_text_of_all_ids(ids: list[int], stops: tuple[str, ...]) -> None:
    tokenizer = bytes_tokenizer()
    check(run(tokenizer, ids, stops), tokenizer.text(ids), stops)


@given(st.text(max_size=8))
def test_h092_only_whole_characters_are_shown(text: str) -> None:
    tokenizer = bytes_tokenizer()
    pieces = run(tokenizer, tokenizer.ids(text))
    assert all(set(piece.text) <= set(text) for piece in pieces)
    assert [letter for piece in pieces for letter in piece.text] == list(text)


def test_h093_a_stop_that_ends_in_a_letter_of_two_bytes() -> None:
    """Its beginning must wait also while its last letter is half there."""
    tokenizer = bytes_tokenizer()
    pieces = run(tokenizer, tokenizer.ids("x abé y"), ("abé",))
    assert [piece.text for piece in pieces if piece.text] == ["x", " "]
    assert pieces[-1].finish == "stop"


def test_tokens_come_with_their_text() -> None:
    tokenizer = bytes_tokenizer()
    pieces = run(tokenizer, tokenizer.ids("a\N{GRINNING FACE}b"), ("bcd",))
    assert [token.text for piece in pieces for token in piece.tokens] == ["a", "", "", "", "\N{GRINNING FACE}", "b"]


def test_eos_ends_the_answer_and_is_no_part_of_it() -> None:
    tokenizer = bytes_tokenizer()
    pieces = run(tokenizer, [*tokenizer.ids("ab"), tokenizer.eos_id, *tokenizer.ids("cd")], ("bx",))
    assert "".join(piece.text for piece in pieces) == "ab"
    assert [token.id for piece in pieces for token in piece.tokens] == tokenizer.ids("ab")
    assert pieces[-1].finish == "stop"


def test_a_decoder_that_strips_the_first_space_strips_none_of_an_answer() -> None:
    """SentencePiece tokenizers take the space off a first word; an answer is not the first word."""
    backend = Backend(models.WordLevel({"</s>": 0, "▁Paris": 1, "▁is": 2, "▁in": 3, "▁France": 4}, unk_token="</s>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = Tokenizer(backend=backend, bos=False, bos_id=None, eos_id=0, pad_id=1, size=5)
    pieces = run(tokenizer, [2, 3, 4], prompt=[1])
    assert "".join(piece.text for piece in pieces) == " is in France"


def test_pieces_come_as_the_tokens_do() -> None:
    tokenizer = bytes_tokenizer()
    drawn: list[int] = []

    def tokens() -> Iterator[Token]:
        for i in tokenizer.ids("abcdef"):
            drawn.append(i)
            yield Token(i, "", -1.0)

    pieces = stream.pieces(tokenizer, (), tokens(), Sampling(stops=("xyz",)))
    next(pieces)
    assert len(drawn) == 1


@pytest.mark.parametrize("held", ["a", "ab", "abc"])
def test_a_held_beginning_is_shown_when_the_answer_ends(held: str) -> None:
    tokenizer = bytes_tokenizer()
    assert "".join(piece.text for piece in run(tokenizer, tokenizer.ids("x" + held), ("abcd",))) == "x" + held
