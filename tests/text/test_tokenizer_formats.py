"""Each format a vocabulary comes in, against plain reference algorithms and against tokenizer.json of the same."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basewright.errors import DataError, ModelFileError
from basewright.text import encode
from basewright.text.formats import byte_level, cuts, shared
from basewright.text.formats.pieces import SPACE, Piece, check_charsmap
from basewright.text.formats.shared import CONTROL, NORMAL, UNUSED, USER_DEFINED
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.models import END, TEXTS, tiny_tokenizer
from tests.text.vocabularies import (
    BPE,
    UNIGRAM,
    bpe_reference,
    model_bytes,
    pieces,
    rank_file,
    rank_reference,
    ranks,
    unigram_reference,
    write_config,
    write_gguf,
    write_pieces,
    write_words,
)

VOCABULARY = pieces()
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
familiar = st.text(st.sampled_from(sorted(set("".join(TEXTS)) | {"あ", "\t"})), max_size=40)
SPELLED = ("<s>", "</s>", "[INST]", "<unk>", "<0x41>", END, "[CLS]", "[SEP]", "<|begin_of_text|>")
slow_fixture = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True, deadline=None, max_examples=150
)


def two_files(folder: Path, names: tuple[str, str] = ("vocab.json", "merges.txt")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    backend = tiny_tokenizer(folder)
    backend.model.save(str(folder))
    for old, new in zip(("vocab.json", "merges.txt"), names, strict=True):
        (folder / old).rename(folder / new)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    return folder


def gpt2_keys(folder: Path) -> dict[str, Any]:
    """The keys of the tiny byte-level tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = json.loads(tiny_tokenizer(folder).to_str())
    tokens = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    kinds = [CONTROL if i < 2 else NORMAL for i in range(len(tokens))]
    merges = [" ".join(pair) for pair in spec["model"]["merges"]]
    ids = {"bos_token_id": 0, "eos_token_id": 0, "padding_token_id": 1}
    return {"pre": "gpt-2", "tokens": tokens, "token_type": kinds, "merges": merges, **ids}


def llama_keys() -> dict[str, Any]:
    return {
        "tokens": [piece.text for piece in VOCABULARY],
        "scores": [piece.score for piece in VOCABULARY],
        "token_type": [piece.kind for piece in VOCABULARY],
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def open_ranks(folder: Path, patch: pytest.MonkeyPatch) -> Tokenizer:
    """The tiktoken reader on a small file, taken for Llama 3's."""
    data = rank_file(RANKS)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(data)
    patch.setattr(byte_level, "LLAMA3", hashlib.sha256(data).hexdigest())
    return open_tokenizer(folder)


def unigram_pieces() -> list[Piece]:
    """Scores that make no two cuts equal."""
    plain = pieces(byte_fallback=False)
    return [
        p if p.kind != NORMAL else Piece(text=p.text, score=-3.0 - 0.0137 * i**1.01 + 0.9 * len(p.text), kind=NORMAL)
        for i, p in enumerate(plain)
    ]


UNIGRAM_VOCABULARY, RANKS = unigram_pieces(), ranks()
READERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Tokenizer]] = {
    "vocab.json": lambda folder, _: open_tokenizer(two_files(folder)),
    "encoder.json": lambda folder, _: open_tokenizer(two_files(folder, ("encoder.json", "vocab.bpe"))),
    "sentencepiece": lambda folder, _: open_tokenizer(write_pieces(folder, model_bytes(VOCABULARY))),
    "no prefix": lambda folder, _: open_tokenizer(write_pieces(folder, model_bytes(VOCABULARY, prefix=False))),
    "unigram": lambda folder, _: open_tokenizer(write_pieces(folder, model_bytes(UNIGRAM_VOCABULARY, kind=UNIGRAM))),
    "tiktoken": open_ranks,
    "wordpiece": lambda folder, _: open_tokenizer(write_words(folder)),
    "gguf gpt2": lambda folder, _: open_tokenizer(
        write_gguf(folder / "a.gguf", "gpt2", gpt2_keys(folder / "tiny")).parent
    ),
    "gguf llama": lambda folder, _: open_tokenizer(write_gguf(folder / "a.gguf", "llama", llama_keys())),
}
LOSSLESS = ("vocab.json", "encoder.json", "sentencepiece", "no prefix", "tiktoken", "gguf gpt2", "gguf llama")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    with pytest.MonkeyPatch.context() as patch:
        return {name: read(tmp_path_factory.mktemp("vocabulary"), patch) for name, read in READERS.items()}


# --- ids ------------------------------------------------------------------------------------------


@given(text=familiar | anything)
@slow_fixture
def test_sentencepiece_bpe_is_the_reference(readers: dict[str, Tokenizer], text: str) -> None:
    expected = bpe_reference(VOCABULARY, text)
    assert readers["sentencepiece"].ids(text) == expected
    assert readers["gguf llama"].ids(text) == expected


@given(text=familiar)
@slow_fixture
def test_unigram_takes_the_best_cut(readers: dict[str, Tokenizer], text: str) -> None:
    vocabulary = UNIGRAM_VOCABULARY
    unknown = min(piece.score for piece in vocabulary) - 10
    ids = readers["unigram"].ids(text)
    if 0 in ids:  # neighbouring unknown characters come out as one id, so the score does not follow from the ids
        return
    assert all(vocabulary[i].score > unknown for i in ids)
    assert sum(vocabulary[i].score for i in ids) == pytest.approx(unigram_reference(vocabulary, text), abs=1e-4)
    assert readers["unigram"].text(ids) == text


@given(text=familiar | anything)
@slow_fixture
def test_tiktoken_is_the_reference(readers: dict[str, Tokenizer], text: str) -> None:
    tokenizer, table = readers["tiktoken"], RANKS
    cut = tokenizer.backend.pre_tokenizer.pre_tokenize_str
    words = [text[begin:end] for _, (begin, end) in cut(text)] if text.isascii() else []
    if words:
        assert tokenizer.ids(text) == [i for word in words for i in rank_reference(table, word.encode())]
    assert b"".join(sorted(table, key=table.__getitem__)[i] for i in tokenizer.ids(text)) == text.encode()


@given(text=familiar | anything)
@slow_fixture
def test_byte_level_files_and_gguf_are_one_tokenizer(
    readers: dict[str, Tokenizer], tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    expected = _tiny(tmp_path_factory).ids(text)
    assert all(readers[name].ids(text) == expected for name in ("vocab.json", "encoder.json", "gguf gpt2"))


_kept: list[Tokenizer] = []


def _tiny(factory: pytest.TempPathFactory) -> Tokenizer:
    if not _kept:
        folder = factory.mktemp("tiny")
        tiny_tokenizer(folder)
        _kept.append(open_tokenizer(folder))
    return _kept[0]


def test_wordpiece(readers: dict[str, Tokenizer], tmp_path: Path) -> None:
    tokenizer = readers["wordpiece"]
    names = [tokenizer.backend.id_to_token(i) for i in tokenizer.ids("The CLOCK naïvely; struck")]
    assert names == ["the", "clock", "n", *["##a", "##i", "##v", "##e", "##l", "##y"], "[UNK]", "struck"]
    assert tokenizer.text(tokenizer.ids("the clock struck")) == "the clock struck"
    lines = (write_words(tmp_path) / "vocab.txt").read_text().splitlines()
    (tmp_path / "vocab.txt").write_text("\n".join([*lines, "The"]) + "\n")
    cased = open_tokenizer(tmp_path)
    assert cased.ids("The") == [len(lines)]
    write_config(tmp_path, do_lower_case=True, tokenizer_class="BertTokenizer")
    assert open_tokenizer(tmp_path).ids("The") == [lines.index("the")]


def test_a_gguf_of_bert_has_the_ids_of_its_vocab_txt(tmp_path: Path, readers: dict[str, Tokenizer]) -> None:
    tokens = (write_words(tmp_path) / "vocab.txt").read_text().splitlines()
    spelled = [
        t if t[0] == "[" and t[-1] == "]" and len(t) > 1 else t[2:] if t[:2] == "##" else SPACE + t for t in tokens
    ]
    spelled = [SPACE + t if t in ("[", "]") else t for t in spelled]
    kinds = [CONTROL if i < 5 else NORMAL for i in range(len(tokens))]
    tokenizer = open_tokenizer(write_gguf(tmp_path / "b.gguf", "bert", {"tokens": spelled, "token_type": kinds}))
    for text in TEXTS:
        assert tokenizer.ids(text) == readers["wordpiece"].ids(text)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (2, 3, 0)


def test_spaces_as_the_model_says(tmp_path: Path) -> None:
    squeezed = open_tokenizer(write_pieces(tmp_path / "a", model_bytes(VOCABULARY, squeeze=True)))
    for text in ("  the  old   clock ", "the old clock", f"the old  clock {SPACE} "):
        assert squeezed.ids(text) == bpe_reference(VOCABULARY, "the old clock")
    assert squeezed.ids("   ") == squeezed.ids("") == []
    bare = open_tokenizer(write_pieces(tmp_path / "b", model_bytes(VOCABULARY, prefix=False)))
    assert bare.ids(" the old") == bpe_reference(VOCABULARY, "the old")
    assert bare.text(bare.ids(" the old")) == " the old"


def test_user_defined_pieces_are_found_in_text(tmp_path: Path) -> None:
    user = [Piece(text=text, score=0.0, kind=USER_DEFINED) for text in ("[DOC_1]", "[DOC_11]")]
    one, eleven = len(VOCABULARY), len(VOCABULARY) + 1
    for prefix in (True, False):
        folder = write_pieces(tmp_path / str(prefix), model_bytes([*VOCABULARY, *user], prefix=prefix))
        tokenizer = open_tokenizer(folder)
        ids = tokenizer.ids("[DOC_1]the [DOC_11] clock")
        assert [i for i in ids if i >= one] == [one, eleven]
        assert tokenizer.text(ids) == "[DOC_1]the [DOC_11] clock"
        assert tokenizer.ids("[DOC_1]") == [one]


# --- facts ----------------------------------------------------------------------------------------


def test_facts_come_from_the_vocabularys_own_file(readers: dict[str, Tokenizer]) -> None:
    first = len(RANKS)
    facts = {name: (t.bos, t.bos_id, t.eos_id, t.pad_id) for name, t in readers.items()}
    assert facts["sentencepiece"] == facts["unigram"] == facts["gguf llama"] == (True, 1, 2, 0)
    assert facts["vocab.json"] == facts["encoder.json"] == (False, 0, 0, 1)
    assert facts["tiktoken"] == (True, first, first + 1, first + 4)
    assert facts["wordpiece"] == (True, 2, 3, 0)
    assert facts["gguf gpt2"] == (False, 0, 0, 1)
    assert readers["tiktoken"].size == first + 256
    assert readers["sentencepiece"].size == len(VOCABULARY)


def test_tokenizer_config_names_other_facts(tmp_path: Path) -> None:
    folder = write_pieces(tmp_path, model_bytes(VOCABULARY))
    write_config(folder, add_bos_token=False, eos_token={"content": "[INST]"}, tokenizer_class="LlamaTokenizerFast")
    tokenizer = open_tokenizer(folder)
    assert (tokenizer.bos, tokenizer.bos_id, tokenizer.eos_id) == (False, 1, 3)
    assert encode.prompt(tokenizer, "the") == tokenizer.ids("the")


def test_added_tokens_get_the_ids_they_were_given(tmp_path: Path) -> None:
    folder, size = write_pieces(tmp_path, model_bytes(VOCABULARY)), len(VOCABULARY)
    added = {"1": {"content": "<s>", "special": True}, str(size): {"content": "<pad>", "special": True}}
    write_config(folder, added_tokens_decoder=added, pad_token="<pad>")
    tokenizer = open_tokenizer(folder)
    assert (tokenizer.pad_id, tokenizer.size) == (size, size + 1)
    assert size not in tokenizer.ids("<pad>")
    write_config(folder, added_tokens_decoder={str(size + 7): {"content": "<pad>", "special": True}})
    with pytest.raises(ModelFileError, match="cannot have the id"):
        open_tokenizer(folder)
    write_config(folder, added_tokens_decoder={str(size): {"content": "<tool>", "special": False}})
    with pytest.raises(ModelFileError, match="neither special nor a piece"):
        open_tokenizer(folder)


def test_qwens_files_are_cut_qwens_way(tmp_path: Path) -> None:
    folder = two_files(tmp_path)
    write_config(folder, tokenizer_class="Qwen2Tokenizer")
    tokenizer = open_tokenizer(folder)
    assert tokenizer.ids("12") == tokenizer.ids("1") + tokenizer.ids("2")
    assert tokenizer.ids("e\u0301") == tokenizer.ids("\u00e9")
    assert tokenizer.bos is False


# --- hazards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READERS)
@given(text=familiar | anything, spelled=st.sampled_from(SPELLED))
@slow_fixture
def test_h015_control_tokens_spelled_in_text_stay_text(
    readers: dict[str, Tokenizer], name: str, text: str, spelled: str
) -> None:
    tokenizer = readers[name]
    unknown = tokenizer.backend.token_to_id("[UNK]" if name == "wordpiece" else shared.hidden("<unk>"))
    added = tokenizer.backend.get_added_tokens_decoder()
    control = {i for i, token in added.items() if token.special} - {unknown}
    assert control
    for given_text in (f"{text}{spelled}{text}", spelled, f" {spelled}"):
        assert not control & set(tokenizer.ids(given_text))


@pytest.mark.parametrize("name", LOSSLESS)
@given(text=familiar | anything)
@slow_fixture
def test_text_comes_back(readers: dict[str, Tokenizer], name: str, text: str) -> None:
    if SPACE not in text:  # which SentencePiece cannot tell from a space
        assert readers[name].text(readers[name].ids(text)) == text


def test_h015_a_vocabulary_whose_control_tokens_text_can_spell_is_refused(tmp_path: Path) -> None:
    tokens = {character: i for i, character in enumerate(["<|endoftext|>", "x", "y", "xy"])}
    (tmp_path / "vocab.json").write_text(json.dumps(tokens))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nx y\n")
    assert open_tokenizer(tmp_path).ids("xy") == [3]
    write_config(tmp_path, added_tokens_decoder={"3": {"content": "xy", "special": True}})
    with pytest.raises(ModelFileError, match="'xy' would become that control token"):
        open_tokenizer(tmp_path)


def test_h015_a_unigram_tokenizer_json_cannot_be_spelled_into_control(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    backend = Backend(
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), (SPACE, -2.0), ("a", -1.0), ("<", -3.0)], unk_id=0)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["</s>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    write_config(tmp_path, eos_token="</s>")
    tokenizer = open_tokenizer(tmp_path)
    assert tokenizer.eos_id == 1
    assert 1 not in tokenizer.ids("a</s>a </s>")


@pytest.mark.parametrize("ids", [{"a": 0, "b": 0}, {"a": -1}, {"a": 2**40}, {"a": True}, {"a": 0.0}, {}])
def test_h016_ids_are_distinct_and_in_range(tmp_path: Path, ids: dict[str, Any]) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ModelFileError, match="distinct numbers"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("unit", ["a", " ", "=", SPACE, "\n", "é", " a", "1"])
def test_h017_a_long_run_takes_no_longer_than_other_text(readers: dict[str, Tokenizer], name: str, unit: str) -> None:
    start = time.process_time()
    readers[name].ids(unit * (100_000 // len(unit)) + "x")
    assert time.process_time() - start < 2


def test_h017_only_known_expressions_are_run(tmp_path: Path) -> None:
    from tokenizers import Regex, pre_tokenizers

    backend = tiny_tokenizer(tmp_path)
    for expression in (cuts.LLAMA3, cuts.QWEN2.replace(r"\r\n", "\r\n")):
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(expression), "isolated")
        backend.save(str(tmp_path / "tokenizer.json"))
        assert open_tokenizer(tmp_path).ids("a")
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex("(a+)+$"), "isolated")])
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelFileError, match="unknown expression") as error:
        open_tokenizer(tmp_path)
    assert "(a+)+$" in error.value.message


@given(text=st.text(st.sampled_from("a \n\t\r\u2028"), max_size=12))
def test_h017_an_expression_in_its_linear_form_cuts_alike(text: str) -> None:
    from tokenizers import Regex, pre_tokenizers

    for slow, linear in cuts.LINEAR.items():
        parts = [pre_tokenizers.Split(Regex(one), "isolated").pre_tokenize_str(text) for one in (slow, linear)]
        assert parts[0] == parts[1]


def test_h017_every_known_expression_takes_linear_time() -> None:
    from tokenizers import Regex, pre_tokenizers

    for expression in cuts.KNOWN:
        cut = pre_tokenizers.Split(Regex(cuts.LINEAR.get(expression, expression)), "isolated")
        start = time.process_time()
        for unit in ("a", " ", "\n", "=", "1", "aA"):
            cut.pre_tokenize_str(unit * (30_000 // len(unit)) + "x")
        assert time.process_time() - start < 2, expression


def test_h017_a_text_the_library_gives_up_on_is_one_error() -> None:
    class PanicException(BaseException):
        """As pyo3 raises it."""

    class Panicking:
        def encode(self, _text: str, *, add_special_tokens: bool) -> None:
            raise PanicException("retry-limit-in-match over")

    tokenizer = Tokenizer(backend=cast(Any, Panicking()), bos=False, bos_id=None, eos_id=0, pad_id=1, size=2)
    with pytest.raises(DataError, match="gives up on a text of 3 characters"):
        tokenizer.ids("   ")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "vocab.txt"])
def test_h017_a_file_beyond_any_tokenizers_size_is_not_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "read", _limited(shared.read, 1000))
    (tmp_path / name).write_text("x" * 1001)
    with pytest.raises(ModelFileError, match="is larger than"):
        open_tokenizer(tmp_path)


def _limited(read: Callable[[Path, int], bytes], limit: int) -> Callable[..., bytes]:
    return lambda path, _limit=0: read(path, limit)


# --- what is refused ------------------------------------------------------------------------------

WITHOUT_A_BYTE = [piece for piece in VOCABULARY if piece.text != "<0x7F>"]
MODELS = {
    "model type 3": model_bytes(VOCABULARY, kind=3),
    "normalizer 'nfkd'": model_bytes(VOCABULARY, rule="nfkd"),
    "normalizer 'nmt_nfkc'": model_bytes(VOCABULARY, rule="nmt_nfkc"),
    "normalizer 'identity'": model_bytes(VOCABULARY, charsmap=b"\0" * 16),
    "table of characters leads out": model_bytes(
        VOCABULARY, rule="nfkc", charsmap=b"\0\4\0\0" + b"\xff\xff\xff\x7f" * 256 + b"\0\0"
    ),
    "way with spaces": model_bytes(VOCABULARY, suffix=True),
    "not the 256 bytes": model_bytes(WITHOUT_A_BYTE),
    "there twice": model_bytes([*VOCABULARY, VOCABULARY[-1]]),
    "0 pieces for unknown": model_bytes(VOCABULARY[1:]),
    "unused pieces": model_bytes([*VOCABULARY, Piece(text="zz", score=0.0, kind=UNUSED)]),
    "user-defined pieces is not": model_bytes([*VOCABULARY, Piece(text="z", score=0, kind=USER_DEFINED)], kind=UNIGRAM),
    "is no sound SentencePiece": model_bytes(VOCABULARY)[:-3],
    "tiktoken ranks that are not": rank_file(RANKS),
}


@pytest.mark.parametrize("why", MODELS)
def test_what_is_not_understood_in_a_tokenizer_model_is_refused(tmp_path: Path, why: str) -> None:
    with pytest.raises(ModelFileError, match=why):
        open_tokenizer(write_pieces(tmp_path, MODELS[why]))


@pytest.mark.parametrize("kind", ["T5Tokenizer", "XLMRobertaTokenizerFast", "BaichuanTokenizer"])
def test_classes_with_ids_of_their_own_are_refused(tmp_path: Path, kind: str) -> None:
    for folder in (
        write_pieces(tmp_path / "a", model_bytes(VOCABULARY)),
        two_files(tmp_path / "b"),
        write_words(tmp_path / "c"),
    ):
        write_config(folder, tokenizer_class=kind)
        with pytest.raises(ModelFileError, match=kind.removesuffix("Fast")):
            open_tokenizer(folder)


def test_a_model_without_eos_is_refused(tmp_path: Path) -> None:
    without = [piece for piece in VOCABULARY if piece.text != "</s>"]
    with pytest.raises(ModelFileError, match="names no EOS token"):
        open_tokenizer(write_pieces(tmp_path, model_bytes(without)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"pre": "made-up"}, "'made-up', is not known"),
        ({"pre": "qwen"}, "did you mean 'qwen2'"),
        ({"pre": None}, "it names none"),
        ({"merges": None}, "it has no merges"),
        ({"merges": ["a b c"]}, "is no pair"),
        ({"merges": ["nowhere !"]}, "merges do not fit"),
        ({"token_type": None}, "have no types"),
        ({"token_type": [1, 1]}, "384 tokens, and tokenizer.ggml.token_type for 2"),
        ({"eos_token_id": 10**6}, "eos_token_id 1000000, of 384 tokens"),
        ({"eos_token_id": None}, "names no EOS token"),
        ({"tokens": None, "token_type": None}, "of 0 tokens"),
    ],
)
def test_what_is_not_understood_in_a_gguf_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    keys = {key: value for key, value in (gpt2_keys(tmp_path / "tiny") | change).items() if value is not None}
    with pytest.raises(ModelFileError, match=why):
        open_tokenizer(write_gguf(tmp_path / "a.gguf", "gpt2", keys))


def test_other_vocabularies_in_gguf_are_refused(tmp_path: Path) -> None:
    for model in ("t5", "rwkv", "none"):
        with pytest.raises(ModelFileError, match="is not understood"):
            open_tokenizer(write_gguf(tmp_path / "a.gguf", model, llama_keys()))
    (tmp_path / "b.gguf").write_bytes(b"")
    with pytest.raises(ModelFileError, match="no tokenizer file, and 2 GGUF files"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        '{"added_tokens_decoder": []}', '{"added_tokens_decoder": {"x": {"content": "a"}}}',
        '{"added_tokens_decoder": {"1": {"content": 1}}}', '{"eos_token": "\\ud800"}', "[]", "{",
    ],
)  # fmt: skip
def test_h011_a_config_that_is_none_is_one_line(tmp_path: Path, config: str) -> None:
    folder = write_pieces(tmp_path, model_bytes(VOCABULARY))
    (folder / "tokenizer_config.json").write_text(config)
    with pytest.raises(ModelFileError, match="cannot be read"):
        open_tokenizer(folder)


def test_h011_a_cut_gguf_is_one_line(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", "llama", llama_keys())
    data = path.read_bytes()
    for size in [*range(0, 300), *range(300, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(ModelFileError):
            open_tokenizer(tmp_path)


@given(at=st.integers(0), byte=st.integers(0, 255), name=st.sampled_from(["a.gguf", "tokenizer.model"]))
@slow_fixture
def test_h011_a_damaged_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, name: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    small = [piece for piece in VOCABULARY if piece.kind != shared.BYTE][:60]
    keys = {
        "tokens": [p.text for p in small],
        "scores": [p.score for p in small],
        "token_type": [p.kind for p in small],
    }
    write_gguf(folder / "a.gguf", "llama", keys | {"eos_token_id": 2})
    data = bytearray((folder / name).read_bytes() if name == "a.gguf" else model_bytes(small, kind=BPE + at % 2 - 1))
    data[at % len(data)] = byte
    (folder / name).write_bytes(data)
    with suppress(ModelFileError):  # and nothing else
        open_tokenizer(folder).ids("the old clock </s>")


@given(data=st.binary(max_size=1100))
@settings(deadline=None)
def test_h011_any_bytes_as_a_table_of_characters_are_judged(data: bytes) -> None:
    from tokenizers import normalizers

    for table in (data, len(data).to_bytes(4, "little") + data, (1024).to_bytes(4, "little") + data.ljust(1025, b"\0")):
        try:
            check_charsmap(table, "it")
        except ModelFileError:
            continue
        normalizers.Precompiled(table).normalize_str("aé ﬁ\u0301\U0001f600")


def test_ranks_that_are_none_are_refused() -> None:
    good = rank_file(RANKS)
    for data in (good + b"x", good + b"!!!! 9\n", good.replace(b" 300\n", b" 9999\n"), good[9:], b""):
        with pytest.raises(ModelFileError, match="ranks"):
            byte_level.read_ranks(data, "it")


def test_an_encoders_tokenizer_json_names_its_ends_and_its_mask(tmp_path: Path) -> None:
    """As BERT's folders have it: cls and sep, and no bos or eos. transformers reads the same ids."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors
    from transformers import AutoTokenizer

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cl", "##ock", "str", "##uck", "nine", "."]
    backend = Backend(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(tokens[:5])
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    backend.save(str(tmp_path / "tokenizer.json"))
    names = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **{f"{key}_token": name for key, name in names.items()}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours, theirs = open_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert (ours.bos, ours.bos_id, ours.eos_id, ours.pad_id, ours.mask_id) == (True, 2, 3, 0, 4)
    text = "The clock struck nine."
    assert encode.document(ours, text) == theirs(text)["input_ids"] == [2, 5, 6, 7, 8, 9, 10, 11, 3]
    assert 4 not in ours.ids("a [MASK] spelled")
