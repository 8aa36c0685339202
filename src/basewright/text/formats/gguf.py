"""The vocabulary in a GGUF file's keys: `llama` (SentencePiece BPE), `gpt2` (byte-level BPE), `bert` (WordPiece)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basewright.errors import nearest
from basewright.formats import gguf as file_format
from basewright.text.formats import shared, wordpiece
from basewright.text.formats.byte_level import build, pairs
from basewright.text.formats.cuts import CUTS, set_cut
from basewright.text.formats.pieces import SPACE, Piece, Spelling, bpe
from basewright.text.formats.shared import CONTROL, USER_DEFINED, Found, refuse

KEY = "tokenizer.ggml."
MODELS = ("llama", "gpt2", "bert")


def gguf(path: Path) -> Found:
    """Raises `ModelFileError`, also for a cut (`tokenizer.ggml.pre`) that is not known here."""
    metadata = file_format.read(path).metadata
    keys = {key.removeprefix(KEY): value for key, value in metadata.items() if key.startswith(KEY)}
    model, name = keys.get("model"), path.name
    if model not in MODELS:
        raise refuse(name, f"the vocabulary model {model!r} is not understood ({', '.join(MODELS)} are)")
    tokens, kinds = _texts(keys, "tokens", name), keys.get("token_type")
    if kinds is None:
        raise refuse(name, "its tokens have no types")
    if model == "bert":
        return _bert(tokens, kinds, name)
    bos, eos, pad = (keys.get(f"{key}_token_id") for key in ("bos", "eos", "padding"))
    if model == "llama":
        backend, start = _llama(keys, tokens, kinds, name), True
    else:
        backend, start = _gpt2(keys, tokens, kinds, name)
    starts = keys.get("add_bos_token", start)
    return Found(backend=backend, bos=starts is True and bos is not None, bos_id=bos, eos_id=eos, pad_id=pad)


def _llama(keys: Mapping[str, Any], tokens: list[str], kinds: list[int], name: str) -> Any:
    scores = keys.get("scores")
    if scores is None:
        raise refuse(name, "its tokens have no scores")
    if keys.get("precompiled_charsmap"):
        raise refuse(name, "a table of characters in GGUF is not understood")
    pieces = [Piece(text=t, score=s, kind=k) for t, s, k in zip(tokens, scores, kinds, strict=True)]
    prefix, squeeze = keys.get("add_space_prefix", True), keys.get("remove_extra_whitespaces", False)
    return bpe(pieces, Spelling(prefix=prefix is True, squeeze=squeeze is True), name)


def _gpt2(keys: Mapping[str, Any], tokens: list[str], kinds: list[int], name: str) -> tuple[Any, bool]:
    """The backend, and whether texts start with BOS where the file does not say."""
    from tokenizers import AddedToken

    pre = keys.get("pre")
    if pre not in CUTS:
        known = nearest(pre, CUTS) if isinstance(pre, str) else "it names none"
        raise refuse(name, f"its cut of text, tokenizer.ggml.pre {pre!r}, is not known here; {known}")
    cut, merges = CUTS[pre], _texts(keys, "merges", name)
    backend = build(shared.numbered(tokens, name), pairs(merges, name), name, whole=cut.whole)
    set_cut(backend, cut)
    user = [token for token, kind in zip(tokens, kinds, strict=True) if kind == USER_DEFINED]
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in user])
    shared.add_control(backend, [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL])
    return backend, cut.bos


def _bert(tokens: list[str], kinds: list[int], name: str) -> Found:
    """llama.cpp's converter turns `word` into SPACE + `word` and `##piece` into `piece`; names in brackets stay."""
    plain = []
    for token, kind in zip(tokens, kinds, strict=True):
        named = kind == CONTROL or (token.startswith("[") and token.endswith("]"))
        starts = token.startswith(SPACE)
        plain.append(token if named else token.removeprefix(SPACE) if starts else "##" + token)
    return wordpiece.build(shared.numbered(plain, name), {}, name)


def _texts(keys: Mapping[str, Any], key: str, name: str) -> list[str]:
    value: list[str] = keys.get(key, [])
    if not value:
        raise refuse(name, f"it has no {key}")
    return value
