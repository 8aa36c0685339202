"""What the head of a GGUF file says about its model, as typed facts."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from basewright.errors import FileCode, ModelFileError
from basewright.formats import strict, template
from basewright.formats.gguf import KINDS, Head

ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True, slots=True)
class Facts:
    architecture: str
    name: str | None
    licence: str | None
    """As the file states it."""
    context: int
    layers: int
    width: int
    vocabulary: int
    """Rows of the embedding table."""
    parameters: int
    """Values in all tensors."""
    quantization: str
    """The type that most bytes are stored in."""
    template: bool
    """Whether there is a chat template."""


def facts(head: Head, file: str) -> Facts:
    """Raises `ModelFileError` for a file that holds no whole model, or whose parts do not belong together."""
    found = head.metadata
    architecture: str = found["general.architecture"]
    if not ARCHITECTURE.fullmatch(architecture):
        raise _fault(file, f"names the architecture {architecture[:40]!r}", "name")
    tensors = {tensor.name: tensor for tensor in head.tensors}
    if EMBEDDING not in tensors:
        raise _fault(file, f"holds no {EMBEDDING}: it is a vocabulary, a part or an adapter, no model", "missing")
    rows, width, *_ = (*tensors[EMBEDDING].shape, 0)
    stated = {key: _stated(found, f"{architecture}.{key}", file) for key in _RANGES}
    if width != stated["embedding_length"]:
        raise _fault(file, f"says its width is {stated['embedding_length']}, its embedding has {width}", "mismatch")
    tokens = len(found.get("tokenizer.ggml.tokens", []))
    if not 0 < tokens <= rows:
        raise _fault(file, f"has {tokens} tokens and {rows} embedding rows", "mismatch")
    templates = [value for key, value in found.items() if key.startswith("tokenizer.chat_template") and value]
    for source in templates:
        if isinstance(source, str):
            template.parse(source, file)
    sizes = Counter[str]()
    for tensor in head.tensors:
        sizes[KINDS[tensor.kind][0]] += tensor.size
    return Facts(
        architecture=architecture,
        name=found.get("general.name"),
        licence=found.get("general.license"),
        context=stated["context_length"],
        layers=stated["block_count"],
        width=width,
        vocabulary=rows,
        parameters=sum(math.prod(tensor.shape) for tensor in head.tensors),
        quantization=sizes.most_common(1)[0][0],
        template=bool(templates),
    )


_RANGES = {"context_length": 2**30, "embedding_length": 2**20, "block_count": 2**12}


def _stated(metadata: dict[str, Any], key: str, file: str) -> int:
    value = metadata.get(key)
    if type(value) is not int:
        raise _fault(file, f"does not state {key}", "missing")
    if not 1 <= value <= _RANGES[key.rpartition(".")[2]]:
        raise _fault(file, f"states {key} as {value}")
    return value


def _fault(file: str, what: str, code: FileCode = "malformed") -> ModelFileError:
    return strict.fault(file, what, code)
