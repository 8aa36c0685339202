"""A small walk that runs in seconds: an easy task, tiny models, and a recipe over both."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basewright.path import build
from basewright.recipe import read
from basewright.records import Built, Progress, silent
from basewright.store import Store
from tests.models import tiny_llama

KEYS = {"red": "warm", "blue": "cold"}
FILLER = [
    "the", "lamp", "stood", "by", "a", "door", "and", "our", "ship", "came", "near", "to", "land", "when", "all",
    "was", "still", "over", "hills", "of", "sand", "they", "walked", "for", "days", "with", "no", "rest", "but", "song",
]  # fmt: skip

RECIPE = """
name = "small"
[task]
data = "rows.jsonl"
shots = 4
[candidates]
models = ["./one", "./two"]
licence = "CC0-1.0"
[choose]
examples = 60
repeats = 2
rank = 4
on_tie = "cheapest"
[tune]
examples = {examples}
rank = {rank}
learning_rate = 0.01
micro_tokens = 512
batch_tokens = 512
[prove]
forgetting = 5.0
[ship]
formats = ["gguf:f16", "gguf:q8_0"]
"""


class Collected:
    """Remembers which stages were made and which were found."""

    def __init__(self) -> None:
        self.stages: dict[str, bool] = {}
        self.notes: dict[str, str] = {}

    @contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        yield silent

    def done(self, stage: str, note: str, cached: bool, seconds: float) -> None:
        self.stages[stage] = cached
        self.notes[stage] = note


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        key = sorted(KEYS)[number % len(KEYS)]
        words = draw.sample(FILLER, 8)
        words.insert(draw.randrange(8), key)
        made.append({"text": " ".join(words), "label": KEYS[key]})
    return made


def prepare(folder: Path, *, count: int = 160, rank: int = 8, examples: int = 1600) -> Path:
    """Write models, rows and a recipe into `folder`; returns the recipe."""
    tiny_llama(folder / "one", seed=1, context=512, std=0.08)
    tiny_llama(folder / "two", seed=2, context=512, std=0.08)
    write_rows(folder / "rows.jsonl", rows(count))
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(rank=rank, examples=examples))
    return path


def write_rows(path: Path, content: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")


def walk(recipe: Path, runs: Path | None = None) -> tuple[Built, Collected]:
    watch = Collected()
    return build(read(recipe), recipe.parent, Store(runs or recipe.parent / "runs"), watch), watch
