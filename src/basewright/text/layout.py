"""Plain layouts for base models: patterns they can continue, made of tokens they know. No chat template is invented."""

from __future__ import annotations

from collections.abc import Sequence

from basewright.errors import UsageError
from basewright.records import Item, Layout


def check(layout: Layout) -> Layout:
    """Refuse a layout that has no place for the text, or that ends in space. Raises `UsageError`."""
    if layout.prompt.count("{text}") != 1:
        raise UsageError(
            "the layout's prompt must hold {text} exactly once", fix='set [task].prompt = "Text: {text}\\nLabel:"'
        )
    if layout.prompt != layout.prompt.rstrip():  # the space before an answer belongs to the answer's first token
        raise UsageError("the layout's prompt ends in white space", fix="take it off the end of [task].prompt")
    return layout


def prompt(layout: Layout, text: str) -> str:
    """The pattern up to the place where the answer begins. Braces inside `text` are just text."""
    return layout.prompt.replace("{text}", text)


def target(label: str) -> str:
    return " " + label


def few_shot(layout: Layout, shots: Sequence[Item], text: str) -> str:
    """Solved examples, then the open one."""
    solved = [prompt(layout, shot.text) + target(shot.label) for shot in shots]
    return layout.separator.join([*solved, prompt(layout, text)])
