"""A tokenizer and its facts, read from a model's folder by `tokenizers` alone (no torch, no transformers)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewright.errors import DataError, ModelFileError
from basewright.text.formats import byte_level, cuts, gguf, sentencepiece, shared, wordpiece

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

GENERATION = "generation_config.json"
START, END, PAD, MASK = ("bos_token", "cls_token"), ("eos_token", "sep_token"), ("pad_token",), ("mask_token",)
"""How tokenizer_config.json names the token at a text's start, at its end and so on; second is an encoder's word."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Facts are read, never guessed: `bos` is whether the model's own tokenizer starts a text with `bos_id`."""

    backend: Backend
    bos: bool
    bos_id: int | None
    eos_id: int
    pad_id: int
    size: int
    """One more than the largest id it can produce."""
    mask_id: int | None = None
    """What an encoder reads in the place of a hidden token."""
    stops: tuple[int, ...] = ()
    """Ids beside EOS that end an answer, as generation_config.json names them."""

    def ends(self, number: int) -> bool:
        """Whether an answer ends with this id."""
        return number == self.eos_id or number in self.stops

    def ids(self, text: str) -> list[int]:
        """The ids of plain text: nothing added. Control tokens spelled in `text` stay ordinary text (H015).

        Raises `DataError` for a run of millions of spaces, which the library gives up on (H017).
        """
        try:
            return list(self.backend.encode(text, add_special_tokens=False).ids)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # how Rust fails; it is no `Exception`
                raise
            raise DataError(
                f"the tokenizer gives up on a text of {len(text)} characters: {error}",
                fix="cut that text into shorter ones",
            ) from error

    def spelled(self, text: str) -> list[int]:
        """The ids of a text in which control tokens stand as they are spelled, as a chat template's does."""
        self.backend.encode_special_tokens = False
        try:
            return self.ids(text)
        finally:
            self.backend.encode_special_tokens = True

    def text(self, ids: Sequence[int]) -> str:
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token's own text, control tokens included, for people to read."""
        return [str(self.backend.decode([i], skip_special_tokens=False)) for i in ids]


def open_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer in a model's folder, or in a GGUF file named itself. Raises `ModelFileError`.

    The first of these that is there is read: tokenizer.json; tokenizer.model (SentencePiece, or Llama 3's);
    vocab.json with merges.txt; encoder.json with vocab.bpe; vocab.txt; one GGUF file. tokenizer_config.json, where
    there is one, names BOS, EOS and pad; else the vocabulary's own file does.

    A missing pad token becomes some other token than EOS whose loss is masked by position anyway, so a
    supervised EOS is never mistaken for padding (H065).
    """
    path = folder / shared.CONFIG
    config = shared.read_object(path, shared.MAX_CONFIG) if path.exists() else {}
    found = _find(folder, config)
    backend = found.backend
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    bos_id, eos_id, pad_id, mask_id = (
        given if (named := _named(backend, config, *keys)) is None else named
        for keys, given in ((START, found.bos_id), (END, found.eos_id), (PAD, found.pad_id), (MASK, None))
    )
    if eos_id is None:
        raise ModelFileError(f"{folder.name} names no EOS token", fix="set eos_token in its tokenizer_config.json")
    if pad_id is None or pad_id == eos_id:
        pad_id = 0 if eos_id != 0 else 1
    _check_control(backend, folder.name)
    return Tokenizer(
        backend=backend,
        bos=found.bos and bos_id is not None,
        bos_id=bos_id,
        eos_id=eos_id,
        pad_id=pad_id,
        size=max(backend.get_vocab(with_added_tokens=True).values()) + 1,
        mask_id=mask_id,
        stops=tuple(number for number in stops_of(folder) if number != eos_id),
    )


def stops_of(folder: Path) -> tuple[int, ...]:
    """The ids that end an answer, as a model's or an adapter's generation_config.json names them; none without one.

    Raises `ModelFileError`.
    """
    if not (folder / GENERATION).is_file():
        return ()
    named = shared.read_object(folder / GENERATION, shared.MAX_CONFIG).get("eos_token_id")
    ids = named if isinstance(named, list) else [named] if named is not None else []
    if any(type(number) is not int or not 0 <= number < shared.MAX_ID for number in ids):
        raise shared.refuse(folder.name, f"{GENERATION} names an end that is no id", fix="correct its eos_token_id")
    return tuple(ids)


def _named(backend: Backend, config: Mapping[str, Any], *keys: str) -> int | None:
    """The id of the first of these tokens that tokenizer_config.json names and the vocabulary has."""
    ids = (shared.find_id(backend, shared.token_name(config, key)) for key in keys)
    return next((i for i in ids if i is not None), None)


def _find(path: Path, config: Mapping[str, Any]) -> shared.Found:
    if (path / "tokenizer.json").exists():
        return _tokenizer_json(path / "tokenizer.json", config)
    found = _find_other(path, config)
    return replace(found, bos=config.get("add_bos_token", found.bos) is True)


def _find_other(path: Path, config: Mapping[str, Any]) -> shared.Found:
    if path.is_file():
        return gguf.gguf(path)
    if (model := path / "tokenizer.model").exists():
        data = shared.read(model)
        if data.startswith(b"\n"):  # the tag of the first piece
            return sentencepiece.tokenizer_model(data, model, config)
        return byte_level.tiktoken(data, model)
    for tokens, merges in (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")):
        if (path / tokens).exists() and (path / merges).exists():
            return byte_level.two_files(path / tokens, path / merges, config)
    if (path / "vocab.txt").exists():
        return wordpiece.vocab_txt(path / "vocab.txt", config)
    files = sorted(path.glob("*.gguf"))
    if len(files) != 1:
        raise shared.refuse(path.name, f"it holds no tokenizer file, and {len(files)} GGUF files")
    return gguf.gguf(files[0])


def _tokenizer_json(path: Path, config: Mapping[str, Any]) -> shared.Found:
    """The library's own format. BOS is what its post-processor does with a text."""
    from tokenizers import Tokenizer as Backend

    folder = path.parent
    spec = shared.read_object(path)
    cuts.check_expressions(spec, folder.name)
    try:
        backend = Backend.from_str(json.dumps(_with_hidden(spec)))
    except Exception as error:
        raise shared.refuse(folder.name, str(error)) from error
    bos_id = _named(backend, config, *START)
    first = list(backend.encode("a", add_special_tokens=True).ids)[:1]
    return shared.Found(backend=backend, bos=first == [bos_id], bos_id=bos_id, eos_id=None, pad_id=None)


def _with_hidden(spec: dict[str, Any]) -> dict[str, Any]:
    """A unigram model finds the names of its control tokens in text, so they get names no text has (H015)."""
    if spec["model"].get("type") == "Unigram":
        for token in spec["added_tokens"]:
            if token["special"] and token["id"] < len(spec["model"]["vocab"]):
                token["content"] = spec["model"]["vocab"][token["id"]][0] = shared.hidden(token["content"])
    return spec


def _check_control(backend: Backend, name: str) -> None:
    """No text becomes a control token by spelling it (H015); what unknown text becomes is let be."""
    unknown = {token.id for token in backend.model.tokenize("\u0378")}  # no character, so no vocabulary has it
    for i, token in backend.get_added_tokens_decoder().items():
        spelled = token.content.removesuffix(shared.hidden(""))
        if token.special and i not in unknown and i in backend.encode(spelled, add_special_tokens=False).ids:
            raise shared.refuse(name, f"text that spells {spelled!r} would become that control token")
