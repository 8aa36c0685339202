"""What a value of a config.json may be: a test, and the words for what passes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    test: Callable[[Any], bool]
    what: str


Rules = Mapping[str, Rule]


def whole(low: int, high: int) -> Rule:
    return Rule(lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}")


def even(low: int, high: int) -> Rule:
    return Rule(lambda v: type(v) is int and low <= v <= high and v % 2 == 0, f"an even number from {low} to {high}")


def number(low: float, high: float) -> Rule:
    return Rule(lambda v: type(v) in (int, float) and low <= v <= high, f"a number from {low} to {high}")


def one_of(*values: Any) -> Rule:
    return Rule(
        lambda v: any(type(v) is type(value) and v == value for value in values), " or ".join(map(repr, values))
    )


def optional(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.test(v), f"{rule.what}, or null")


def listed(rule: Rule, most: int, *, least: int = 0) -> Rule:
    return Rule(
        lambda v: isinstance(v, list) and least <= len(v) <= most and all(map(rule.test, v)),
        f"a list of {least} to {most}, each {rule.what}",
    )


def either(first: Rule, second: Rule) -> Rule:
    return Rule(lambda v: first.test(v) or second.test(v), f"{first.what}, or {second.what}")


def table(rules: Rules, what: str) -> Rule:
    """An object with none but these keys."""
    return Rule(lambda v: isinstance(v, dict) and all(k in rules and rules[k].test(x) for k, x in v.items()), what)


flag = one_of(True, False)
text = Rule(lambda v: isinstance(v, str) and len(v) <= 1024, "a short text")
anything = Rule(lambda v: isinstance(v, dict), "an object")
share = number(0, 1)
tiny = number(1e-12, 1e-2)
size = whole(1, 2**20)
"""The width of a map, or the positions of a window."""
count = whole(1, 2**10)
"""How many layers, heads or experts."""
