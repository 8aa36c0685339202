"""Records as plain values and back, for JSON: strict about fields and types. Standard library only."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal


def to_plain(value: Any) -> Any:
    """A record as JSON-ready dicts, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(cls: Any, value: Any) -> Any:
    """The inverse of `to_plain`. Raises `TypeError` or `KeyError` when the value has another form."""
    origin, inner = _form(cls)
    if origin is None and (hints := _hints(cls)) is not None:
        unknown = set(value) - set(hints)
        if unknown:
            raise KeyError(f"{cls.__name__} has no field {sorted(unknown)[0]}")
        return cls(**{name: from_plain(hints[name], item) for name, item in value.items()})
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{value!r} is not a list")
        if inner[-1] is Ellipsis:
            return tuple(from_plain(inner[0], item) for item in value)
        return tuple(from_plain(kind, item) for kind, item in zip(inner, value, strict=True))
    if origin is dict:
        return {key: from_plain(inner[1], item) for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return from_plain(next(kind for kind in inner if kind is not type(None)), value)
    if origin is Literal:
        if value not in inner:
            raise TypeError(f"{value!r} is not one of {inner}")
        return value
    if cls is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if cls is not Any and not isinstance(value, cls):
        raise TypeError(f"{value!r} is not {cls.__name__}")
    return value


@cache
def _form(cls: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(cls), typing.get_args(cls)


@cache
def _hints(cls: Any) -> dict[str, Any] | None:
    """The types of a record's fields; None for what is no record."""
    return typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) and isinstance(cls, type) else None
