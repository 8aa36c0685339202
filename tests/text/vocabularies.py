"""Small vocabularies in each format, and the reference algorithms they are checked against, written plainly."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from gguf import GGUFWriter

from basewright.text.formats.pieces import SPACE, Piece
from basewright.text.formats.shared import BYTE, CONTROL, NORMAL, UNKNOWN
from tests.models import TEXTS

UNIGRAM, BPE = 1, 2


# --- SentencePiece --------------------------------------------------------------------------------


def pieces(joins: int = 120, *, byte_fallback: bool = True) -> list[Piece]:
    """The pieces of a BPE learned from TEXTS: control, bytes, joins by score, characters."""
    words = [tuple(SPACE + word) for text in TEXTS for word in text.split()]
    found: list[str] = []
    while len(found) < joins:
        counts: dict[tuple[str, str], int] = {}
        for word in words:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(sorted(counts), key=lambda pair: counts[pair])
        if "".join(best) not in found:
            found.append("".join(best))
        words = [_joined(word, best) for word in words]
    characters = sorted({character for text in TEXTS for character in SPACE + text} - {" ", "\n"})
    start = [Piece(text="<unk>", score=0.0, kind=UNKNOWN)]
    start += [Piece(text=text, score=0.0, kind=CONTROL) for text in ("<s>", "</s>", "[INST]")]
    if byte_fallback:
        start += [Piece(text=f"<0x{byte:02X}>", score=0.0, kind=BYTE) for byte in range(256)]
    ranked = [Piece(text=text, score=-float(rank), kind=NORMAL) for rank, text in enumerate(found + characters)]
    return start + ranked


def _joined(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


def model_bytes(
    vocabulary: Iterable[Piece],
    *,
    kind: int = BPE,
    rule: str = "identity",
    charsmap: bytes = b"",
    prefix: bool = True,
    squeeze: bool = False,
    suffix: bool = False,
) -> bytes:
    """A tokenizer.model as a protocol buffer."""
    body = b"".join(
        _part(1, _part(1, p.text.encode()) + b"\x15" + struct.pack("<f", p.score) + _number(3, p.kind))
        for p in vocabulary
    )
    normalizer = _part(1, rule.encode()) + (_part(2, charsmap) if charsmap else b"")
    normalizer += _number(3, prefix) + _number(4, squeeze)
    return body + _part(2, _number(3, kind) + _number(24, suffix)) + _part(3, normalizer)


def _part(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def bpe_reference(vocabulary: Sequence[Piece], text: str) -> list[int]:
    """SentencePiece's BPE: always the leftmost of the neighbours whose join scores highest."""
    scores = {piece.text: piece.score for piece in vocabulary if piece.kind == NORMAL}
    symbols = list(SPACE + text.replace(" ", SPACE)) if text else []
    while True:
        joins = [(-scores[a + b], i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in scores]
        if not joins:
            break
        at = min(joins)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return _ids(vocabulary, symbols)


def unigram_reference(vocabulary: Sequence[Piece], text: str) -> float:
    """The score of SentencePiece's best cut; unknown characters cost 10 more than the worst piece."""
    scores = {piece.text: piece.score for piece in vocabulary if piece.kind == NORMAL}
    unknown = min(piece.score for piece in vocabulary) - 10
    text = SPACE + text.replace(" ", SPACE) if text else ""
    best = [0.0]
    for end in range(1, len(text) + 1):
        ways = [best[at] + scores[text[at:end]] for at in range(end) if text[at:end] in scores]
        ways += [best[end - 1] + unknown] if text[end - 1] not in scores else []
        best.append(max(ways))
    return best[-1]


def _ids(vocabulary: Sequence[Piece], symbols: Iterable[str]) -> list[int]:
    places = {piece.text: i for i, piece in enumerate(vocabulary)}
    known = {piece.text for piece in vocabulary if piece.kind == NORMAL}
    out: list[int] = []
    for symbol in symbols:
        out += [places[symbol]] if symbol in known else [places[f"<0x{byte:02X}>"] for byte in symbol.encode()]
    return out


# --- tiktoken -------------------------------------------------------------------------------------


def ranks() -> dict[bytes, int]:
    """The 256 bytes, then what joins most often in TEXTS."""
    found = [bytes([byte]) for byte in range(256)]
    for text in TEXTS:
        for size in (2, 3, 4):
            found += [part for word in text.split() if (part := word.encode()[:size]) not in found]
            found += [part for word in text.split() if (part := b" " + word.encode()[: size - 1]) not in found]
    return {token: rank for rank, token in enumerate(dict.fromkeys(found))}


def rank_file(table: Mapping[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in table.items())


def rank_reference(table: Mapping[bytes, int], word: bytes) -> list[int]:
    """tiktoken on one stretch of text: itself if it is a token, else the leftmost lowest rank first."""
    parts = [word] if word in table else [bytes([byte]) for byte in word]
    while True:
        joins = [(table[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in table]
        if not joins:
            return [table[part] for part in parts]
        at = min(joins)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


# --- folders --------------------------------------------------------------------------------------


def write_pieces(folder: Path, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(data)
    return folder


def write_config(folder: Path, **config: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def write_words(folder: Path) -> Path:
    """A WordPiece vocab.txt in lower case."""
    words = dict.fromkeys(word for text in TEXTS for word in text.lower().split() if word.isalpha())
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"[].,<>|/", *letters]
    tokens += ["##" + letter for letter in letters] + [word for word in words if len(word) > 1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    return folder


def write_gguf(path: Path, model: str, keys: Mapping[str, object]) -> Path:
    """A GGUF file of nothing but `tokenizer.ggml.` keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    writer.add_string("tokenizer.ggml.model", model)
    for key, value in keys.items():
        name = f"tokenizer.ggml.{key}"
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_string(name, str(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path
