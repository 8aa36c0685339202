"""Real vocabularies against recorded reference ids: llama.cpp's vectors, SharpToken's test plans, SentencePiece.

The vectors' .out files are llama.cpp's, made with each model's own tokenizer: 47 texts a model, no control tokens.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basewright.errors import ModelFileError
from basewright.text import encode
from basewright.text.formats import byte_level, cuts
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.conftest import SHARED

SOURCE = SHARED / "tokenizers"
VECTORS = SOURCE / "llamacpp_vocabs"
Texts = list[tuple[str, list[int]]]
ABSENT = ("chameleon", "command-r", "deepseek-llm", "deepseek-r1-qwen", "qwen2", "roberta-bpe")
"""Models whose vectors are here and whose vocabulary is not."""
VOCABULARIES = {
    "bert-bge (gguf)": ("bert-bge", "llamacpp_vocabs/ggml-vocab-bert-bge.gguf"),
    "falcon (gguf)": ("falcon", "llamacpp_vocabs/ggml-vocab-falcon.gguf"),
    "gpt-2 (gguf)": ("gpt-2", "llamacpp_vocabs/ggml-vocab-gpt-2.gguf"),
    "gpt-2 (encoder.json, vocab.bpe)": ("gpt-2", "gpt2"),
    "llama-spm (gguf)": ("llama-spm", "llamacpp_vocabs/ggml-vocab-llama-spm.gguf"),
    "llama-spm (sentencepiece)": ("llama-spm", "llama2"),
    "llama-bpe (tiktoken)": ("llama-bpe", "llama3"),
}
LOSSLESS = [name for name in VOCABULARIES if not name.startswith("bert")]
EVERY_BYTE = [name for name in LOSSLESS if not name.startswith("falcon")]
"""Falcon's vocabulary has no token for some control characters, and drops them."""
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\N{LOWER ONE EIGHTH BLOCK}"))


def vectors(model: str) -> Texts:
    if not VECTORS.is_dir():
        pytest.skip("shared/data/tokenizers/llamacpp_vocabs is absent")
    texts = (VECTORS / f"ggml-vocab-{model}.gguf.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    lines = (VECTORS / f"ggml-vocab-{model}.gguf.out").read_text("utf-8").split("\n")
    pairs = [(text, [int(i) for i in line.split()]) for text, line in zip(texts, lines, strict=True)]
    assert len(pairs) == 47
    return pairs


@cache
def opened(path: str) -> Tokenizer:
    """A shared vocabulary where it lies."""
    if not (SOURCE / path).exists():
        pytest.skip(f"shared/data/tokenizers/{path} is absent")
    return open_tokenizer(SOURCE / path)


def copied(source: str, folder: Path, name: str) -> Path:
    if not (SOURCE / source).exists():
        pytest.skip(f"shared/data/tokenizers/{source} is absent")
    shutil.copy(SOURCE / source, folder / name)
    return folder


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_47_texts_have_the_reference_ids(name: str) -> None:
    model, path = VOCABULARIES[name]
    pairs, tokenizer = vectors(model), replace(opened(path), bos=False)
    assert [encode.prompt(tokenizer, text) for text, _ in pairs] == [ids for _, ids in pairs]
    assert all(i < tokenizer.size for _, ids in pairs for i in ids)


def test_mpt_has_the_vocabulary_of_gpt_neox(tmp_path: Path) -> None:
    folder = copied("gpt_neox_20b/20B_tokenizer.json", tmp_path, "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    tokenizer = open_tokenizer(folder)
    assert [encode.prompt(tokenizer, text) for text, _ in vectors("mpt")] == [ids for _, ids in vectors("mpt")]


@pytest.mark.parametrize("model", ABSENT)
def test_the_47_texts_of_a_model_without_its_vocabulary(model: str) -> None:
    vectors(model)
    pytest.skip(f"the vocabulary of {model} is not in shared/data/tokenizers; its 47 vectors are not checked")


def test_every_vector_is_checked_or_named() -> None:
    if not VECTORS.is_dir():
        pytest.skip("shared/data/tokenizers/llamacpp_vocabs is absent")
    found = {path.name.removeprefix("ggml-vocab-").removesuffix(".gguf.out") for path in VECTORS.glob("*.out")}
    assert found == {model for model, _ in VOCABULARIES.values()} | {"mpt"} | set(ABSENT)


def test_a_wordpiece_vocab_txt_has_the_ids_of_the_gguf(tmp_path: Path) -> None:
    """BERT's own file, made back from the GGUF."""
    backend = opened("llamacpp_vocabs/ggml-vocab-bert-bge.gguf").backend
    tokens = [str(backend.id_to_token(i)) for i in range(backend.get_vocab_size())]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    tokenizer = open_tokenizer(tmp_path)
    assert [tokenizer.ids(text) for text, _ in vectors("bert-bge")] == [ids for _, ids in vectors("bert-bge")]
    assert (tokenizer.bos, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (True, 101, 102, 0)


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("gpt2", (False, 50256, 50256, 0, 50257)),
        ("llama2", (True, 1, 2, 0, 32000)),
        ("llama3", (True, 128000, 128001, 128004, 128256)),
        ("llamacpp_vocabs/ggml-vocab-falcon.gguf", (False, 11, 11, 0, 65024)),
    ],
)
def test_facts_of_the_real_files(path: str, facts: tuple[bool, int, int, int, int]) -> None:
    found = opened(path)
    assert (found.bos, found.bos_id, found.eos_id, found.pad_id, found.size) == facts


def test_a_gguf_that_does_not_say_how_text_is_cut_is_refused() -> None:
    if not (VECTORS / "ggml-vocab-gpt-neox.gguf").exists():
        pytest.skip("shared/data/tokenizers/llamacpp_vocabs is absent")
    with pytest.raises(ModelFileError, match="it names none"):
        open_tokenizer(VECTORS / "ggml-vocab-gpt-neox.gguf")


# --- SentencePiece itself -------------------------------------------------------------------------

SENTENCEPIECE = {
    "llama2/tokenizer.model": "29ea4853b078cc41b2056c37c0223a4877798ec38ba68de16aa28fca6c40ceb9",
    "mistral/tokenizer.model.v1": "ee04cd9ef9d848328ee178e8babd7622ac29926a04094dca116467f7b10efc33",
    "mistral/tokenizer.model.v3": "b51795ed600860be136bde00c70e7cd025f920cd69f8141669c94b1d05073edd",
    "tinystories_4096/tokenizer_4096.model": "3e8ba045e34cc83e9a1cc11beca1adbfa243b98d838528c8b840445c441268af",
}
"""SHA-256 of the JSON of the ids that sentencepiece 0.2.3 gives for the 47 texts, and for 47 made harder."""


@pytest.mark.parametrize("path", SENTENCEPIECE)
def test_ids_are_those_of_sentencepiece(path: str, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(copied(path, tmp_path, "tokenizer.model"))
    texts = [text for text, _ in vectors("llama-spm")]
    texts += [f"  <s>{text[::-1]}  [INST]\t\N{LOWER ONE EIGHTH BLOCK}{text}[REFERENCE_DOC_1]<0x41> " for text in texts]
    ids = json.dumps([tokenizer.ids(text) for text in texts], separators=(",", ":"))
    assert hashlib.sha256(ids.encode()).hexdigest() == SENTENCEPIECE[path]
    assert tokenizer.bos


# --- tiktoken -------------------------------------------------------------------------------------

RANKS = {
    "r50k_base": ("r50k_base", cuts.CUTS["gpt-2"]),
    "cl100k_base": ("cl100k_base", cuts.CUTS["llama-bpe"]),
    "o200k_base": ("o200k_base", cuts.Cut(steps=(cuts.O200K,), whole=True)),
    "o200k_harmony": ("o200k_base", cuts.Cut(steps=(cuts.O200K,), whole=True)),
}
"""The file of ranks and the published cut (tiktoken_ext/openai_public.py) of each encoding; p50k's ranks are absent."""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", RANKS)
def test_tiktokens_test_plans(encoding: str) -> None:
    name, cut = RANKS[encoding]
    path = SOURCE / "tiktoken" / f"{name}.tiktoken"
    if not path.exists():
        pytest.skip("shared/data/tokenizers/tiktoken is absent")
    ranks = byte_level.read_ranks(path.read_bytes(), name)
    backend = byte_level.from_ranks(ranks, cut, name)
    # Some plans take control tokens spelled in the text for what they spell; here that is never done.
    plans = [(text, ids) for plan, text, ids in _plans() if plan == encoding and max(ids) < len(ranks)]
    assert len(plans) >= 60
    assert [backend.encode(text).ids for text, _ in plans] == [ids for _, ids in plans]


def _plans() -> Iterator[tuple[str, str, list[int]]]:
    plans = (SOURCE / "tiktoken" / "TestPlans.txt").read_text("utf-8")
    for name, text, ids in re.findall(r"EncodingName: (\S+)\nSample: (.*?)\nEncoded: (\[.*?\])", plans, re.DOTALL):
        yield name, text, ast.literal_eval(ids)


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_47_texts_come_back(name: str) -> None:
    model, path = VOCABULARIES[name]
    tokenizer = opened(path)
    assert [tokenizer.text(tokenizer.ids(text)) for text, _ in vectors(model)] == [text for text, _ in vectors(model)]


def _comes_back(name: str) -> Callable[[], None]:
    @given(text=anything)
    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    def check(text: str) -> None:
        tokenizer = opened(VOCABULARIES[name][1])
        assert tokenizer.text(tokenizer.ids(text)) == text

    return check


@pytest.mark.parametrize("name", EVERY_BYTE)
def test_any_text_comes_back(name: str) -> None:
    _comes_back(name)()


@pytest.mark.parametrize("name", VOCABULARIES)
def test_h015_control_tokens_spelled_in_text_stay_text(name: str) -> None:
    tokenizer = opened(VOCABULARIES[name][1])
    control = {
        i: token.content
        for i, token in tokenizer.backend.get_added_tokens_decoder().items()
        if token.special and token.content not in ("[UNK]", "<unk>")
    }
    assert control
    for content in control.values():
        assert not set(control) & set(tokenizer.ids(f"{content} a{content}"))
