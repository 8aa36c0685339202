"""Numbers and names as text: shares in percent, differences in points, names without what could deceive a reader."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, turn the direction of text round or cannot be written at all (H106)."""
LARGEST = 1e6
"""Beyond it a bound is unbounded: `stats.intervals.UNBOUNDED` stands for infinity."""


def clean(text: str) -> str:
    """On one line, with every character that hides or moves text replaced by U+FFFD; markup keeps its type."""
    if text.isprintable():
        return text
    return text.translate({ord(char): _shown(char) for char in set(text)})


def _shown(char: str) -> str:
    if char in "\t\n\r":
        return " "
    return "\ufffd" if unicodedata.category(char) in HIDDEN else char


def columns(text: str) -> int:
    """Width on a terminal: East Asian wide characters take two columns, combining ones none."""
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def short(text: str, width: int) -> str:
    """At most `width` columns, cut in the middle: names of models differ at both ends."""
    if columns(text) <= width:
        return text
    head = _start(text, width // 2)
    return f"{head}…{_start(text[::-1], width - 1 - columns(head))[::-1]}"


def _start(text: str, width: int) -> str:
    taken = 0
    for place, char in enumerate(text):
        taken += _columns(char)
        if taken > width:
            return text[:place]
    return text


def pad(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def wrap(text: str, width: int, lines: int) -> list[str]:
    """At most `lines` lines of `width` columns; what does not fit ends in an ellipsis."""
    wrapped = [""]
    for word in (short(word, width - 2) for word in text.split()):
        if wrapped[-1] and columns(f"{wrapped[-1]} {word}") > width:
            wrapped.append("")
        wrapped[-1] = f"{wrapped[-1]} {word}".lstrip()
    if len(wrapped) > lines:
        kept = wrapped[lines - 1]
        while columns(kept) > width - 2:
            kept = kept.rpartition(" ")[0]
        return [*wrapped[: lines - 1], f"{kept} …"]
    return wrapped


def joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plural(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'s' * (number != 1)}"


def count(number: int) -> str:
    return f"{number:,}"


def share(value: float) -> str:
    """A confidence: 95%, 99.5%."""
    return f"{100 * value:.4g}%"


def part(value: float) -> str:
    """What was paid of a whole: 59%."""
    return f"{100 * value:.2g}%" if value < 1 else f"{100 * value:.0f}%"


def figure(value: float) -> str:
    """Three digits of a positive number, never with an exponent: 18,000; 35.2; 0.00276."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 1e-4 else "under 0.0001"


def percent(value: float) -> str:
    """An accuracy: 87.3%."""
    return f"{100 * value:.1f}%"


def number_of_points(value: float) -> str:
    """100 times a share, to a tenth, or to a hundredth where a tenth would show nothing."""
    hundredth = 0 < abs(value) < 0.00095
    return f"{abs(100 * value):.{2 if hundredth else 1}f}"


def points(value: float) -> str:
    """A difference of accuracies without its sign: 2.1 points."""
    shown = number_of_points(value).removesuffix(".0")
    return f"{shown} point{'s' * (shown != '1')}"


def signed(value: float) -> str:
    """A difference of accuracies in points, with its sign: +2.1."""
    return ("−" if value < 0 else "+") * (value != 0) + number_of_points(value)


def span(low: float, high: float) -> str:
    """An interval of differences, in points; one number where it has no width."""
    return signed(low) if low == high else f"{signed(low)} to {signed(high)}"


def against(low: float, high: float, other: str) -> str:
    """Where a model stands to another, for a difference between `low` and `high`: 0.6 to 3.6 points ahead of NAME."""
    least, most = number_of_points(low), number_of_points(high)
    if low == high == 0:
        return f"level with {other}"
    if low == high:
        return f"{points(low)} {'ahead of' if low > 0 else 'behind'} {other}"
    if low >= 0:
        return f"{least} to {most} points ahead of {other}"
    if high <= 0:
        return f"{most} to {least} points behind {other}"
    return f"anywhere from {least} points behind to {most} points ahead of {other}"


def bits(value: float) -> str:
    """Bits of surprise: 0.412."""
    return f"{value:.3g}" if abs(value) < LARGEST else "unbounded"


def size(number: float) -> str:
    """Bytes in binary units, three digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 100 or unit == "B" else f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.3g} TiB"
