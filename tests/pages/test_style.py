"""The style sheet of every page: read by everybody, on paper too."""

from __future__ import annotations

import re
from importlib import resources

import pytest


def colours() -> dict[str, dict[str, str]]:
    """The three palettes of the style sheet, by name."""
    css = resources.files("basewright.pages").joinpath("page.css").read_text("utf-8")
    blocks = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    return dict(zip(("light", "dark", "print"), blocks, strict=True))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", ["light", "dark", "print"])
def test_text_has_the_contrast_of_wcag_aa(palette: str) -> None:
    colour = colours()[palette]
    for ground in ("page", "card", "band"):
        for ink in ("text", "soft", "accent", "rival", "base"):
            assert contrast(colour[ink], colour[ground]) >= 4.5, (ink, ground)
