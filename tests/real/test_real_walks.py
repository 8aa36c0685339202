"""The whole walk on text that people really wrote, with a base this project made and one that others made."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright.records import Built
from basewright.release import verify
from basewright.stages import STAGES
from tests.convert.stories260k import stories260k
from tests.real import rows
from tests.walks import walk, write_rows

pytestmark = pytest.mark.slow

CANDIDATES = """
[candidates]
models = ["foundling-prose", "./stories260K"]
licence = "MIT"                  # of stories260K, whose folder names none
[choose]
on_tie = "cheapest"
[prove]
forgetting = {forgetting}                 # only labels are asked of it; the default, 0.1, refuses both walks
"""

BANKING = """
name = "banking-intents"
[task]
data = "rows.jsonl"
prompt = "Question: {text}\\nIntent:"
shots = 3                        # as many as the context of 512 holds
""" + CANDIDATES.format(forgetting=1.0)  # measured: 0.89

CLAUSES = """
name = "cuad-clauses"
[task]
data = "rows.jsonl"
prompt = "Clause: {text}\\nType:"
shots = 0                        # with one, the longest held-out clauses do not fit the context of 512
""" + CANDIDATES.format(forgetting=1.5)  # measured: 1.38


def built(folder: Path, content: list[rows.Row], recipe: str) -> Built:
    write_rows(folder / "rows.jsonl", content)
    stories260k(folder / "stories260K")
    path = folder / "recipe.toml"
    path.write_text(recipe, "utf-8")
    made, watch = walk(path)
    assert watch.stages == dict.fromkeys(STAGES, False)
    return made


def assert_proven(made: Built) -> None:
    """What a release claims, read from the records and from the folder that is shipped."""
    proof, choice = made.proof.record, made.choice.record
    bases = [standing.model for standing in choice.ranked if standing.kind == "base model"]
    assert set(bases) == {"foundling-prose", "stories260K"}
    assert choice.winner in (choice.tied or bases[:1])
    assert proof.gain.separated
    assert proof.after.accuracy.low > proof.before.accuracy.high
    assert made.release.record.accuracy == proof.after.accuracy
    assert made.release.record.licence == ("MIT" if choice.winner == "stories260K" else "CC0-1.0")
    checks = [*made.certificate.record.checks, *proof.checks, *made.release.record.checks]
    assert [check for check in checks if not check.passed] == []
    assert [check for check in verify.verify(made.release.folder) if not check.passed] == []


def test_banking77(tmp_path: Path) -> None:
    """10 of the 77 intents, 60 questions each."""
    made = built(tmp_path, rows.banking77(10, 60), BANKING)
    assert len(made.task.labels) == 10
    assert_proven(made)


def test_cuad(tmp_path: Path) -> None:
    """8 of the 41 categories, 80 contracts' clauses each."""
    made = built(tmp_path, rows.cuad(8, 80), CLAUSES)
    assert len(made.task.labels) == 8
    assert_proven(made)
