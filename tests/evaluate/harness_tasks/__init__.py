"""Task definitions of lm-eval's own kinds, and what puts data behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Rows = Sequence[Mapping[str, Any]]


def task(folder: Path, name: str, definition: Path, splits: Mapping[str, Rows], **overrides: Any) -> None:
    """A task over rows of this test: `definition` with its data replaced, beside a cache of its own."""
    files = {}
    for split, rows in splits.items():
        path = folder / f"{name}-{split}.json"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        files[split] = str(path)
    given = {"data_files": files, "cache_dir": str(folder / "cache")}
    config = {"include": str(definition), "task": name, "dataset_path": "json", "dataset_name": None}
    # JSON is YAML too
    (folder / f"{name}.yaml").write_text(json.dumps({**config, "dataset_kwargs": given, **overrides}), "utf-8")


def group(folder: Path, name: str, **overrides: Any) -> None:
    """A group over tasks that stand in `folder`."""
    text = json.dumps({"include": str(HERE / "both.yaml"), "group": name, **overrides})
    (folder / f"{name}.yaml").write_text(text, "utf-8")
