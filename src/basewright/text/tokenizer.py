"""A tokenizer and its facts, read from a model's folder by `tokenizers` alone (no torch, no transformers)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewright.errors import ModelFileError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


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

    def ids(self, text: str) -> list[int]:
        """The ids of plain text: nothing added. Control tokens spelled in `text` stay ordinary text (H015)."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def text(self, ids: Sequence[int]) -> str:
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token's own text, control tokens included, for people to read."""
        return [str(self.backend.decode([i], skip_special_tokens=False)) for i in ids]


def open_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json` and `tokenizer_config.json`. Raises `ModelFileError`.

    A missing pad token becomes some other token than EOS whose loss is masked by position anyway, so a
    supervised EOS is never mistaken for padding (H065).
    """
    from tokenizers import Tokenizer as Backend

    path = folder / "tokenizer.json"
    try:
        backend = Backend.from_file(str(path))
        config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except Exception as error:
        raise ModelFileError(
            f"the tokenizer of {folder.name} cannot be read: {error}", fix="pull the model again, or check the folder"
        ) from error
    backend.no_truncation()
    backend.no_padding()
    eos_id = _special(backend, config, "eos_token")
    if eos_id is None:
        raise ModelFileError(f"{folder.name} names no EOS token", fix="set eos_token in its tokenizer_config.json")
    bos_id = _special(backend, config, "bos_token")
    first = list(backend.encode("a", add_special_tokens=True).ids)[:1]
    pad_id = _special(backend, config, "pad_token")
    if pad_id is None or pad_id == eos_id:
        pad_id = 0 if eos_id != 0 else 1
    backend.encode_special_tokens = True
    size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
    return Tokenizer(
        backend=backend,
        bos=bos_id is not None and first == [bos_id],
        bos_id=bos_id,
        eos_id=eos_id,
        pad_id=pad_id,
        size=size,
    )


def _special(backend: Backend, config: dict[str, Any], name: str) -> int | None:
    token = config.get(name)
    if isinstance(token, dict):
        token = token.get("content")
    return None if token is None else backend.token_to_id(token)
