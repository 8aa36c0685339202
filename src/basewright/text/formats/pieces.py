"""SentencePiece vocabularies, whichever file they come from: BPE by scores with byte fallback, and unigram."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from basewright.records import record
from basewright.text.formats import shared
from basewright.text.formats.byte_level import build, ranked_pairs
from basewright.text.formats.shared import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, refuse

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_SQUEEZE = rf"(?<![ {SPACE}])[ {SPACE}]++\z|\A +| +(?= )"
"""Spaces (and their sign) at the end, spaces at the start, all but one between words; linear over runs of them."""


@record
class Piece:
    text: str
    score: float
    kind: int


@record
class Spelling:
    """What is done to a text before it is cut into pieces."""

    prefix: bool
    """A space is put before the text."""
    squeeze: bool
    """Spaces around the text, and all but one between words, are dropped."""
    charsmap: bytes = b""
    """SentencePiece's compiled table of characters to replace; empty for none."""


def bpe(pieces: Sequence[Piece], spelling: Spelling, name: str) -> Backend:
    """Neighbours whose join has the highest score are joined first. Raises `ModelFileError`."""
    tokens = shared.numbered([piece.text for piece in pieces], name)
    order = {piece.text: -piece.score for piece in pieces if piece.kind in (NORMAL, USER_DEFINED)}
    backend = build(tokens, ranked_pairs(order), name)
    backend.model.unk_token = _unknown(pieces, name)
    backend.model.fuse_unk = True
    backend.model.byte_fallback = _has_bytes(pieces, name)
    user = [piece.text for piece in pieces if piece.kind == USER_DEFINED]
    _spell(backend, spelling, user, name)
    shared.add_control(backend, [piece.text for piece in pieces if piece.kind in (CONTROL, UNKNOWN)])
    return backend


def unigram(pieces: Sequence[Piece], spelling: Spelling, name: str) -> Backend:
    """The most probable cut into pieces. Raises `ModelFileError`."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    shared.numbered([piece.text for piece in pieces], name)
    if any(piece.kind == USER_DEFINED for piece in pieces):
        raise refuse(name, "a unigram model with user-defined pieces is not understood")
    names = [shared.hidden(p.text) if p.kind in (CONTROL, UNKNOWN) else p.text for p in pieces]
    unknown = names.index(shared.hidden(_unknown(pieces, name)))
    with_bytes = _has_bytes(pieces, name)
    scores = [(text, piece.score) for text, piece in zip(names, pieces, strict=True)]
    backend = Backend(models.Unigram(scores, unk_id=unknown, byte_fallback=with_bytes))
    _spell(backend, spelling, [], name)
    if with_bytes:  # a text that spells <0x41> is not that byte, whose name the model would find in it
        backend.pre_tokenizer = pre_tokenizers.Split("<0x", "merged_with_previous")
    shared.add_control(backend, [text for text, p in zip(names, pieces, strict=True) if p.kind in (CONTROL, UNKNOWN)])
    return backend


def _unknown(pieces: Sequence[Piece], name: str) -> str:
    found = [piece.text for piece in pieces if piece.kind == UNKNOWN]
    if len(found) != 1:
        raise refuse(name, f"it has {len(found)} pieces for unknown characters, not one")
    return found[0]


def _has_bytes(pieces: Sequence[Piece], name: str) -> bool:
    found = {piece.text for piece in pieces if piece.kind == BYTE}
    if found and found != _BYTES:
        raise refuse(name, "its byte pieces are not the 256 bytes")
    return bool(found)


def _spell(backend: Backend, spelling: Spelling, user: Sequence[str], name: str) -> None:
    """Normalizer and decoder, and the user-defined pieces, which are found in the spelled text and cut out first."""
    from tokenizers import AddedToken, decoders

    backend.normalizer = _normalizer(spelling, user, name)
    if any(backend.normalizer.normalize_str(text) != text for text in user):
        raise refuse(name, "a user-defined piece is not in the spelling of its texts")
    backend.add_tokens([AddedToken(text, normalized=True, special=False) for text in user])
    ends = [decoders.Strip(" ", 1, 0)] if spelling.prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *ends])


def _normalizer(spelling: Spelling, user: Sequence[str], name: str) -> Any:
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if spelling.charsmap:
        check_charsmap(spelling.charsmap, name)
        # The tables are of NFKC and more; `tokenizers` loses marks where a character before them is in the table, so
        # what NFKC joins is joined before (measured: 64 of 5707 hard texts differ from SentencePiece without, 0 with).
        steps += [normalizers.NFKC(), normalizers.Precompiled(spelling.charsmap)]
    if spelling.squeeze:
        steps.append(normalizers.Replace(Regex(_SQUEEZE), ""))
    if spelling.prefix and user:
        # `tokenizers` spells the user-defined piece itself like a text, and then looks for that: it must come out as
        # it is. So a text that is one such piece and nothing else gets no space before it, unlike in SentencePiece.
        alone = "|".join(re.escape(text) for text in user)
        steps.append(normalizers.Replace(Regex(rf"\A(?!(?:{alone})?\z)"), SPACE))
    elif spelling.prefix:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])


def check_charsmap(data: bytes, name: str) -> None:
    """Every step through the table stays inside it. Raises `ModelFileError`.

    Four bytes of size, a double-array trie (darts-clone) of 32-bit units, and replacements that end in a zero byte
    each. A unit holds, with the top bit, a value: where a replacement starts; else a walk goes from unit i by byte c
    to (i ^ offset) ^ c, and (i ^ offset) itself holds the value of what was walked so far, if there is one.
    """
    size = int.from_bytes(data[:4], "little")
    if size % 1024 or not 0 < size < len(data) - 4 or not data.endswith(b"\0"):
        raise refuse(name, "its table of characters is damaged")
    units, texts = np.frombuffer(data[4 : 4 + size], "<u4"), data[4 + size :]
    walked = np.flatnonzero(units >> 31 == 0).astype(np.uint32)
    unit = units[walked]
    below = walked ^ ((unit >> 10) << ((unit & 0x200) >> 6))
    if units[0] >> 31 or (below >= len(units)).any():
        raise refuse(name, "its table of characters leads out of itself")
    values = units[below[unit & 0x100 != 0]] & 0x7FFFFFFF
    try:
        texts.decode("utf-8")
        if (np.frombuffer(texts, np.uint8)[values] & 0xC0 == 0x80).any():
            raise ValueError("inside a character")
    except (IndexError, ValueError) as error:
        raise refuse(name, f"its table of characters has broken replacements: {error}") from error
