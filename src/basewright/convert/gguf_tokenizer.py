"""A tokenizer as GGUF keys. Only the two schemes llama.cpp repeats exactly are written; others are refused by name.

`gpt2` is byte-level BPE with GPT-2's own pre-tokenization. `llama` is SentencePiece-like BPE with byte fallback, whose
order of merges travels as a score for each token: minus the rank of the merge that makes it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from basewright.errors import ModelFileError, Refused
from basewright.records import record
from basewright.text.tokenizer import Tokenizer, open_tokenizer

_FIX = "take the gguf formats out of [ship].formats, or choose another base model"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_PREFIXED = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": _SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
    ],
}


@record
class Scheme:
    """GGUF's names for how text is cut before the merges."""

    model: str
    pre: str


GPT2 = Scheme(model="gpt2", pre="gpt-2")
LLAMA = Scheme(model="llama", pre="default")


def read_spec(folder: Path) -> dict[str, Any]:
    try:
        spec: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        return spec
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"tokenizer.json of {folder.name} cannot be read: {error}", fix="get that model again"
        ) from error


def scheme(spec: dict[str, Any]) -> Scheme:
    """Which scheme a tokenizer.json is. Raises `Refused` with what does not fit."""
    model = spec["model"]
    unlike = [
        key for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges") if model.get(key)
    ]
    if model.get("type") != "BPE" or unlike:
        raise Refused(f"GGUF cannot hold this tokenizer: {unlike[0] if unlike else model.get('type')}", fix=_FIX)
    cutting, spelling = spec.get("pre_tokenizer"), spec.get("normalizer")
    if model.get("byte_fallback"):
        if cutting is None and spelling == _PREFIXED:
            return LLAMA
    elif spelling is None and _is_gpt2(cutting):
        return GPT2
    kind = (cutting or {}).get("type", "none")
    raise Refused(
        f"llama.cpp has no exact equal of this tokenizer's cutting (pre-tokenizer {kind}, normalizer "
        f"{(spelling or {}).get('type', 'none')}); a wrong one would change every token",
        fix=_FIX,
    )


def _is_gpt2(cutting: dict[str, Any] | None) -> bool:
    """ByteLevel alone, which splits by GPT-2's regular expression unless told not to."""
    return (
        cutting is not None
        and cutting["type"] == "ByteLevel"
        and cutting.get("use_regex", True)
        and not cutting["add_prefix_space"]
    )


def add(writer: GGUFWriter, folder: Path, rows: int) -> None:
    """Write the tokenizer's keys. `rows` is how many embedding rows there are: ids beyond the tokens get a name that
    no text has. Raises `Refused` where GGUF has no exact equal, or a token has no row (H016)."""
    spec, tokenizer = read_spec(folder), open_tokenizer(folder)
    found = scheme(spec)
    if tokenizer.size > rows:
        raise Refused(f"the tokenizer has {tokenizer.size} ids, the embedding {rows} rows", fix="get that model again")
    names, kinds = _tokens(spec, rows)
    merges = [_merge(each) for each in spec["model"]["merges"]]
    writer.add_tokenizer_model(found.model)
    writer.add_tokenizer_pre(found.pre)
    writer.add_token_list(names)
    if found == GPT2:
        writer.add_token_types(kinds)
        writer.add_token_merges([" ".join(pair) for pair in merges])
    else:
        writer.add_token_scores(_scores(names, merges))
        writer.add_token_types(kinds)
        writer.add_add_space_prefix(True)
    _add_special(writer, tokenizer, names, kinds, spec["model"].get("unk_token"))


def _tokens(spec: dict[str, Any], rows: int) -> tuple[list[str], list[TokenType]]:
    names = [f"[PAD{i}]" for i in range(rows)]
    kinds = [TokenType.UNUSED] * rows
    for text, i in spec["model"]["vocab"].items():
        names[i] = text
        byte = spec["model"].get("byte_fallback") and _BYTE.fullmatch(text)
        kinds[i] = TokenType.BYTE if byte else TokenType.NORMAL
    for added in spec.get("added_tokens", []):
        if not added["special"] and (added["lstrip"] or added["rstrip"] or added["single_word"]):
            raise Refused(f"GGUF cannot say how {added['content']!r} takes the space around it", fix=_FIX)
        names[added["id"]] = added["content"]
        kinds[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    if (unknown := spec["model"].get("unk_token")) is not None:
        kinds[names.index(unknown)] = TokenType.UNKNOWN
    return names, kinds


def _merge(merge: str | list[str]) -> tuple[str, str]:
    """A merge is a pair, in older files one string with a space."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _scores(names: list[str], merges: list[tuple[str, str]]) -> list[float]:
    """Minus the rank of the first merge that makes the token; what no merge makes is never joined, so it ranks last."""
    first: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        first.setdefault(left + right, rank)
    return [float(-first.get(name, len(merges))) for name in names]


def _add_special(
    writer: GGUFWriter, tokenizer: Tokenizer, names: list[str], kinds: list[TokenType], unknown: str | None
) -> None:
    """`add_bos_token` is what the tokenizer does with a text, not what its config says it would."""
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.eos_id)
    if unknown is not None:
        writer.add_unk_token_id(names.index(unknown))
    if kinds[tokenizer.pad_id] == TokenType.CONTROL:
        writer.add_pad_token_id(tokenizer.pad_id)
    writer.add_add_bos_token(tokenizer.bos)
    writer.add_add_eos_token(False)
