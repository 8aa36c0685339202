"""The one gate: nothing from a model's folder reaches a library before it has passed here.

What is not known to belong to a model stays behind, pickles included (H001); what is taken must be good in every
part: names, weights' headers and index, config, tokenizer's ids, chat templates. Every fault is one `ModelFileError`
(H011). A folder for transformers goes through `inspect`, a GGUF file through `inspect_gguf`, a LoRA adapter through
`inspect_adapter`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any

from basewright.catalog import architectures
from basewright.catalog import config as configs
from basewright.errors import ModelFileError
from basewright.formats import gguf, strict, template
from basewright.formats.gguf_facts import Facts, facts
from basewright.formats.names import SAFE, check_name
from basewright.formats.safetensors import Tensor, read_header
from basewright.hub import adapter
from basewright.records import FileEntry, Head

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TEMPLATE = "tokenizer.json", "chat_template.jinja"
NEEDED = ("config.json", TOKENIZER, "tokenizer_config.json")
LIMITS = {
    "config.json": configs.MAX_CONFIG,
    "generation_config.json": 2**20,
    TOKENIZER: 40 * 2**20,
    "tokenizer_config.json": 16 * 2**20,
    TEMPLATE: template.MAX_SOURCE,
    "special_tokens_map.json": 2**20,
    "card.json": 2**20,
    "record.json": 16 * 2**20,
    INDEX: 16 * 2**20,
    "README.md": 2**24,
    "events.jsonl": 2**28,
}
"""The files that are taken beside weights and licences, and the most bytes each may have."""
READ = {name for name in LIMITS if name.endswith(".json")} | {TEMPLATE}
"""Those whose content is judged; the others are text to people."""
LICENCE = re.compile(r"(LICEN[CS]E|NOTICE|USE_POLICY|COPYING)[A-Za-z0-9._-]*")
SHARD = re.compile(r"model-[0-9]{5}-of-[0-9]{5}\.safetensors")
GGUF = re.compile(r".+\.gguf", re.IGNORECASE)
PART = re.compile(r".+-[0-9]{5}-of-[0-9]{5}\.gguf", re.IGNORECASE)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz", ".h5", ".keras", ".joblib")
FLOATS = ("F32", "BF16", "F16")


def inspect(folder: Path) -> tuple[FileEntry, ...]:
    """The files of `folder` that make up its model, hashed, in order of name. Raises `ModelFileError`.

    Each file is opened once: what is checked is what is hashed, and whoever copies must find that hash (H038).
    """
    files, config, tensors = _opened(folder, configs.check)
    _check_tensors(tensors, architectures.expected(config, tensors))
    return files


def inspect_classifier(folder: Path) -> tuple[tuple[FileEntry, ...], Head]:
    """Likewise of a model with transformers' classification head, and what its config says of that."""
    files, config, tensors = _opened(folder, configs.check_classifier)
    head = configs.head(config)
    _check_tensors(tensors, architectures.under_head(config, len(head.labels)))
    return files, head


def _opened(
    folder: Path, check: Callable[[dict[str, Any]], dict[str, Any]]
) -> tuple[tuple[FileEntry, ...], dict[str, Any], dict[str, Tensor]]:
    """The files of a model's folder, its config, and its tensors, all but the tensors checked."""
    taken = _take(folder)
    for name in NEEDED:
        if name not in taken:
            raise _missing(name, folder)
    values: dict[str, Any] = {}
    files: list[FileEntry] = []
    for name in sorted(taken):
        if name not in READ:
            files.append(_hashed(folder / name))
            continue
        data = strict.read(folder / name, LIMITS[name])
        files.append(_entry(name, data))
        if name == TEMPLATE:
            template.parse(strict.text(data, name), name)
            continue
        values[name] = strict.parse_object(data, name)
        if name != TOKENIZER:  # whose vocabulary may hold any word as a key
            words = {"label2id"} if name == "config.json" else set()  # whose keys are the names of classes
            configs.refuse_code({key: value for key, value in values[name].items() if key not in words}, name)
    for _, source in template.sources(values["tokenizer_config.json"]):
        template.parse(source, "tokenizer_config.json")
    config = check(values["config.json"])
    tensors, shards = _weights(folder, values.get(INDEX))
    _check_ids(values[TOKENIZER], config)
    return tuple(sorted([*files, *shards], key=lambda entry: entry.name)), config, tensors


def inspect_gguf(path: Path) -> tuple[FileEntry, Facts]:
    """A GGUF file that is a whole model, hashed, and what it says about itself. Raises `ModelFileError`."""
    check_name(path.name, path.parent.name)
    with strict.open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        found = facts(gguf.read_head(file, size, path.name), path.name)
        return _whole(file, size, path.name), found


def inspect_adapter(folder: Path) -> tuple[FileEntry, ...]:
    """The files of a LoRA adapter, hashed, in order of name. Raises `ModelFileError`."""
    data = strict.read(folder / adapter.CONFIG, configs.MAX_CONFIG)
    config = strict.parse_object(data, adapter.CONFIG)
    configs.refuse_code({key: value for key, value in config.items() if value}, adapter.CONFIG)
    rank = adapter.check_config(config)
    tensors, weights = _open_weights(folder / adapter.WEIGHTS)
    directed = config.get("use_dora") is True
    tokens = config.get("trainable_token_indices") or {}
    adapter.check_tensors(tensors, rank, bool(config.get("rank_pattern")), adapter.whole(config), directed, tokens)
    return _entry(adapter.CONFIG, data), weights


def wanted(names: Iterable[str]) -> list[str]:
    """Of all file names in a repository, those that `inspect` would look at once they are here, in order.

    Weights are one file, or an index with the shards it names by custom; only names at the top of the repository.
    """
    present = {name for name in names if SAFE.fullmatch(name)}
    taken = {name for name in present if name in LIMITS or LICENCE.fullmatch(name)}
    if WEIGHTS in present:
        taken = (taken | {WEIGHTS}) - {INDEX}
    elif INDEX in present:
        taken |= {name for name in present if SHARD.fullmatch(name)}
    return sorted(taken)


def wanted_gguf(names: Iterable[str]) -> list[str]:
    """The GGUF files among all file names in a repository: each is a whole model, so the caller takes one of them.

    Parts of a split one (`-00001-of-00003.gguf`) are left out: one alone is no model.
    """
    return sorted(name for name in names if SAFE.fullmatch(name) and GGUF.fullmatch(name) and not PART.fullmatch(name))


def _take(folder: Path) -> set[str]:
    """Names in the folder that belong to a model, weights apart. Links and pipes are refused when they are opened."""
    if not folder.is_dir():
        raise ModelFileError(
            f"there is no folder {folder.name}", fix="correct the path of the model", code="missing", file=folder.name
        )
    try:
        present = [path.name for path in folder.iterdir() if not path.is_dir()]
    except OSError as error:
        raise ModelFileError(
            f"{folder.name} cannot be read: {error.strerror}",
            fix="let yourself read that folder",
            code="unreadable",
            file=folder.name,
        ) from error
    twins = Counter(name.lower() for name in present)
    taken = {name for name in present if name in LIMITS or LICENCE.fullmatch(name)}
    if WEIGHTS in present:
        taken.discard(INDEX)  # one file of weights needs none, and a library would not look at it either
    for name in [*taken, WEIGHTS]:
        if twins[name.lower()] > 1:
            raise ModelFileError(
                f"{folder.name} holds {name} in two spellings",
                fix="remove the one that is not the model's",
                code="name",
                file=name,
            )
        check_name(name, folder.name)
    if WEIGHTS not in present and INDEX not in present:
        raise _no_weights(present, folder)
    return taken


# --- weights --------------------------------------------------------------------------------------


def _weights(folder: Path, index: dict[str, Any] | None) -> tuple[dict[str, Tensor], list[FileEntry]]:
    """Every tensor of the model and the entries of the files that hold them."""
    listed = {WEIGHTS: None} if index is None else _shards(index)
    tensors: dict[str, Tensor] = {}
    files = []
    for shard, names in listed.items():
        found, entry = _open_weights(folder / shard)
        if names is not None and names != set(found):
            odd = sorted(names ^ set(found))[0]
            raise strict.fault(INDEX, f"and {shard} disagree about the tensor {odd[:80]!r}", "mismatch")
        tensors |= found
        files.append(entry)
    return tensors, files


def _open_weights(path: Path) -> tuple[dict[str, Tensor], FileEntry]:
    with strict.open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        return read_header(file, size, path.name), _whole(file, size, path.name)


def _whole(file: BufferedReader, size: int, name: str) -> FileEntry:
    """The entry of an open file of `size` bytes, all of it hashed."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if file.tell() != size:
        raise ModelFileError(
            f"{name} changed while it was read", fix="run the command again", code="changed", file=name
        )
    return FileEntry(name=name, size=size, sha256=digest)


def _hashed(path: Path) -> FileEntry:
    """The entry of a file that is only text to us: a licence, a README, a log."""
    limit = LIMITS.get(path.name, 2**20)
    with strict.open_file(path) as file:
        size = file.seek(0, 2)
        if size > limit:
            raise strict.fault(path.name, f"is larger than {limit / 2**20:.0f} MiB", "too-large")
        return _whole(file, size, path.name)


def _entry(name: str, data: bytes) -> FileEntry:
    return FileEntry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _shards(index: dict[str, Any]) -> dict[str, set[str] | None]:
    """Tensor names by shard. A shard's name is a plain name before it is ever joined to a path (H006)."""
    placed = index.get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise strict.fault(INDEX, "holds no weight_map", "missing")
    shards: dict[str, set[str] | None] = {}
    for tensor, shard in placed.items():
        if not isinstance(shard, str) or not shard.endswith(".safetensors"):
            raise strict.fault(INDEX, f"places {tensor[:80]!r} in no safetensors file", "name")
        names = shards.setdefault(check_name(shard, INDEX), set())
        if names is not None:
            names.add(tensor)
    if len({shard.lower() for shard in shards}) != len(shards):
        raise strict.fault(INDEX, "names one file in two spellings", "name")
    return shards


def _check_tensors(tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]]) -> None:
    """Just the tensors that the config calls for: a missing one would be filled with noise, an extra one ignored."""
    for name, dims in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise ModelFileError(
                f"the weights lack {name}, which config.json calls for", fix=strict.AGAIN, code="missing", file=WEIGHTS
            )
        if tensor.shape != dims:
            raise ModelFileError(
                f"{name} has the shape {list(tensor.shape)}; config.json calls for {list(dims)}",
                fix="use the config.json that belongs to these weights",
                code="mismatch",
                file=WEIGHTS,
            )
        if tensor.dtype not in FLOATS:
            raise ModelFileError(
                f"{name} is stored as {tensor.dtype}",
                fix="use the model's weights in float32, bfloat16 or float16",
                code="unsupported",
                file=WEIGHTS,
            )
    for name in tensors:
        if name not in expected and not architectures.LEFTOVER.fullmatch(name):
            raise ModelFileError(
                f"the weights hold {name[:80]}, which config.json does not call for",
                fix="use the config.json that belongs to these weights",
                code="mismatch",
                file=WEIGHTS,
            )


# --- tokenizer ------------------------------------------------------------------------------------


def _check_ids(tokenizer: dict[str, Any], config: dict[str, Any]) -> None:
    """Every id the tokenizer can produce, and every id the config names, has an embedding row (H016)."""
    rows = config["vocab_size"]
    largest = max(_ids(tokenizer), default=-1)
    if largest < 0:
        raise strict.fault(TOKENIZER, "holds no vocabulary", "missing")
    if largest >= rows:
        raise ModelFileError(
            f"the tokenizer makes the token id {largest}, and the model has {rows} embedding rows",
            fix="use the tokenizer of this model, or save the model after resizing its embedding",
            code="mismatch",
            file=TOKENIZER,
        )
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = config.get(key)
        for token in value if isinstance(value, list) else [value]:
            if token is not None and token >= rows:
                raise ModelFileError(
                    f"config.json: {key} {token} is beyond the {rows} embedding rows",
                    fix="correct config.json",
                    code="mismatch",
                    file="config.json",
                )


def _ids(tokenizer: dict[str, Any]) -> Iterable[int]:
    """Ids in a tokenizer.json: a table of ids (BPE, WordPiece, WordLevel) or a list (Unigram), and the added tokens."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    found: list[Any] = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if isinstance(vocabulary, list):
        found = list(range(len(vocabulary)))
    if isinstance(added, list):
        found += [token.get("id") if isinstance(token, dict) else None for token in added]
    if not all(type(token) is int and token >= 0 for token in found):
        raise strict.fault(TOKENIZER, "has a token without an id", "malformed")
    return found


# --- what is not there ----------------------------------------------------------------------------


def _missing(name: str, folder: Path) -> ModelFileError:
    if name == TOKENIZER:
        fix = "save the tokenizer in its fast form (transformers: AutoTokenizer.from_pretrained, save_pretrained)"
    else:
        fix = f"add the model's own {name} to that folder"
    return ModelFileError(f"{folder.name} holds no {name}", fix=fix, code="missing", file=name)


def _no_weights(present: list[str], folder: Path) -> ModelFileError:
    pickles = sorted(name for name in present if name.lower().endswith(PICKLES))
    if pickles:
        return ModelFileError(
            f"{folder.name} holds its weights only as {pickles[0][:80]!r}, which can run code when it is opened",
            fix="use the model's safetensors files; where you trust the source, save it anew with save_pretrained",
            code="code",
            file=pickles[0][:255],
        )
    fix = f"add {WEIGHTS}, or its shards with {INDEX}"
    return ModelFileError(f"{folder.name} holds no {WEIGHTS}", fix=fix, code="missing", file=WEIGHTS)
