"""Reading on from the text before gives the ids of reading whole, for every kind of tokenizer."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.text.reading import Reader
from basewright.text.tokenizer import Tokenizer

GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
TEXT = (
    "She sells sea shells, doesn't she?  12345 shells\n\n\n   by the   sea shore.\r\n\t"
    "Été naïve 日本語 \N{GRINNING FACE}!! "
)
PARTS = st.lists(
    st.sampled_from([*"ab 's1é\n\r\t.日", "  ", "sea", " shells", "\N{GRINNING FACE}", "e\u0301"]), max_size=30
)


@cache
def made(kind: str) -> Tokenizer:
    from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    splits: dict[str, Any] = {
        "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "spaces added": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "prefix space": pre_tokenizers.ByteLevel(add_prefix_space=True),
        "llama3": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        "nfc": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(GPT2), "isolated"),
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        "metaspace": pre_tokenizers.Metaspace(),
    }
    backend = Backend(models.BPE(unk_token="?"))
    backend.pre_tokenizer = splits[kind]
    if kind == "nfc":
        backend.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|end|>", "?"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT] * 4, trainer)
    if kind == "spaces added":
        backend.add_tokens([AddedToken(" " * n, normalized=False) for n in range(2, 9)])
    backend.encode_special_tokens = True
    return Tokenizer(backend=backend, bos=False, bos_id=None, eos_id=0, pad_id=1, size=backend.get_vocab_size())


KINDS = ("gpt2", "spaces added", "prefix space", "llama3", "nfc", "metaspace")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), PARTS), min_size=1, max_size=6))
def test_ids_are_those_of_the_whole_text(kind: str, steps: list[tuple[int, list[str]]]) -> None:
    tokenizer = made(kind)
    reader = Reader(tokenizer)
    text = TEXT
    for kept, parts in steps:
        text = text[: len(text) - kept] + "".join(parts)
        assert reader.ids(text) == tokenizer.ids(text)


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "nfc", "spaces added"])
def test_what_was_read_before_is_not_read_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = made(kind)
    reader = Reader(tokenizer)
    start = TEXT.replace("é", "e") * 20
    reader.ids(start)
    read: list[int] = []

    class Counting:
        def encode(self, text: str, add_special_tokens: bool) -> Any:
            read.append(len(text))
            return tokenizer.backend.encode(text, add_special_tokens=add_special_tokens)

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer.backend, name)

    monkeypatch.setattr(reader, "_tokenizer", Tokenizer(Counting(), False, None, 0, 1, 340))  # type: ignore[arg-type]
    assert reader.ids(start + " sea") == tokenizer.ids(start + " sea")
    assert reader.ids(start + " shore") == tokenizer.ids(start + " shore")
    assert max(read) < 30


def test_an_alphabet_with_holes_is_read_whole() -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    backend = Backend(models.BPE(vocab={"<?>": 0, "a": 1, "b": 2, "Ġ": 3}, merges=[], unk_token="<?>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(backend=backend, bos=False, bos_id=None, eos_id=0, pad_id=1, size=4)
    reader = Reader(tokenizer)
    for text in ("ab ab", "ab ab abc ab", "ab ab abc ab aaa", "a"):
        assert reader.ids(text) == tokenizer.ids(text)
