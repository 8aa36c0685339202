"""SentencePiece's tokenizer.model, a protocol buffer of pieces and settings, read without that library.

Field numbers: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from basewright.text.formats import shared
from basewright.text.formats.pieces import Piece, Spelling, bpe, unigram
from basewright.text.formats.shared import CONTROL, UNUSED, Found, refuse

Value = int | bytes
CLASSES = (None, "LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer")
_UNIGRAM, _BPE = 1, 2
_PIECES, _TRAINER, _NORMALIZER, _DENORMALIZER = 1, 2, 3, 5
_MODEL_TYPE, _SUFFIX = 3, 24
_NAMES = {"bos": (46, "<s>"), "eos": (47, "</s>"), "pad": (48, "<pad>")}
_CHARSMAP, _PREFIX, _SQUEEZE, _ESCAPE = 2, 3, 4, 5
_NORMALIZERS = ("", "identity", "nfkc", "nmt_nfkc")


def tokenizer_model(data: bytes, path: Path, config: Mapping[str, Any]) -> Found:
    """BPE or unigram. A model that declares a BOS starts its texts with it. Raises `ModelFileError`."""
    folder = path.parent
    if shared.class_name(config) not in CLASSES:
        raise refuse(folder.name, f"its tokenizer class {shared.class_name(config)} is not known with {path.name}")
    try:
        fields = list(_fields(data))
        pieces = [_piece(value) for number, value in fields if number == _PIECES]
        trainer, normalizer, denormalizer = (
            dict(_fields(_last(fields, part))) for part in (_TRAINER, _NORMALIZER, _DENORMALIZER)
        )
        names = {
            key: _bytes(trainer.get(number, default.encode())).decode() for key, (number, default) in _NAMES.items()
        }
    except (IndexError, TypeError, ValueError, struct.error) as error:
        raise refuse(folder.name, f"{path.name} is no sound SentencePiece model: {error}") from error
    added = shared.added_tokens(config, folder)
    pieces = _with_control(pieces, added, folder.name)
    if any(piece.kind == UNUSED for piece in pieces):
        raise refuse(folder.name, "unused pieces are not understood")
    if trainer.get(_SUFFIX) or not normalizer.get(_ESCAPE, 1) or denormalizer.get(_CHARSMAP):
        raise refuse(folder.name, "its way with spaces is not understood")
    kind = trainer.get(_MODEL_TYPE, _UNIGRAM)
    if kind not in (_UNIGRAM, _BPE):
        raise refuse(folder.name, f"the SentencePiece model type {kind!r} is not understood")
    backend = (bpe if kind == _BPE else unigram)(pieces, _spelling(normalizer, folder.name), folder.name)
    shared.add_tokens(backend, added, folder.name)
    control = {piece.text: i for i, piece in enumerate(pieces) if piece.kind == CONTROL}
    bos, eos, pad = (control.get(names[key]) for key in ("bos", "eos", "pad"))
    return Found(backend=backend, bos=bos is not None, bos_id=bos, eos_id=eos, pad_id=pad)


def _with_control(pieces: list[Piece], added: Mapping[int, Mapping[str, Any]], name: str) -> list[Piece]:
    """What tokenizer_config.json calls special is control. Other tokens of its own would be found in text, and where
    the space before a text goes then is not in the files."""
    found = list(pieces)
    for i, entry in added.items():
        known = i < len(pieces) and pieces[i].text == entry["content"]
        if not known and entry.get("special") is not True:
            raise refuse(name, f"the added token {entry['content'][:40]!r} is neither special nor a piece")
        if known and entry.get("special") is True and pieces[i].kind != shared.UNKNOWN:
            found[i] = Piece(text=pieces[i].text, score=pieces[i].score, kind=CONTROL)
    return found


def _spelling(normalizer: Mapping[int, Value], name: str) -> Spelling:
    rule, charsmap = _bytes(normalizer.get(1, b"")).decode(), _bytes(normalizer.get(_CHARSMAP, b""))
    if rule not in _NORMALIZERS or (rule in ("", "identity")) != (not charsmap):
        raise refuse(name, f"the SentencePiece normalizer {rule[:40]!r} is not understood")
    return Spelling(
        prefix=bool(normalizer.get(_PREFIX, 1)), squeeze=bool(normalizer.get(_SQUEEZE, 1)), charsmap=charsmap
    )


def _piece(data: Value) -> Piece:
    fields = dict(_fields(_bytes(data)))
    kind = fields.get(3, shared.NORMAL)
    if kind not in range(shared.NORMAL, shared.BYTE + 1):
        raise ValueError(f"a piece of kind {kind!r}")
    (score,) = struct.unpack("<f", _bytes(fields.get(2, bytes(4))))
    if not math.isfinite(score):
        raise ValueError(f"a score of {score}")
    return Piece(text=_bytes(fields.get(1, b"")).decode(), score=score, kind=int(kind))


# --- protocol buffers -----------------------------------------------------------------------------


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """(field number, value): a number for a varint, else the bytes. Raises `ValueError` or `IndexError`."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if (wire := tag & 7) == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"wire type {wire}")
        size, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if size > len(data) - at:
            raise ValueError("it is cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number without end")


def _last(fields: list[tuple[int, Value]], number: int) -> bytes:
    return _bytes(next((value for found, value in reversed(fields) if found == number), b""))


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"the number {value} where bytes belong")
    return value
