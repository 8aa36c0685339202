"""What a model's files say about its nature: its chat template, and whether the template's tokens were ever trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basewright.catalog import architectures
from basewright.errors import ModelFileError
from basewright.formats import strict, template, triggers
from basewright.formats.render import render
from basewright.formats.safetensors import Tensor, read_header
from basewright.hub import rows

TEMPLATE = "chat_template.jinja"
MAX_TEMPLATE, MAX_TOKENIZER = 2**20, 64 * 2**20
ASK = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Files:
    template: bool
    """Whether there is a chat template."""
    tokens: tuple[str, ...]
    """The added tokens that the template spells, but those that start, end or pad a text in a base model too."""
    untrained: tuple[str, ...]
    """Those of `tokens` whose embedding row shows that training never reached it."""
    turn: str = ""
    """What the template makes of one question to be answered, or why it makes nothing; empty without a template."""
    conditions: tuple[str, ...] = ()
    """What the template does for certain words, lengths or dates only, which writing messages does not need (H014)."""


def read(folder: Path) -> Files:
    """The facts, from a model's folder that has passed the airlock. Raises `ModelFileError`.

    The template is rendered in the one place that may, within its limits (H013).
    """
    config = strict.parse_object(strict.read(folder / "tokenizer_config.json", MAX_TOKENIZER), "tokenizer_config.json")
    templates = list(_templates(folder, config))
    source = "\n".join(templates)
    ids = {text: number for text, number in _added(folder) if text in source} if source else {}
    for name in ("bos_token", "pad_token", "unk_token"):
        value = config.get(name)
        ids.pop(str(value.get("content")) if isinstance(value, dict) else str(value), None)
    flags = rows.flags(*_embedding(folder)) if ids else []
    untrained = tuple(text for text, number in ids.items() if flags[number])
    turn = _turn(templates[0], config) if templates else ""
    conditions = tuple(one for text in templates for one in triggers.find(text, folder.name))
    return Files(bool(templates), tuple(ids), untrained, turn, conditions)


def _templates(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """In a file of its own, or in the tokenizer's config: one text, or a list of named ones."""
    if (folder / TEMPLATE).exists():
        yield strict.read(folder / TEMPLATE, MAX_TEMPLATE).decode("utf-8", "replace")
    yield from (source for _, source in template.sources(config))


def _turn(source: str, config: dict[str, Any]) -> str:
    names = {key: value.get("content") if isinstance(value, dict) else value for key, value in config.items()}
    tokens = {key: value for key, value in names.items() if key.endswith("_token") and isinstance(value, str)}
    context = {**tokens, "messages": [{"role": "user", "content": ASK}], "add_generation_prompt": True}
    try:
        return render(source, context, file="the model")
    except ModelFileError as error:
        return error.message


def _added(folder: Path) -> Iterator[tuple[str, int]]:
    """(text, id) of the tokens added to the vocabulary, control tokens among them."""
    tokenizer = strict.parse_object(strict.read(folder / "tokenizer.json", MAX_TOKENIZER), "tokenizer.json")
    for token in tokenizer.get("added_tokens") or []:
        yield str(token["content"]), int(token["id"])


def _embedding(folder: Path) -> tuple[Path, Tensor]:
    """The file that holds the embedding table, and where in it."""
    config = strict.parse_object(strict.read(folder / "config.json", MAX_TOKENIZER), "config.json")
    for path in sorted(folder.glob("*.safetensors")):
        with strict.open_file(path) as file:
            found = read_header(file, path.stat().st_size, path.name)
        name = architectures.embedding(config, found)
        if name in found:
            return path, found[name]
    raise AssertionError("the airlock lets no model pass that has no embedding table")
