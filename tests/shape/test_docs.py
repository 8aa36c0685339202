"""The documents name what is there: every room, every command, every file they point to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from basewright.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def test_every_room_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    source = ROOT / "src" / "basewright"
    rooms = [p.name for p in source.iterdir() if p.is_dir() and (p / "__init__.py").exists()]
    rooms += [p.name for p in source.glob("*.py") if not p.name.startswith("__")]
    assert [room for room in rooms if f"`{room}`" not in text and f"`{room}/`" not in text] == []


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in COMMANDS if f"basewright {name}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    for name in re.findall(r"^(?:\$ )?basewright ([a-z]+)", page.read_text("utf-8"), flags=re.M):
        assert name in COMMANDS
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for name in re.findall(r"^(?:\$ )?make ([a-z]+)", page.read_text("utf-8"), flags=re.M):
        assert name in targets
