"""What the readers of tokenizer formats share: bounded reading, what they hand back, tokens that text cannot spell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basewright.errors import ModelFileError
from basewright.formats import strict

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

CONFIG = "tokenizer_config.json"
MAX_FILE = 64 * 2**20
MAX_CONFIG = 16 * 2**20
MAX_ID = 2**22
"""Well above the largest vocabulary there is (Gemma's 262 144)."""
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""What kind a token is: SentencePiece's numbers, which GGUF shares."""


@dataclass(frozen=True, slots=True)
class Found:
    """A vocabulary and the facts its own file states; tokenizer_config.json may name others."""

    backend: Backend
    bos: bool
    """Whether texts start with `bos_id`."""
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None


def refuse(
    name: str, why: str, fix: str = "get the model again, in a folder that has a tokenizer.json"
) -> ModelFileError:
    return ModelFileError(f"the tokenizer of {name} cannot be read: {why}", fix=fix, code="unsupported", file=name)


def read(path: Path, limit: int = MAX_FILE) -> bytes:
    """All bytes of a file of at most `limit`. Raises `ModelFileError`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise refuse(path.parent.name, f"{path.name}: {error.strerror or error}") from error
    if len(data) > limit:
        raise refuse(path.parent.name, f"{path.name} is larger than {limit // 2**20} MiB")
    return data


def read_text(path: Path, limit: int = MAX_FILE) -> str:
    try:
        return read(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(path.parent.name, f"{path.name} is not UTF-8") from error


def read_object(path: Path, limit: int = MAX_FILE) -> dict[str, Any]:
    """A strict JSON object. Raises `ModelFileError`."""
    try:
        return strict.parse_object(read(path, limit), path.name)
    except ModelFileError as error:
        raise refuse(path.parent.name, error.message) from error


def token_name(config: Mapping[str, Any], key: str) -> str | None:
    """The text of a token in tokenizer_config.json, written plain or as an object."""
    token = config.get(key)
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def class_name(config: Mapping[str, Any]) -> str | None:
    name = config.get("tokenizer_class")
    return name.removesuffix("Fast") if isinstance(name, str) else None


def check_ids(vocabulary: Mapping[str, Any], name: str) -> None:
    """Ids are distinct and in range (H016). Raises `ModelFileError`."""
    ids = list(vocabulary.values())
    if not ids or any(type(i) is not int or not 0 <= i < MAX_ID for i in ids) or len(set(ids)) < len(ids):
        raise refuse(name, "its ids are not distinct numbers from 0")


def numbered(tokens: Iterable[str], name: str) -> dict[str, int]:
    """A vocabulary in which a token's place is its id. Raises `ModelFileError` if one is there twice."""
    vocabulary: dict[str, int] = {}
    for i, token in enumerate(tokens):
        if vocabulary.setdefault(token, i) != i:
            raise refuse(name, f"the token {token[:40]!r} is there twice")
    check_ids(vocabulary, name)
    return vocabulary


def hidden(token: str) -> str:
    """A name no text has: a unigram model finds any name of its vocabulary in a text, and its texts hold no space."""
    return token + " "


def find_id(backend: Backend, token: str | None) -> int | None:
    if token is None:
        return None
    found = backend.token_to_id(token)
    return backend.token_to_id(hidden(token)) if found is None else found


def add_control(backend: Backend, tokens: Iterable[str]) -> None:
    """Mark tokens of the vocabulary as control: never found in text (H015), left out of decoded text."""
    from tokenizers import AddedToken

    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])


def added_tokens(config: Mapping[str, Any], folder: Path) -> dict[int, dict[str, Any]]:
    """The tokens that tokenizer_config.json puts beside the vocabulary, by id. Raises `ModelFileError`."""
    found: dict[int, dict[str, Any]] = {}
    entries = config.get("added_tokens_decoder", {})
    if not isinstance(entries, dict):
        raise refuse(folder.name, f"{CONFIG} lists added tokens in no known way")
    for key, entry in sorted(entries.items(), key=lambda item: (len(item[0]), item[0])):
        if not key.isdecimal() or not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise refuse(folder.name, f"{CONFIG} describes the added token {key[:20]!r} in no known way")
        found[int(key)] = entry
    older = folder / "added_tokens.json"
    known = {entry["content"]: i for i, entry in found.items()}
    if older.exists() and any(known.get(token) != i for token, i in read_object(older, MAX_CONFIG).items()):
        raise refuse(folder.name, f"added_tokens.json has tokens that {CONFIG} does not describe")
    return found


def add_tokens(backend: Backend, added: Mapping[int, Mapping[str, Any]], name: str) -> None:
    """Put `added_tokens` in place; each must get the id it was given (H016). Raises `ModelFileError`."""
    from tokenizers import AddedToken

    for i, entry in added.items():
        flags = {key: entry.get(key) is True for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        content = entry["content"]
        if backend.token_to_id(hidden(content)) == i:
            continue
        backend.add_tokens([AddedToken(content, **flags)])
        if backend.token_to_id(content) != i:
            raise refuse(name, f"the added token {content[:40]!r} cannot have the id {i}")
