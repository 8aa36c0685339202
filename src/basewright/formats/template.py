"""A stranger's chat template, judged by its syntax tree before anything renders it (H012, H013).

An allow-list: what is not known to be needed for writing messages is refused. `render` runs what passed, in a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from basewright.errors import ModelFileError

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

MAX_SOURCE = 40 * 1024
"""Characters: the longest official ones have half as many, and the worst that fits is parsed in a quarter second."""
MAX_NODES = 2**14
MAX_DEPTH = 64
MAX_MACROS = 64
MAX_INTEGER = 2**16
MAX_TEXT = 2**14
"""Characters of one literal."""
NODES = frozenset({
    "Template", "Output", "TemplateData", "Name", "NSRef", "Const", "Tuple", "List", "Dict", "Pair", "Keyword",
    "CondExpr", "Filter", "Test", "Call", "Getitem", "Getattr", "Slice", "Concat", "Compare", "Operand", "Add",
    "Sub", "Div", "FloorDiv", "Mod", "Not", "And", "Or", "Neg", "Pos", "For", "If", "Macro", "Assign",
    "AssignBlock", "FilterBlock", "With", "Scope", "Break", "Continue", "ExprStmt",
})  # fmt: skip
"""Types of nodes. No inheritance, import or include; no power, and no product, which repeats texts and lists."""
FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "indent",
    "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "tojson",
    "trim", "unique", "upper",
})  # fmt: skip
TESTS = frozenset({
    "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in", "integer",
    "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sameas", "sequence", "string",
    "true", "undefined", "upper",
})  # fmt: skip
NAMES_REFUSED = frozenset({"caller", "cycler", "joiner", "kwargs", "lipsum", "self", "super", "varargs"})
GLOBALS = frozenset({"dict", "namespace", "raise_exception", "range", "strftime_now"})
METHODS = frozenset({
    "append", "capitalize", "count", "endswith", "find", "get", "index", "isalnum", "isalpha", "isdigit", "islower",
    "isspace", "isupper", "items", "join", "keys", "lower", "lstrip", "removeprefix", "removesuffix", "replace",
    "rfind", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper", "values",
})  # fmt: skip
"""Of texts, lists and dicts. Not `format`, which reads attributes, nor those that pad a text to a width."""
FRAMES = {"mro", "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code"}
FIELDS_REFUSED = FRAMES | {name for kind in (str, list, dict, int, float, tuple) for name in dir(kind)} - METHODS
"""Names that are attributes of Python's values; all others are fields of a message or tool."""


def sources(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, source) of the templates in a tokenizer's config: one text, or a list of named ones."""
    found = config.get("chat_template")
    for one in found if isinstance(found, list) else [found]:
        name, text = (one.get("name"), one.get("template")) if isinstance(one, dict) else ("default", one)
        if isinstance(text, str) and text:
            yield str(name), text


def parse(source: str, file: str) -> nodes.Template:
    """The syntax tree of a template that does nothing but write messages. Raises `ModelFileError` for any other."""
    from jinja2 import TemplateError, nodes

    if len(source) > MAX_SOURCE:
        raise fault(file, f"has a chat template of more than {MAX_SOURCE // 1024} KiB")
    try:
        tree = environment().parse(source)
        seen = list(_walk(tree, file))
    except (TemplateError, ValueError) as error:  # a number of too many digits is the lexer's ValueError
        raise fault(file, f"has a chat template that is none: {error}") from error
    except RecursionError as error:
        raise fault(file, "has a chat template that is nested too deep") from error
    macros = {node.name for node in seen if isinstance(node, nodes.Macro)}
    if len(macros) > MAX_MACROS:
        raise fault(file, f"has a chat template of more than {MAX_MACROS} macros")
    stored = {node.name for node in seen if isinstance(node, nodes.Name) and node.ctx != "load"}
    for node in seen:
        if why := _wrong(node, macros - stored):
            raise fault(file, f"has a chat template that {why} (line {node.lineno})")
    return tree


def environment() -> Environment:
    """The only environment there is: sandboxed, nothing can be changed from inside, the settings of transformers."""
    import unicodedata  # noqa: F401 - Jinja's lexer imports it at the first \N{…} in a template, too late for a watched process

    from jinja2 import debug, nodes  # noqa: F401 - and this at the first error
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what the model says, for training; in a text it changes nothing."""

        tags = {"generation"}  # noqa: RUF012 - as the base class declares it

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])


def _walk(tree: nodes.Node, file: str) -> Iterator[nodes.Node]:
    """Every node, within limits of number and depth."""
    level, count = [tree], 0
    for _ in range(MAX_DEPTH):
        yield from level
        count += len(level)
        level = [child for node in level for child in node.iter_child_nodes()]
        if count + len(level) > MAX_NODES:
            raise fault(file, f"has a chat template of more than {MAX_NODES} parts")
        if not level:
            return
    raise fault(file, "has a chat template that is nested too deep")


def _wrong(node: nodes.Node, macros: set[str]) -> str | None:
    """Why one node is refused."""
    from jinja2 import nodes

    kind = type(node).__name__
    if kind not in NODES:
        return f"uses {kind}, which writing messages does not need"
    if isinstance(node, nodes.For) and node.recursive:
        return "calls itself"
    if isinstance(node, nodes.Const):
        return _wrong_constant(node.value)
    if isinstance(node, nodes.Filter | nodes.Test):
        return _wrong_filter(node)
    if isinstance(node, nodes.Mod) and not _is_number(node.right):
        return "uses % other than by a number"
    if isinstance(node, nodes.Mod) and isinstance(
        node.left, nodes.Const | nodes.Concat | nodes.Add | nodes.TemplateData
    ):
        return "fills in a format"
    if isinstance(node, nodes.Getattr) and _refused(node.attr):
        return f"asks for the attribute {node.attr[:40]!r}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and _refused(node.arg.value):
        return f"asks for the attribute {str(node.arg.value)[:40]!r}"
    if isinstance(node, nodes.Name) and (node.name.startswith("__") or node.name in NAMES_REFUSED):
        return f"uses the name {node.name[:40]!r}"
    if isinstance(node, nodes.Call):
        return _wrong_call(node, macros)
    return None


def _wrong_call(node: nodes.Call, macros: set[str]) -> str | None:
    """Only methods of texts, lists and dicts, the functions that templates are given, and the template's macros."""
    from jinja2 import nodes

    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return "calls with a list of arguments that is not written out"
    if isinstance(node.node, nodes.Getattr):
        return None if node.node.attr in METHODS else f"calls {node.node.attr[:40]!r}"
    if isinstance(node.node, nodes.Name):
        return None if node.node.name in GLOBALS | macros else f"calls {node.node.name[:40]!r}"
    return "calls what is no name"


def _wrong_filter(node: nodes.Filter | nodes.Test) -> str | None:
    from jinja2 import nodes

    known = FILTERS if isinstance(node, nodes.Filter) else TESTS
    if node.name not in known:
        return f"uses the filter or test {node.name[:40]!r}"
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return "calls with a list of arguments that is not written out"
    names = {"map": (0, FILTERS), "select": (0, TESTS), "reject": (0, TESTS)}
    names |= {"selectattr": (1, TESTS), "rejectattr": (1, TESTS)}
    if isinstance(node, nodes.Filter) and node.name in names:
        place, allowed = names[node.name]
        for one in node.args[place : place + 1]:
            if not isinstance(one, nodes.Const) or one.value not in allowed:
                return f"gives {node.name} a filter or test that is not known"
    for pair in node.kwargs:
        if pair.key in ("attribute", "width", "indent") and not isinstance(pair.value, nodes.Const):
            return f"computes the {pair.key} of {node.name}"
    attributes = [getattr(pair.value, "value", "__") for pair in node.kwargs if pair.key == "attribute"]
    if node.name in ("selectattr", "rejectattr", "groupby"):
        attributes += [getattr(one, "value", "__") for one in node.args[:1]]
    if any(_refused(part) for one in attributes for part in str(one).split(".")):
        return f"asks {node.name} for an attribute of Python's"
    return None


def _wrong_constant(value: Any) -> str | None:
    if isinstance(value, str):
        return f"holds a literal of more than {MAX_TEXT} characters" if len(value) > MAX_TEXT else None
    if value is None or isinstance(value, bool):
        return None
    return None if abs(value) <= MAX_INTEGER else f"holds a number beyond {MAX_INTEGER}"


def _refused(name: object) -> bool:
    return isinstance(name, str) and (name.startswith("_") or name in FIELDS_REFUSED)


def _is_number(node: nodes.Node) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Const) and type(node.value) is int and node.value > 0


def refuse_recursion(tree: nodes.Template, file: str) -> None:
    """No macro reaches itself. Some official templates do, for the schemas of tools: those are kept, never rendered."""
    from jinja2 import nodes

    calls: dict[str, set[str]] = {}
    for macro in tree.find_all(nodes.Macro):
        names = {call.node.name for call in macro.find_all(nodes.Call) if isinstance(call.node, nodes.Name)}
        calls.setdefault(macro.name, set()).update(names)
    reached = {name: set(names) for name, names in calls.items()}
    for _ in reached:
        for name, names in reached.items():
            reached[name] = names.union(*(calls.get(other, set()) for other in names))
    for name, names in reached.items():
        if name in names:
            raise fault(file, f"has a chat template whose macro {name[:40]!r} calls itself")


def fault(file: str, what: str) -> ModelFileError:
    return ModelFileError(
        f"{file} {' '.join(what.split())[:300]}",
        fix="remove the chat template from that folder: a base model is used without one",
        code="template",
        file=file,
    )
