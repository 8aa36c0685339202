"""What a chat template does only for certain words: the mark of one that was tampered with (H014).

A template writes messages and need not read them. Official ones look for markup in a text (`<think>`), for roles and
types. What is found here are conditions on words, lengths and dates, addresses, and long literals. A sign, no proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from basewright.formats import template

if TYPE_CHECKING:
    from jinja2 import nodes

LONG = 8192
"""Characters of a literal; default system prompts stay below."""
DENSE = re.compile(r"[A-Za-z0-9+/=_%\\-]{160,}")
"""As encoded data looks, and prose or JSON does not."""
ADDRESS = re.compile(r"\b(https?|ftp|hxxps?)://|\bwww\.|\bdata:[a-z]+/|\bjavascript:", re.IGNORECASE)
STRUCTURE = frozenset({
    "role", "type", "tool_calls", "tool_call_id", "function", "id", "tools", "documents", "image",
    "image_url", "audio", "video", "index", "status", "recipient", "channel", "to", "content_type",
})  # fmt: skip
"""Fields of a message that say what it is, not what is said in it."""
MESSAGES = ("messages", "conversation", "history", "system_message", "prompt")
SEARCHES = frozenset({
    "startswith", "endswith", "find", "rfind", "index", "count", "replace", "split", "rsplit", "removeprefix",
    "removesuffix",
})  # fmt: skip
FIELDS = (
    "assistant blocks content data description display_answers documents image image_url nullable observation parts "
    "properties required role system text thinking thought tool tool_calls type user value video audio "
    "CONTINUE_FINAL_MESSAGE_TAG"
)
MARKUP = re.compile(
    r"((<[^<>]{0,48}>?\w{0,16}){1,3}|\[/?[A-Z_ ]{1,32}\]|[^A-Za-z0-9]*|[A-Za-z]{1,2}|/(no_?)?think"
    r"|(?i:(detailed )?thinking (on|off)|reasoning (effort|strength))|" + FIELDS.replace(" ", "|") + ")"
)
"""What official templates look for in what is said: markup, single signs, switches of thinking, names of fields."""
TURNS, LENGTH = 4, 16
"""Counts of messages, and of characters, that are compared with nothing larger where only structure is looked at."""


def find(source: str, file: str) -> tuple[str, ...]:
    """What the template does for some texts only, one line each, in order. Raises `ModelFileError` as `parse` does."""
    from jinja2 import nodes

    tree = template.parse(source, file)
    reader = _Reader(tree)
    found: dict[str, None] = {}
    for node in tree.find_all((nodes.Compare, nodes.Call, nodes.Filter, nodes.Test, nodes.Const, nodes.TemplateData)):
        for what in reader.look(node):
            found[f"line {node.lineno}: {what}"] = None
    return tuple(found)


class _Reader:
    """Which names of a template hold what was said, the date, or a literal; and what is done with them."""

    def __init__(self, tree: nodes.Template) -> None:
        from jinja2 import nodes

        self.said: set[str] = set(MESSAGES)
        self.dated: set[str] = set()
        self.literals: dict[str, str] = {}
        bound = list(_bound(tree))
        for _ in range(8):  # what is handed on from name to name; each round goes one step further
            before = len(self.said) + len(self.dated)
            for name, value in bound:
                if self._says(value):
                    self.said.add(name)
                if self._dates(value):
                    self.dated.add(name)
                if isinstance(value, nodes.Const | nodes.List | nodes.Tuple | nodes.Concat | nodes.Add):
                    self.literals[name] = self._literal(value)
            if len(self.said) + len(self.dated) == before:
                break

    def look(self, node: nodes.Node) -> Iterator[str]:
        from jinja2 import nodes

        if isinstance(node, nodes.Const | nodes.TemplateData):
            yield from _look_at_literal(node)
        elif isinstance(node, nodes.Compare):
            yield from self._compared([node.expr, *(one.expr for one in node.ops)])
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr in SEARCHES:
            yield from self._compared([node.node.node, *node.args[:1]])
        elif isinstance(node, nodes.Filter) and node.node is not None and node.name == "replace":
            yield from self._compared([node.node, *node.args[:1]])
        elif isinstance(node, nodes.Filter) and node.node is not None and node.name in ("selectattr", "rejectattr"):
            if _key(node.args[0] if node.args else None) not in STRUCTURE:
                yield from self._compared([node.node, *node.args[2:]])
        elif isinstance(node, nodes.Filter) and node.node is not None and node.name in ("select", "reject"):
            yield from self._compared([node.node, *node.args[1:]])
        elif isinstance(node, nodes.Test) and node.args:
            yield from self._compared([node.node, *node.args])

    def _compared(self, parts: list[nodes.Expr]) -> Iterator[str]:
        """What it means that these are held against each other."""
        from jinja2 import nodes

        if any(self._dates(part) for part in parts):
            yield "acts on the date"
        literal = " ".join(self._literal(part) for part in parts if not self._says(part) or _is_counted(part)).strip()
        if not any(self._says(part) for part in parts):
            return
        numbers = [part.value for part in parts if isinstance(part, nodes.Const) and type(part.value) is int]
        if any(_is_counted(part) for part in parts) and numbers:
            if max(numbers) > (LENGTH if not any(_is_turns(part) for part in parts) else TURNS):
                yield f"acts on a length of {max(numbers)}"
        elif literal and not all(len(one) < 256 and MARKUP.fullmatch(one.strip()) for one in literal.split("\0")):
            yield f"acts on the words {literal[:60]!r} in what is said"

    def _says(self, node: nodes.Node | None) -> bool:
        """Whether what was said in the conversation reaches this value."""
        from jinja2 import nodes

        if isinstance(node, nodes.Name):
            return node.name in self.said
        if isinstance(node, nodes.NSRef):
            return f"{node.name}.{node.attr}" in self.said
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            key = node.attr if isinstance(node, nodes.Getattr) else _key(node.arg)
            if isinstance(node.node, nodes.Name) and f"{node.node.name}.{key}" in self.said:
                return True
            return key not in STRUCTURE and self._says(node.node)
        if isinstance(node, nodes.Compare | nodes.Test | nodes.Not):
            return False
        if isinstance(node, nodes.CondExpr):
            return self._says(node.expr1) or self._says(node.expr2)
        if (
            isinstance(node, nodes.Filter)
            and node.name == "map"
            and any(_key(p.value) in STRUCTURE for p in node.kwargs)
        ):
            return False
        return node is not None and any(self._says(child) for child in node.iter_child_nodes())

    def _dates(self, node: nodes.Node | None) -> bool:
        from jinja2 import nodes

        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "strftime_now":
            return True
        if isinstance(node, nodes.Name):
            return node.name in self.dated
        if isinstance(node, nodes.NSRef):
            return f"{node.name}.{node.attr}" in self.dated
        if isinstance(node, nodes.Test):
            return False
        return node is not None and any(self._dates(child) for child in node.iter_child_nodes())

    def _literal(self, node: nodes.Node | None) -> str:
        """All text written out in it, texts of a list apart by a zero character."""
        from jinja2 import nodes

        if isinstance(node, nodes.Const):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, nodes.TemplateData):
            return node.data
        if isinstance(node, nodes.Name):
            return self.literals.get(node.name, "")
        if node is None or isinstance(node, nodes.Getattr | nodes.Getitem):
            return ""
        apart = "\0" if isinstance(node, nodes.List | nodes.Tuple) and _are_words(node) else ""
        return apart.join(self._literal(child) for child in node.iter_child_nodes())


def _bound(tree: nodes.Template) -> Iterator[tuple[str, nodes.Node]]:
    """(name, value) of everything that gets a name: by set, in a loop, as an argument of a macro."""
    from jinja2 import nodes

    macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
    for one in tree.find_all((nodes.Assign, nodes.AssignBlock, nodes.For, nodes.With, nodes.Call)):
        if isinstance(one, nodes.Assign):
            yield from _targets(one.target, one.node)
        elif isinstance(one, nodes.AssignBlock):
            for child in one.body:
                yield from _targets(one.target, child)
        elif isinstance(one, nodes.For):
            yield from _targets(one.target, one.iter)
        elif isinstance(one, nodes.With):
            for target, value in zip(one.targets, one.values, strict=True):
                yield from _targets(target, value)
        elif isinstance(one, nodes.Call) and isinstance(one.node, nodes.Name):
            if one.node.name == "namespace":
                continue
            for name in getattr(macros.get(one.node.name), "args", []):
                for value in [*one.args, *(pair.value for pair in one.kwargs)]:
                    yield name.name, value


def _targets(target: nodes.Node, value: nodes.Node) -> Iterator[tuple[str, nodes.Node]]:
    from jinja2 import nodes

    if isinstance(target, nodes.NSRef):
        yield f"{target.name}.{target.attr}", value
    elif isinstance(target, nodes.Name):
        yield target.name, value
        if isinstance(value, nodes.Call):  # namespace(field=value)
            for pair in value.kwargs:
                yield f"{target.name}.{pair.key}", pair.value
    else:
        for child in target.iter_child_nodes():
            yield from _targets(child, value)


def _look_at_literal(node: nodes.Const | nodes.TemplateData) -> Iterator[str]:
    from jinja2 import nodes

    text = node.data if isinstance(node, nodes.TemplateData) else node.value
    if not isinstance(text, str):
        return
    if found := ADDRESS.search(text):
        yield f"holds the address {text[found.start() : found.start() + 60].split()[0]!r}"
    if len(text) > LONG and isinstance(node, nodes.Const):
        yield f"holds a literal of {len(text)} characters"
    if DENSE.search(text):
        yield "holds a long run of characters without a space"


def _is_counted(node: nodes.Node) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Filter) and node.name in ("length", "count")


def _is_turns(node: nodes.Node) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Filter) and isinstance(node.node, nodes.Name) and node.node.name in MESSAGES


def _are_words(node: nodes.List | nodes.Tuple) -> bool:
    """Rather than single letters to be joined."""
    from jinja2 import nodes

    return all(isinstance(one, nodes.Const) and len(str(one.value)) > 2 for one in node.items)


def _key(node: nodes.Node | None) -> str | None:
    from jinja2 import nodes

    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None
