"""A draft in words: what was seen, line by line, and the recipe as TOML. Pure functions of `Draft`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from basewright.looking.bases import Base
from basewright.looking.draft import Draft, Setting
from basewright.looking.language import UNSURE

SHOWN = 3
WIDTH = 120
UNEQUAL = 10
"""The largest label has so many times the rows of the smallest: worth a line."""


def facts(draft: Draft) -> list[tuple[str, str]]:
    """(about what, a sentence): first what was found, then what to look at."""
    return [*_found(draft), *(("Look at", line) for line in _concerns(draft))]


def _found(draft: Draft) -> Iterator[tuple[str, str]]:
    seen, size = draft.seen, draft.seen.characters
    yield "Rows", f"{seen.read:,} in {seen.form}; {seen.kept:,} can be used"
    for one in seen.left_out:
        yield "", f"left out: {len(one.places):,} {one.why} ({_some(one.places)})"
    if seen.ignored:
        yield "", f"not read: {_some(seen.ignored)}"
    half = f"half have {size.median:,} characters or fewer, the longest {size.most:,}"
    yield "Text", f"{seen.text!r}, {seen.text_why}; {half}{_also(seen.also_text)}"
    yield "Label", f"{seen.label!r}, {seen.label_why}{_also(seen.also_label)}"
    yield "Labels", _labels(seen.labels)
    yield "Language", _languages(seen.languages)
    for base in draft.bases:
        yield "Tokens", _tokens(base)
    near = f"{draft.near_duplicates:,} are near-duplicates, kept on one side of the split"
    yield "Alike", f"{seen.repeated:,} repeat another's text and count once; {near}"


def _also(columns: Sequence[str]) -> str:
    return f"; could also be {_some(columns)}" if columns else ""


def _tokens(base: Base) -> str:
    size = base.tokens
    said = f"{base.model}: half have {size.median:,} or fewer, the longest {size.most:,} of {base.context:,}"
    return said + (f"; not a candidate: {base.why_not}" if base.why_not else "")


def _labels(labels: dict[str, int]) -> str:
    ranked = [f"{name} {count:,}" for name, count in labels.items()]
    shown = ranked if len(ranked) <= 2 * SHOWN + 2 else [*ranked[:SHOWN], "…", *ranked[-SHOWN:]]
    return f"{len(labels)}: {', '.join(shown)}"


def _languages(languages: dict[str, float]) -> str:
    shown = ", ".join(f"{name} {share:.0%}" for name, share in list(languages.items())[:4])
    return f"{shown} of the rows, by their commonest words" + (
        "; unsure are short or mixed ones" if UNSURE in languages else ""
    )


def _concerns(draft: Draft) -> Iterator[str]:
    seen = draft.seen
    for name, other, why in seen.slips[:SHOWN]:
        yield f"label {name!r} may be {other!r} ({why}); correct it in the data if so"
    if len(seen.slips) > SHOWN:
        yield f"{len(seen.slips) - SHOWN} more labels are much like another"
    if sum(";" in name or "|" in name for name in seen.labels) * 2 > len(seen.labels):
        yield "labels look like lists of several: a row here has one"
    counts = list(seen.labels.values())
    if counts[0] >= UNEQUAL * counts[-1]:
        right = f"answering {next(iter(seen.labels))!r} always is right in {counts[0] / seen.kept:.0%}"
        yield f"the labels are unequal: {right}"
    if all(name.lstrip("-").isdigit() for name in seen.labels):
        yield "labels are numbers: a base model learns faster from words"
    for what, places in seen.personal.items():
        rows = "1 row seems" if len(places) == 1 else f"{len(places):,} rows seem"
        yield f"{rows} to hold {what} ({_some(places)}): a tuned model can repeat what it saw"
    likeliest = next(iter(seen.languages))
    if likeliest not in (UNSURE, "en"):
        yield "the models in the package learned English only; see basewright catalog for others"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# --- TOML -----------------------------------------------------------------------------------------


def toml(draft: Draft, data: str, command: str) -> str:
    """The recipe, each setting with its reason. `data` is the path of the rows from where the recipe lies."""
    lines = [f"# Drafted by `{_line(command)}` from what it saw. Change what you know better."]
    lines += [
        f"#   {f'{_line(about)}:':<10}{_line(said)}" if about else f"#{'':13}{_line(said)}"
        for about, said in facts(draft)
    ]
    lines += [f"name = {value(draft.name)}"]
    where = Setting(key="task.data", value=data, why=f"{draft.seen.kept:,} rows" + _anew(draft))
    section = ""
    for setting in (where, *draft.settings):
        head, key = setting.key.split(".")
        if head != section:
            section = head
            lines += ["", f"[{head}]"]
        lines += _setting(key, setting)
    return "\n".join(lines) + "\n"


def _setting(key: str, setting: Setting) -> list[str]:
    """The reason behind the value, or above it where the line grew too long."""
    plain, why = f"{key} = {value(setting.value)}", _line(setting.why)
    line = f"{plain:<38} # {why}"
    return [line] if len(line) <= WIDTH else [f"# {why}", plain]


def _anew(draft: Draft) -> str:
    return (
        "" if draft.as_they_are else f" of {draft.seen.file}, written anew: a recipe reads CSV and JSON lines in UTF-8"
    )


def value(given: str | int | float | tuple[str, ...]) -> str:
    """A TOML value; JSON's strings are TOML's, but for one control character."""
    plain = list(given) if isinstance(given, tuple) else given
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(text: str) -> str:
    """One line, whatever a file's or a column's name holds."""
    return "".join(c if c.isprintable() else " " for c in text)
