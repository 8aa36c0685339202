"""WordPiece, BERT's: one token a line in vocab.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basewright.text.formats import shared
from basewright.text.formats.shared import Found, refuse

CLASSES = (None, "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
UNKNOWN, START, END, PAD, MASK = "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"


def vocab_txt(path: Path, config: Mapping[str, Any]) -> Found:
    """Raises `ModelFileError`."""
    folder = path.parent
    if shared.class_name(config) not in CLASSES:
        raise refuse(folder.name, f"its tokenizer class {shared.class_name(config)} is not known with {path.name}")
    lines = shared.read_text(path).split("\n")
    tokens = shared.numbered(
        [line.removesuffix("\r") for line in lines[: -1 if lines[-1] == "" else None]], folder.name
    )
    found = build(tokens, config, folder.name)
    shared.add_tokens(found.backend, shared.added_tokens(config, folder), folder.name)
    return found


def build(tokens: Mapping[str, int], config: Mapping[str, Any], name: str) -> Found:
    """A vocabulary with no capital letter is of an uncased model, unless the config says so itself."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    control = [token for token in (UNKNOWN, START, END, PAD, MASK) if token in tokens]
    if UNKNOWN not in control:
        raise refuse(name, f"it has no {UNKNOWN}")
    cased = any(token != token.lower() for token in tokens if not (token.startswith("[") and token.endswith("]")))
    backend = Backend(models.WordPiece(vocab=dict(tokens), unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True) is True,
        strip_accents=accents if isinstance(accents := config.get("strip_accents"), bool) else None,
        lowercase=config.get("do_lower_case", not cased) is True,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    shared.add_control(backend, control)
    start = tokens.get(START)
    return Found(backend=backend, bos=start is not None, bos_id=start, eos_id=tokens.get(END), pad_id=tokens.get(PAD))
