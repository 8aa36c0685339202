"""Where a person stands on the path, from the recipes in this folder and the results in the runs folder, and what is
next. It is shown when `basewright` is called alone, so it reads few files and imports no room: even `store` would
make it start twice as slowly."""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

MOST_RECIPES = 20
MOST_RESULTS = 20
"""Results of a kind that are read, the newest; older ones do not say where somebody stands."""
LARGEST = 16 * 2**20
"""Bytes of a file that is read here."""
ROWS = (".csv", ".tsv", ".jsonl", ".ndjson")
EXAMPLE = Path("examples") / "contract-clauses.toml"
NAME = "Basewright: from base model to your model, every step proven."


@dataclass(frozen=True, slots=True)
class Step:
    about: str
    said: str
    next: str
    when: float
    """Seconds since the epoch of the last change."""


@dataclass(frozen=True, slots=True)
class Result:
    made: float
    record: dict[str, Any]


def welcome(folder: Path, runs: Path) -> str:
    """What `basewright` alone prints."""
    found = steps(folder, runs)
    if not found:
        return f"{NAME}\n\n{_beginning(folder)}"
    width = max(len(step.about) for step in found)
    lines = [f"  {step.about:<{width}}  {step.said}" for step in found]
    return f"{NAME}\n\n" + "\n".join(lines) + f"\n\nNext      {found[0].next}\n          basewright --help"


def steps(folder: Path, runs: Path) -> list[Step]:
    """Of each recipe in `folder`, each release without one and unfinished work; the last touched first."""
    choices, releases = _results(runs, "choice"), _results(runs, "release")
    recipes = list(_recipes(folder))
    found = [_of_recipe(path, choices.get(name), releases.get(name)) for name, path in recipes]
    named = {name for name, _ in recipes}
    found += [_built(name, name, one.made) for name, one in releases.items() if name not in named]
    return sorted(found, key=lambda one: one.when, reverse=True)


def _of_recipe(path: Path, choice: Result | None, release: Result | None) -> Step:
    changed = path.stat().st_mtime
    build = f"basewright build {shlex.quote(path.name)}"
    if release and release.made >= changed:
        return _built(path.name, release.record["name"], release.made)
    if release:
        return Step(path.name, "changed since it was built", build, changed)
    if choice is None:
        return Step(path.name, "no base chosen yet", build, changed)
    if choice.made < changed:
        return Step(path.name, "changed since a base was chosen", build, changed)
    if choice.record.get("verdict") == "tie":
        tied = " and ".join(choice.record.get("tied", ()))
        said = f'a tie: {tied} cannot be separated; see what would, or set [choose].on_tie = "cheapest"'
        return Step(path.name, said, f"basewright choose {shlex.quote(path.name)}", choice.made)
    return Step(path.name, f"{choice.record.get('winner')} is chosen, and nothing built on it yet", build, choice.made)


def _built(about: str, name: str, made: float) -> Step:
    return Step(about, f"{name} is built and can be served", f"basewright serve {name}", made)


def _beginning(folder: Path) -> str:
    """What to do where there is no recipe and no result: look at the data that lies here, or take the example."""
    rows = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in ROWS)
    ways = [(f"basewright new {shlex.quote(rows[0]) if rows else 'DATA'}", "look at labelled rows, draft a recipe")]
    if (folder / EXAMPLE).is_file():
        ways.append((f"basewright build {EXAMPLE.as_posix()}", "or walk the example first"))
    ways.append(("basewright --help", "every command"))
    width = max(len(command) for command, _ in ways)
    return "Next      " + "\n          ".join(f"{command:<{width}}   {why}" for command, why in ways)


def _recipes(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of what is a recipe to build here."""
    for path in sorted(folder.glob("*.toml"))[:MOST_RECIPES]:
        try:
            raw = tomllib.loads(_read(path).decode())
        except (OSError, ValueError):
            continue
        if isinstance(raw.get("name"), str) and {"task", "candidates"} <= raw.keys():
            yield raw["name"], path


def _results(runs: Path, kind: str) -> dict[str, Result]:
    """The newest committed result of each task, by its name. What cannot be read says nothing here."""
    folders = sorted(runs.glob(f"{kind}-*/MANIFEST.json"), key=os.path.getmtime, reverse=True)[:MOST_RESULTS]
    found: dict[str, Result] = {}
    for manifest in folders:
        try:
            raw = json.loads(_read(manifest.with_name("record.json")))
            record, stamp = raw["record"], raw["stamp"]
            name = record["name"] if kind == "release" else record["question"]["task"]
            made = datetime.fromisoformat(stamp["started"]).timestamp() + stamp["seconds"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.setdefault(name, Result(made, record))
    return found


def _read(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise OSError(f"{path.name} is too large to be read here")
    return path.read_bytes()
