"""What the files of a model's folder say about it, beside its tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from basewright.catalog import architectures
from basewright.catalog import config as configs
from basewright.catalog.allowed import SUPPORTED
from basewright.errors import ModelFileError, UsageError
from basewright.formats import strict
from basewright.records import Nature

LICENCE = re.compile(r"\A---\s*\n(?:(?!---).*\n)*?license:[ \t]*['\"]?([A-Za-z0-9][A-Za-z0-9.+-]{0,63})['\"]?[ \t]*\n")
TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer_config.json"


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json: all of it checked where the family can be run, else only that it asks for no code."""
    config = strict.parse_object(strict.read(folder / configs.NAME, configs.MAX_CONFIG), configs.NAME)
    if config.get("model_type") in SUPPORTED:
        return configs.check(config)
    configs.refuse_code(config, configs.NAME)
    return config


def require_decoder(folder: Path) -> None:
    """Raises `UsageError` for an encoder, which fills in masked tokens and continues no text."""
    config = read_config(folder)
    if architectures.family_of(config).kind == "encoder":
        raise UsageError(
            f"{folder.name} is an encoder ({config['model_type']}): it fills in masked tokens and continues no text",
            fix="name a decoder; basewright catalog lists them",
        )


def nature(folder: Path) -> Nature:
    """A chat template is taken as the sign of an instruct model."""
    if (folder / TEMPLATE).exists():
        return "instruct"
    path = folder / TOKENIZER
    if not path.exists():
        return "base"
    held = strict.parse_object(strict.read(path, 16 * 2**20), path.name).get("chat_template")
    return "instruct" if held else "base"


def licence(folder: Path) -> str:
    """The one that the README's front matter names, or `unknown`."""
    try:
        text = strict.read(folder / "README.md", 2**20).decode("utf-8", "replace")
    except ModelFileError:
        return "unknown"
    found = LICENCE.match(text.replace("\r\n", "\n"))
    return found[1] if found else "unknown"
