"""The numbers in a config.json by the names that tables of tensors use, read and checked when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from basewright.errors import ModelFileError

LARGEST, MANY = 2**24, 2**12
"""No dimension of a model is larger, and none has more layers or experts; a file may say anything."""


class Sizes:
    """The sizes of one config. `seen` is which of its keys were asked for: those that decide its tensors.

    A config may hold others, its parts; the `main` one answers for what the whole does not say itself.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        words: Words,
        parts: Mapping[str, tuple[str, Words]] | None = None,
        main: str = "",
    ) -> None:
        self.config = config
        self.seen: set[str] = set()
        self._words = words
        self._parts = parts or {}
        self._main = main
        self._known: dict[str, Any] = {}
        self._said: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """A size, a flag or a list of layers; a part's own sizes (`text.width`) where the config is nested."""
        if name not in self._known:
            self._known[name] = self._part(name) if name in self._parts else self._find(name)
        return self._known[name]

    def __contains__(self, name: str) -> bool:
        return name in self._words or bool(self._main and name in self._parts[self._main][1])

    def word(self, text: str) -> Any:
        """What a word of a table stands for: `16`, `width`, `3*width` or `text.width`."""
        if text not in self._said:
            self._said[text] = self._read_word(text)
        return self._said[text]

    def _read_word(self, text: str) -> Any:
        if text.isdigit():
            return int(text)
        times, star, name = text.partition("*")
        if star:
            return int(times) * int(self.word(name))
        value: Any = self
        for step in text.split("."):
            value = getattr(value, step)
        return value

    def decisive(self) -> dict[str, Any]:
        """The keys of the config that decide anything, with their values."""
        found = {name: (key, getattr(self, name).decisive()) for name, (key, _) in self._parts.items()}
        for word in self._words:
            getattr(self, word)
        own = {key: self.config[key] for key in sorted(self.seen)}
        return own | {key: inner for key, inner in found.values() if key in own}

    def read(self, *keys: str) -> Any:
        """The value under the first of `keys` that the config has, `ABSENT` if it has none."""
        for key in keys:
            if key in self.config:
                self.seen.add(key)
                return self.config[key]
        return ABSENT

    def _find(self, name: str) -> Any:
        if name not in self._words:
            if not self._main:
                raise AttributeError(name)
            return getattr(getattr(self, self._main), name)
        rule = self._words[name]
        return rule(self) if callable(rule) else rule

    def _part(self, name: str) -> Sizes:
        key, words = self._parts[name]
        inner = self.read(key)
        if inner is ABSENT or inner is None:
            inner = {}
        if not isinstance(inner, Mapping):
            raise _wrong(f"{key} is not an object")
        return Sizes(inner, words)


Rule = Callable[[Sizes], Any] | tuple[int, ...] | int | bool | None
"""How a name's value is found; a plain value is itself."""
Words = Mapping[str, Rule]
ABSENT = object()


def size(*keys: str, absent: Rule = None, null: Rule = None, least: int = 1, most: int = LARGEST) -> Rule:
    """A whole number, by any of the names it goes by. `absent` and `null` say what stands for one that is not given.

    Without `absent` it must be there; without `null`, null means absent.
    """

    def find(sizes: Sizes) -> int:
        value = sizes.read(*keys)
        if value is None and null is not None:
            value = null(sizes) if callable(null) else null
        if value is None or value is ABSENT:
            value = absent(sizes) if callable(absent) else absent
        if value is None:
            raise _wrong(f"{keys[0]} is missing")
        return _whole(keys[0], value, least, most)

    return find


def count(*keys: str, absent: Rule = None, least: int = 1) -> Rule:
    """A number of layers, heads or experts."""
    return size(*keys, absent=absent, least=least, most=MANY)


def optional(key: str, absent: int | None = None) -> Rule:
    """A whole number, or None where the config says null or, without `absent`, nothing."""

    def find(sizes: Sizes) -> int | None:
        value = sizes.read(key)
        if value is ABSENT:
            return absent
        return None if value is None else _whole(key, value, 0, LARGEST) or None

    return find


def flag(key: str, absent: bool) -> Rule:
    """True or false."""

    def find(sizes: Sizes) -> bool:
        value = sizes.read(key)
        if value is ABSENT or value is None:
            return absent
        if type(value) is not bool:
            raise _wrong(f"{key} = {str(value)[:80]!r} is not true or false")
        return value

    return find


def sliding(absent: Callable[[Sizes], tuple[int, ...]]) -> Rule:
    """The layers with a sliding window: those that `layer_types` names, where the config lists them."""

    def find(sizes: Sizes) -> tuple[int, ...]:
        kinds = sizes.read("layer_types")
        if sizes.window is None:
            return ()
        if isinstance(kinds, list):
            return tuple(layer for layer, kind in enumerate(kinds) if kind == "sliding_attention")
        return absent(sizes)

    return find


def every(sizes: Sizes) -> tuple[int, ...]:
    """All layers."""
    return tuple(range(sizes.layers))


def _whole(key: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _wrong(f"{key} = {str(value)[:80]!r} is not a whole number from {least} to {most}")
    return value


def _wrong(what: str) -> ModelFileError:
    fix = "correct config.json, or copy it again from where it came from"
    return ModelFileError(f"config.json: {what}", fix=fix, code="malformed", file="config.json")
