"""Byte-level BPE: GPT-2's two files, and tiktoken's list of ranks as Llama 3 ships it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewright.records import record
from basewright.text.formats import shared
from basewright.text.formats.cuts import CUTS, Cut, set_cut
from basewright.text.formats.shared import Found, refuse

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

Pair = tuple[str, str]


@record
class Family:
    """What a tokenizer class adds to the two files; the names are those of the class where the config is silent."""

    cut: str
    bos: bool
    start: str | None
    end: str
    pad: str | None


_GPT2 = Family(cut="gpt-2", bos=False, start="<|endoftext|>", end="<|endoftext|>", pad=None)
_ROBERTA = Family(cut="gpt-2", bos=True, start="<s>", end="</s>", pad="<pad>")
FAMILIES = {
    None: _GPT2,  # OpenAI's own code asks encoder.json for '<|endoftext|>'
    "GPT2Tokenizer": _GPT2,
    "CodeGenTokenizer": _GPT2,
    "RobertaTokenizer": _ROBERTA,
    "BartTokenizer": _ROBERTA,
    "Qwen2Tokenizer": Family(cut="qwen2", bos=False, start=None, end="<|endoftext|>", pad="<|endoftext|>"),
}
LLAMA3 = "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55"
"""SHA-256 of the tokenizer.model of Llama 3 to 3.3: the file does not say how text is cut nor what its control tokens
are, so only the file that Meta's code is known to go with is read."""
LLAMA3_CONTROL = 256


def two_files(vocabulary: Path, merges: Path, config: Mapping[str, Any]) -> Found:
    """vocab.json and merges.txt, or OpenAI's encoder.json and vocab.bpe. Raises `ModelFileError`."""
    folder = vocabulary.parent
    family = FAMILIES.get(shared.class_name(config))
    if family is None:
        raise refuse(
            folder.name, f"its tokenizer class {shared.class_name(config)} is not known with {vocabulary.name}"
        )
    tokens = shared.read_object(vocabulary)
    shared.check_ids(tokens, folder.name)
    lines = shared.read_text(merges).splitlines()
    if lines and lines[0].startswith("#version"):
        del lines[0]
    backend = build(tokens, pairs(filter(None, lines), folder.name), folder.name)
    set_cut(backend, CUTS[family.cut], add_prefix_space=config.get("add_prefix_space") is True)
    shared.add_control(backend, {name for name in (family.start, family.end, family.pad) if name in tokens})
    shared.add_tokens(backend, shared.added_tokens(config, folder), folder.name)
    ids = [backend.token_to_id(name) if name else None for name in (family.start, family.end, family.pad)]
    return Found(backend=backend, bos=family.bos, bos_id=ids[0], eos_id=ids[1], pad_id=ids[2])


def pairs(lines: Iterable[str], name: str) -> list[Pair]:
    """Merges written as two tokens and a space. Raises `ModelFileError`."""
    found = []
    for line in lines:
        left, space, right = line.partition(" ")
        if not (left and space and right) or " " in right:
            raise refuse(name, f"the merge {line[:40]!r} is no pair")
        found.append((left, right))
    return found


def build(tokens: Mapping[str, int], merges: Sequence[Pair], name: str, *, whole: bool = False) -> Backend:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    try:
        return Backend(models.BPE(vocab=dict(tokens), merges=list(merges), ignore_merges=whole))
    except Exception as error:
        raise refuse(name, f"its merges do not fit its tokens: {error}") from error


def ranked_pairs(order: Mapping[str, float]) -> list[Pair]:
    """The merges of a vocabulary that joins any two neighbours whose join is a token, least `order` first.

    Among the ways to make one token the reference takes the leftmost in the text, a list of merges one way before
    the other; the longest left half first is right for runs of one character, where it matters.
    """
    found = [
        (rank, -cut, token[:cut], token[cut:])
        for token, rank in order.items()
        for cut in range(1, len(token))
        if token[:cut] in order and token[cut:] in order
    ]
    found.sort(key=lambda way: (way[0], way[1], -len(way[3])))
    return [(left, right) for _, _, left, right in found]


def tiktoken(data: bytes, path: Path) -> Found:
    """Llama 3's tokenizer.model. Raises `ModelFileError` for any other list of ranks."""
    if hashlib.sha256(data).hexdigest() != LLAMA3:
        raise refuse(path.parent.name, f"{path.name} lists tiktoken ranks that are not Llama 3's")
    ranks = read_ranks(data, path.parent.name)
    # Names, order and number of the control tokens, BOS and EOS, the cut:
    # https://github.com/meta-llama/llama-models/blob/a946b747aa1504b9cb07cfe95ee50180fa2e8b88/models/llama3/tokenizer.py
    control = ["begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1"]
    control += ["finetune_right_pad_id", "step_id", "start_header_id", "end_header_id", "eom_id", "eot_id"]
    control += ["python_tag", "image"]
    control += [f"reserved_special_token_{i + 2}" for i in range(LLAMA3_CONTROL - len(control))]
    backend = from_ranks(ranks, CUTS["llama-bpe"], path.parent.name)
    shared.add_control(backend, [f"<|{name}|>" for name in control])
    first = len(ranks)
    return Found(backend=backend, bos=True, bos_id=first, eos_id=first + 1, pad_id=first + 4)


def read_ranks(data: bytes, name: str) -> dict[bytes, int]:
    """Lines of a token's bytes in base64 and its rank, which is its id. Raises `ModelFileError`."""
    ranks: dict[bytes, int] = {}
    try:
        for line in data.splitlines():
            token, rank = line.split(b" ")
            ranks[base64.b64decode(token, validate=True)] = int(rank)
    except (ValueError, binascii.Error) as error:
        raise refuse(name, f"a line of its ranks is no token and number: {line[:40]!r}") from error
    if sorted(ranks.values()) != list(range(len(ranks))) or any(bytes([b]) not in ranks for b in range(256)):
        raise refuse(name, "its ranks are not 0, 1, 2 and so on, with one for each byte")
    return ranks


def from_ranks(ranks: Mapping[bytes, int], cut: Cut, name: str) -> Backend:
    table = _byte_names()
    tokens = {"".join([table[byte] for byte in token]): rank for token, rank in ranks.items()}
    backend = build(tokens, ranked_pairs(tokens), name, whole=True)
    set_cut(backend, cut)
    return backend


def _byte_names() -> list[str]:
    """GPT-2's character for each byte: itself where it can be seen, else the next from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in seen else next(others)) for byte in range(256)]
