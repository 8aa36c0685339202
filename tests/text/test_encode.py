"""The border between prompt and target, BOS and EOS, over tokenizers of all kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basewright.data import rows
from basewright.errors import ModelFileError, UsageError
from basewright.records import Item, Layout, Piece
from basewright.text import encode, layout
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.convert.stories260k import stories260k
from tests.models import END, tiny_tokenizer
from tests.real import rows as real

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "data" / "contract-clauses.jsonl"
FOUNDLINGS = ROOT / "src" / "basewright" / "foundlings"
anything = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module", params=[True, False], ids=["bos", "no bos"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(folder, bos=request.param)
    return open_tokenizer(folder)


def test_facts_are_read(tokenizer: Tokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 0, 1)
    assert encode.start(tokenizer) == ([0] if tokenizer.bos else [])


@given(context=anything, continuation=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_pieces_are_the_whole(tokenizer: Tokenizer, context: str, continuation: str) -> None:
    left, right = encode.pair(tokenizer, context, continuation)
    assert left
    assert tokenizer.text(left) + tokenizer.text(right) == context + continuation or "�" in tokenizer.text(right)
    assert tokenizer.text([*left, *right]) == context + continuation


@given(context=anything.filter(str.strip), continuation=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trailing_spaces_move_to_the_continuation(tokenizer: Tokenizer, context: str, continuation: str) -> None:
    bare = context.rstrip()
    spaces = context[len(bare) :]
    assert encode.pair(tokenizer, context, continuation) == encode.pair(tokenizer, bare, spaces + continuation)


@given(prompt=anything, target=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_h065_every_example_ends_in_a_supervised_eos(tokenizer: Tokenizer, prompt: str, target: str) -> None:
    row = encode.example(tokenizer, prompt, target)
    assert len(row.ids) == len(row.mask)
    assert row.ids[-1] == tokenizer.eos_id
    assert row.mask[-1]
    assert not row.mask[0]
    assert list(row.mask) == sorted(row.mask)


@given(text=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_h015_control_tokens_spelled_in_text_stay_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.ids(f"{text}{END}{text}")
    assert 0 not in ids
    assert tokenizer.text(ids) == f"{text}{END}{text}"


@given(text=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_h074_exactly_the_declared_start(tokenizer: Tokenizer, text: str) -> None:
    assert encode.prompt(tokenizer, text).count(0) == int(tokenizer.bos)
    assert encode.document(tokenizer, text).count(0) == 2


def test_gpt2_ids_equal_the_reference(shared: Path, tmp_path: Path) -> None:
    """llama.cpp's 47 vectors for GPT-2, through a tokenizer.json made from OpenAI's two files."""
    from tokenizers import ByteLevelBPETokenizer

    source, vectors = shared / "tokenizers" / "gpt2", shared / "tokenizers" / "llamacpp_vocabs"
    backend = ByteLevelBPETokenizer(str(source / "encoder.json"), str(source / "vocab.bpe"))
    backend.add_special_tokens([END])
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, "bos_token": END}))
    tokenizer = open_tokenizer(tmp_path)
    texts = (vectors / "ggml-vocab-gpt-2.gguf.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    expected = (vectors / "ggml-vocab-gpt-2.gguf.out").read_text().splitlines()
    pairs = [(text, [int(i) for i in line.split()]) for text, line in zip(texts, expected, strict=False)]
    assert len(pairs) >= 46
    assert [tokenizer.ids(text) for text, _ in pairs] == [ids for _, ids in pairs]
    assert tokenizer.pad_id != tokenizer.eos_id
    assert not tokenizer.bos


def test_a_broken_tokenizer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelFileError, match="cannot be read"):
        open_tokenizer(tmp_path)
    tiny_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelFileError, match="names no EOS token"):
        open_tokenizer(tmp_path)


@given(anything, anything)
def test_a_layout_fills_in_text_and_nothing_else(text: str, shot: str) -> None:
    plain = Layout(prompt="T: {text}\nL:", separator="\n\n")
    solved = Item(id="1", text=shot, label="a")
    assert layout.few_shot(plain, [], text) == f"T: {text}\nL:"
    assert layout.few_shot(plain, [solved], text) == f"T: {shot}\nL: a\n\nT: {text}\nL:"


@pytest.mark.parametrize("prompt", ["", "no place", "{text} {text}"])
def test_a_layout_needs_one_place_for_the_text(prompt: str) -> None:
    with pytest.raises(UsageError, match="exactly once"):
        layout.check(Layout(prompt=prompt, separator=""))


@pytest.mark.parametrize("prompt", ["{text}: ", "{text}\n"])
def test_a_layout_leaves_the_space_to_the_answer(prompt: str) -> None:
    with pytest.raises(UsageError, match="white space"):
        layout.check(Layout(prompt=prompt, separator=""))


@given(prompt=anything, target=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_turn_of_pieces_is_the_example_there_always_was(tokenizer: Tokenizer, prompt: str, target: str) -> None:
    old = old_example(tokenizer, prompt, target)
    assert encode.example(tokenizer, prompt, target) == old
    pieces = (Piece(text=prompt, learned=False), Piece(text=target, learned=True))
    assert encode.pieces(tokenizer, layout.example(pieces)) == old


def old_example(tokenizer: Tokenizer, context: str, continuation: str) -> encode.Encoded:
    """Golden: how an example was encoded before there were pieces, word for word."""
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    head, ids = encode.start(tokenizer), tokenizer.ids
    if not context:
        left, right = head or [tokenizer.eos_id], ids(continuation)
    else:
        alone, whole = ids(context), ids(context + continuation)
        border = len(alone)
        if continuation and border >= len(whole):
            border = max(0, len(whole) - 1)
        left, right = head + whole[:border] or [tokenizer.eos_id], whole[border:]
    supervised = [*right, tokenizer.eos_id]
    return encode.Encoded(ids=tuple(left + supervised), mask=(False,) * len(left) + (True,) * len(supervised))


@pytest.mark.parametrize("model", ["foundling-prose", "foundling-code", "stories260K"])
@pytest.mark.parametrize("name", ["contract clauses", "banking77", "CUAD"])
def test_real_labelled_rows_have_the_ids_they_had(tmp_path: Path, model: str, name: str) -> None:
    """What training and evaluation ask of labelled rows, over byte-level and SentencePiece vocabularies."""
    tokenizer = open_tokenizer(stories260k(tmp_path) if model == "stories260K" else FOUNDLINGS / model)
    found = {"banking77": lambda: real.banking77(20, 20), "CUAD": lambda: real.cuad(8, 30)}.get(name)
    pairs = [(row["text"], row["label"]) for row in found()] if found else []
    pairs = pairs or [(item.text, item.label) for item in rows.read(EXAMPLES)]
    for plain in (Layout(prompt="Clause: {text}\nKind:", separator=""), Layout(prompt="{text} =>", separator="")):
        for text, label in pairs[:400]:
            item = Item(id="1", text=text, label=label)
            old = old_example(tokenizer, layout.prompt(plain, text), layout.target(label))
            assert encode.pieces(tokenizer, layout.labelled(plain, item)) == old
            asked, answered = encode.pair(tokenizer, layout.prompt(plain, text), layout.target(label))
            assert (*asked, *answered, tokenizer.eos_id) == old.ids


@given(texts=st.lists(anything.filter(str.strip), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_answer_of_a_conversation_is_learned_with_its_own_end(tokenizer: Tokenizer, texts: list[str]) -> None:
    turns = [turn for text in texts for turn in (layout.Turn("user", text), layout.Turn("assistant", text))]
    row = encode.pieces(tokenizer, layout.example(layout.plain(turns, "")))
    learned = tokenizer.text([i for i, m in zip(row.ids, row.mask, strict=True) if m and i != tokenizer.eos_id])
    assert learned == "".join(layout.spaced("Assistant:", text) for text in texts) or "�" in learned
    assert sum(m and i == tokenizer.eos_id for i, m in zip(row.ids, row.mask, strict=True)) == len(texts)
    assert row.ids.count(tokenizer.eos_id) == len(texts) + int(tokenizer.bos)
    assert not row.mask[0]


def test_a_text_that_goes_on_teaches_no_stop(tokenizer: Tokenizer) -> None:
    pieces = (Piece(text="one clock", learned=True),)
    whole, part = (encode.pieces(tokenizer, layout.example(pieces, ends)) for ends in (True, False))
    assert part.ids == whole.ids[:-1]
    assert whole.ids == tuple(encode.document(tokenizer, "one clock"))


def test_a_conversation_in_words_a_base_model_knows() -> None:
    turns = [layout.Turn("system", "Be brief."), layout.Turn("user", "Hi {text}"), layout.Turn("assistant", "Hello")]
    assert [(piece.text, piece.learned) for piece in layout.plain(turns, "")] == [
        ("Be brief.\n\n", False),
        ("User: Hi {text}\nAssistant:", False),
        (" Hello", True),
    ]


@pytest.mark.parametrize("pattern", ["no place", "{text} {text}", "{prompt}", "{text}\n"])
def test_a_pattern_has_one_place(pattern: str) -> None:
    with pytest.raises(UsageError):
        layout.check_pattern(pattern, "text")
