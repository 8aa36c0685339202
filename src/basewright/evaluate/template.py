"""Patterns with {places} for the fields of a row. What is filled in is text, whatever braces it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from basewright.errors import DataError, nearest

PLACE = re.compile(r"\{\{|\}\}|\{([^{}\n]+)\}")
"""Doubled braces stand for one; a brace that begins no place is text."""


def places(pattern: str) -> list[str]:
    """The names of the fields a pattern asks for, in order."""
    return [match[1] for match in PLACE.finditer(pattern) if match[1]]


def fill(pattern: str, fields: Mapping[str, Any], where: str) -> str:
    """The pattern with each place filled once. Raises `DataError` for a field that `where` does not have."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not name:
            return match[0][0]
        if name not in fields:
            raise DataError(
                f"{where} has no field {name!r}, which the task asks for; {nearest(name, fields)}",
                fix="correct the name in the task, map it in [columns], or double the braces if they are text",
            )
        return text(fields[name], name, where)

    return PLACE.sub(value, pattern)


def prompt(pattern: str, fields: Mapping[str, Any], where: str) -> str:
    """A filled pattern without white space at its end: the space before an answer is part of the answer."""
    return fill(pattern, fields, where).rstrip()


def text(value: Any, name: str, where: str) -> str:
    """A field as text: numbers as they are written, a list as lines. Raises `DataError` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and value:
        return "\n".join(text(one, name, where) for one in value)
    raise DataError(f"{where}: field {name!r} is no text", fix="give every row a text there")
