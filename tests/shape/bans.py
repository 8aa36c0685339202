"""What our code may not do, found in its syntax tree: ways to run a stranger's file, and second copies of a gate."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ban:
    why: str
    names: tuple[str, ...]
    """Dotted; one that ends with a dot stands for all that begins so."""
    allowed: tuple[str, ...] = ()
    """The modules that may, by their path under src/basewright."""


BANS = (
    Ban("pickle runs code (H001)", ("pickle.", "cPickle.", "_pickle.", "dill.", "cloudpickle.", "shelve.", "marshal.")),
    Ban("joblib is a pickle (H001)", ("joblib.",)),
    Ban("torch.load is a pickle (H001)", ("torch.load", "torch.jit.load", "torch.hub.", "torch.serialization.")),
    Ban("a pickled frame (H001)", ("pandas.read_pickle", "numpy.lib.format.read_array")),
    Ban("yaml makes objects (H002)", ("yaml.", "ruamel.")),
    Ban("code made of text (H002)", ("eval", "exec", "runpy.", "code.")),
    Ban(
        "templates are rendered in one place (H012)",
        (
            "jinja2.Environment",
            "jinja2.Template",
            "jinja2.environment.",
            "jinja2.sandbox.",
            "jinja2.nativetypes.",
        ),
        ("formats/template.py", "pages/sheet.py"),  # the second: the package's own pages, which no stranger writes
    ),
    Ban("chat templates are rendered in one place (H013)", ("transformers.utils.chat_template_utils.",)),
    Ban("GGUF heads are read by formats/gguf.py (H010)", ("gguf.GGUFReader", "gguf.gguf_reader.")),
    Ban(
        "safetensors' own reader opens what was inspected (H007)",
        (
            "safetensors.safe_open",
            "safetensors.deserialize",
            "safetensors.torch.load",
            "safetensors.torch.load_file",
            "safetensors.torch.load_model",
            "safetensors.numpy.",
        ),
        ("convert/weights.py", "train/adapters.py", "train/kept.py", "train/loop.py", "train/reference.py"),
    ),
)
KEYWORDS = {"trust_remote_code": "remote code (H005)", "allow_pickle": "a pickled array (H001)"}
"""Arguments that are always the word False."""


def uses(source: str, module: str) -> Iterator[str]:
    """What `module` does that it may not: one line each."""
    tree = ast.parse(source)
    known = dict(_imports(tree))
    for node in ast.walk(tree):
        for name in _names(node, known):
            for ban in BANS:
                if module not in ban.allowed and any(_is(name, banned) for banned in ban.names):
                    yield f"{module}:{getattr(node, 'lineno', 0)}: {name}: {ban.why}"
        for keyword, value in _keywords(node):
            if keyword in KEYWORDS and not (isinstance(value, ast.Constant) and value.value is False):
                yield f"{module}:{getattr(node, 'lineno', 0)}: {keyword} is not False: {KEYWORDS[keyword]}"


def _is(name: str, banned: str) -> bool:
    return name == banned.rstrip(".") or name.startswith(banned) if banned.endswith(".") else name == banned


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name here, dotted name) of all that is imported, wherever in the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _names(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    """The dotted names that a node stands for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
        yield _dotted(node, known)
    elif isinstance(node, ast.Call):
        yield from _called(node, known)


def _called(node: ast.Call, known: dict[str, str]) -> Iterator[str]:
    name = _dotted(node.func, known)
    words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    if name in ("eval", "exec"):
        yield name
    if name in ("__import__", "importlib.import_module", "builtins.__import__"):
        yield from (str(word) for word in words[:1])
    if name == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
        yield f"{_dotted(node.args[0], known)}.{node.args[1].value!s}"


def _dotted(node: ast.AST, known: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, known)}.{node.attr}"
    return "?"


def _keywords(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Arguments of calls, and entries of tables that are handed on as such."""
    if isinstance(node, ast.Call):
        yield from ((one.arg, one.value) for one in node.keywords if one.arg)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value
