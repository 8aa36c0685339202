"""A release as `basewright build` leaves it in a store, over a tiny model with random weights."""

from __future__ import annotations

from pathlib import Path

from basewright.records import FileEntry, Interval, Layout, Release
from basewright.store import Store, Work, entries, write_json
from tests.models import tiny_llama

LAYOUT = Layout(prompt="Clause: {text}\nKind:", separator="\n\n")


def make_release(store: Store, name: str, seed: int = 0, gguf: bool = False) -> Path:
    def maker(work: Work) -> Release:
        tiny_llama(work.out / "model", seed=seed)
        if gguf:
            from basewright.convert.gguf_writer import to_gguf

            (work.out / "gguf").mkdir()
            to_gguf(work.out / "model", work.out / "gguf" / "model-f16.gguf", "f16", {})
        best = "gguf/model-f16.gguf" if gguf else "model"
        write_json(work.out / "basewright.json", {"schema": 1, "name": name, "layout": LAYOUT, "best": best})
        files: tuple[FileEntry, ...] = entries(work.out)
        return Release(
            name=name,
            base="tiny",
            licence="CC0-1.0",
            duties=(),
            artifacts=(),
            checks=(),
            accuracy=Interval(value=0.5, low=0.4, high=0.6, n=10, confidence=0.95, method="Wilson"),
            files=tuple(entry.name for entry in files),
        )

    made, _ = store.make("release", {"name": name, "seed": seed}, Release, maker)
    return made.folder
