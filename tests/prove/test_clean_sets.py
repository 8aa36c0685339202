"""Clean data raises no alarm: real third-party sets and the project's own, with a model that was really trained."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from basewright.data import files, prepare
from basewright.data.prepare import Options
from basewright.prove import certificate
from basewright.records import Certificate
from basewright.text.tokenizer import open_tokenizer
from tests.conftest import SHARED
from tests.real import rows

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "src" / "basewright" / "foundlings" / "foundling-prose"
CONTEXT = 1024
LONGEST = 1500
"""Characters a row has at most here: a longer one may not fit, which is for another check to say."""
COUNT = 160
Rows = list[dict[str, Any]]


def lines(*names: str) -> Rows:
    raw = rows.source(names[0]).joinpath(*names[1:]).read_bytes()
    text = (gzip.decompress(raw) if names[-1].endswith(".gz") else raw).decode()
    found = json.loads(text) if ".json." in names[-1] else [json.loads(line) for line in text.splitlines()]
    entries = found if isinstance(found, list) else list(found.values())
    return [row for row in entries if len(json.dumps(row)) <= LONGEST][:COUNT]


def pubmedqa() -> Rows:
    return [
        {"prompt": f"{row['QUESTION']}\n\n{' '.join(row['CONTEXTS'])}", "completion": row["LONG_ANSWER"]}
        for row in _pubmedqa()
    ]


def _pubmedqa() -> Rows:
    raw = (rows.source("pubmedqa") / "ori_pqal.json.gz").read_bytes()
    return [row for row in json.loads(gzip.decompress(raw)).values() if len(str(row)) <= 2000][:COUNT]


def seed_tasks() -> Rows:
    found = lines("sft_pref_small", "alpaca_seed_tasks.jsonl")
    return [{"instruction": row["instruction"], **row["instances"][0]} for row in found]


SETS: dict[str, Callable[[], Rows]] = {
    "banking77": lambda: [*rows.banking77(8, 20)],
    "CUAD": lambda: [*rows.cuad(6, 20)],
    "PubMedQA": pubmedqa,
    "GSM8K": lambda: lines("gsm8k", "train.jsonl.gz"),
    "Dolly HH-RLHF": lambda: lines("sft_pref_small", "dolly_hhrlhf_train_small.jsonl.gz"),
    "Alpaca seed tasks": seed_tasks,
    "DPO demo": lambda: lines("sft_pref_small", "dpo_en_demo.json.gz"),
    "KTO demo": lambda: lines("sft_pref_small", "kto_en_demo.json.gz"),
}


def certify(data: files.Source, options: Options, held: files.Source | None = None) -> Certificate:
    tokenizer = open_tokenizer(MODEL)
    prepared = prepare.prepare(data, tokenizer, CONTEXT, options)
    tested = prepare.prepare(held, tokenizer, CONTEXT, options) if held else None
    assert sum(fate.rows for fate in prepared.ledger.fates) == prepared.ledger.read == len(data.rows)
    return certificate.certify_data(MODEL, "foundling-prose", prepared, CONTEXT, tested)


def failed(made: Certificate) -> list[str]:
    return [f"{check.name}: {check.how}" for check in made.checks if not check.passed]


def source(name: str, found: Rows) -> files.Source:
    return files.Source(name, "rows", tuple(files.Raw(f"row {i}", row) for i, row in enumerate(found)))


@pytest.mark.parametrize("name", SETS)
def test_a_real_set_raises_no_alarm(name: str) -> None:
    assert failed(certify(source(name, SETS[name]()), Options())) == []


def test_real_test_rows_raise_no_alarm() -> None:
    """Both parts of GSM8K as they were published."""
    train, test = lines("gsm8k", "train.jsonl.gz"), lines("gsm8k", "test.jsonl.gz")
    assert failed(certify(source("train", train), Options(), source("test", test))) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("data/contract-clauses.jsonl", Options()),
        ("tasks/facts.jsonl", Options()),
        ("tasks/reviews.jsonl", Options()),
        ("tasks/plain-text.jsonl", Options(shape="text")),
        ("tasks/sums.jsonl", Options(columns={"prompt": "story", "completion": "answer"})),
    ],
)
def test_our_own_examples_raise_no_alarm(name: str, options: Options) -> None:
    assert failed(certify(files.read(ROOT / "examples" / name), options)) == []


def test_a_book_in_windows_raises_no_alarm() -> None:
    """Plain text that is longer than the context; what is learned is all of it, and one stop."""
    path = SHARED / "corpora" / "tinyshakespeare" / "input.txt"
    if not path.is_file():
        pytest.skip("the folder shared/data is absent")
    text = path.read_text("utf-8")[:40_000]
    made = certify(source("book", [{"text": text}]), Options(long="split"))
    assert failed(made) == []
    assert made.rows > 8
    assert made.longest <= CONTEXT
    assert made.supervised_tokens == made.tokens - made.rows  # all but the starts
