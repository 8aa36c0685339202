"""Third-party labelled text as rows of a task: which rows, by rule, so that anyone gets the same ones."""

from __future__ import annotations

import ast
import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import SHARED

Row = dict[str, str]
CELL = 100_000
"""Characters of a CUAD cell that are parsed at most; the longest has 15,369."""


def source(name: str) -> Path:
    """A folder of the shared tasks, or a skipped test where it is not at hand."""
    folder = SHARED / "tasks" / name
    if not folder.is_dir():
        pytest.skip(f"the folder {folder.name} is absent")
    return folder


def banking77(intents: int, per_intent: int) -> list[Row]:
    """The first `per_intent` training questions of the most frequent `intents`; `_` in a label becomes a space.

    Casanueva et al. 2020, CC BY 4.0. Texts are distinct; an intent's questions keep their order.
    """
    with (source("banking77") / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [{"text": row["text"], "label": row["category"].replace("_", " ")} for row in csv.DictReader(file)]
    return _most_frequent(_distinct(rows), intents, per_intent)


def cuad(categories: int, per_category: int) -> list[Row]:
    """The first clause of each contract for the `categories` with the most clauses of 60 to 500 characters.

    Hendrycks et al. 2021, CC BY 4.0. Texts that stand under two categories are left out. Clauses that contracts copied
    from each other stay: keeping them on one side of the split is the walk's work.
    """
    with gzip.open(source("cuad") / "master_clauses.csv.gz", "rb") as file:
        contracts = list(csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")))
    rows = [
        {"text": text, "label": name.lower()}
        for name in contracts[0]
        if name != "Filename" and not name.endswith("Answer")
        for text in (_first_clause(contract[name]) for contract in contracts)
        if 60 <= len(text) <= 500
    ]
    return _most_frequent(_distinct(rows), categories, per_category)


def _first_clause(cell: str) -> str:
    clauses = ast.literal_eval(cell) if 0 < len(cell) <= CELL else []
    return " ".join(clauses[0].split()) if clauses else ""


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Texts that occur once, and the first of those that recur under one label only."""
    labels: dict[str, set[str]] = {}
    first: dict[str, Row] = {}
    for row in rows:
        key = " ".join(row["text"].casefold().split())
        labels.setdefault(key, set()).add(row["label"])
        first.setdefault(key, row)
    return [row for key, row in first.items() if len(labels[key]) == 1]


def _most_frequent(rows: list[Row], labels: int, per_label: int) -> list[Row]:
    counts = Counter(row["label"] for row in rows)
    chosen = sorted(counts, key=lambda label: (-counts[label], label))[:labels]
    return [row for label in chosen for row in [r for r in rows if r["label"] == label][:per_label]]
