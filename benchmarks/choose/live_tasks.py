"""Tasks to choose on, live: rows of others' data sets, and of our own, as the recipe reads them; and how hard they are.

    python -m benchmarks.choose.live_tasks      prints how classical rivals do on each; two minutes on one core

The rows are made from `shared/data/tasks`, beside the checkout, and are not part of this project. No row is cut: texts
longer than `LONGEST` are left out. Which rows are taken depends on hashes of their texts alone, never on a score.
"""

from __future__ import annotations

import ast
import csv
import gzip
import hashlib
import json
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from basewright.choose import rivals
from basewright.data import rows as readers
from basewright.data import task as tasks
from basewright.errors import DataError
from basewright.records import Interval, Layout, Task, record
from basewright.stats import intervals

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "../shared/data/tasks"
MOST = 1500
"""Rows of a task at most, the labels in equal shares as far as they last."""
LONGEST = 600
"""Characters of a text at most: even in capitals, with prompt and label, fewer than 512 tokens of the Foundlings."""
CONFUSED = (
    "pending_cash_withdrawal", "declined_cash_withdrawal", "pending_card_payment", "declined_card_payment",
    "reverted_card_payment?", "pending_transfer", "declined_transfer", "failed_transfer",
    "transfer_not_received_by_recipient", "pending_top_up", "top_up_failed", "top_up_reverted",
)  # fmt: skip
"""Intents of Banking77 that differ in what was moved, or in how far it got."""
CLAUSES = 10
"""Types of clauses of CUAD: those with the most clauses of a usable length."""
Labelled = tuple[str, str]
"""A text and its label."""


@record
class Source:
    """Where a task's rows come from, and the pattern a base model reads them in."""

    rows: Callable[[], Iterator[Labelled]]
    prompt: str


@record
class Row:
    task: str
    rows: int
    labels: int
    longest: int
    """Characters of the longest text."""
    test: int
    majority: float
    tfidf: Interval
    size: int
    """Bytes of the TF-IDF rival when it is used."""
    seconds: float


def make(folder: Path) -> dict[str, Path]:
    """Write each task as JSON lines, `{"text": …, "label": …}`, into `folder`; the same bytes every time.

    Raises `DataError` where the data sets are not beside the checkout.
    """
    if not SOURCE.is_dir():
        raise DataError(
            "the data sets of the live tasks are not here: shared/data/tasks is missing",
            fix="put them into ../shared/data/tasks, seen from the root of the checkout",
        )
    made = {}
    for name, source in SOURCES.items():
        made[name] = folder / f"{name}.jsonl"
        lines = (
            json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in _taken(source.rows())
        )
        made[name].write_text("".join(line + "\n" for line in lines), "utf-8")
    return made


def read(name: str, path: Path, *, choose: float = 0.2, test: float = 0.25) -> Task:
    """A task that `make` wrote, split by the product's own function."""
    layout = Layout(prompt=SOURCES[name].prompt, separator="\n\n")
    return tasks.make(name, path, choose=choose, test=test, layout=layout, shots=0)


# --- which rows -----------------------------------------------------------------------------------


def _taken(found: Iterator[Labelled]) -> list[Labelled]:
    """Whole texts with one label each, at most `MOST`, in the order of their hashes; equal texts once."""
    labels: dict[str, set[str]] = {}
    texts: dict[str, Labelled] = {}
    for text, label in ((" ".join(text.split()), label) for text, label in found):
        if 0 < len(text) <= LONGEST:
            labels.setdefault(readers.identity(text), set()).add(label)
            texts.setdefault(readers.identity(text), (text, label))
    usable = sorted((texts[key] for key in texts if len(labels[key]) == 1), key=_place)
    share = _share(Counter(label for _, label in usable))
    given: Counter[str] = Counter()
    taken = []
    for text, label in usable:
        given[label] += 1
        if given[label] <= share:
            taken.append((text, label))
    return taken


def _share(counts: Counter[str]) -> int:
    """The most rows a label may have so that all labels together have at most `MOST`."""
    return next(n for n in range(MOST, 0, -1) if sum(min(n, count) for count in counts.values()) <= MOST)


def _place(row: Labelled) -> str:
    return hashlib.sha256(f"live:{row[0]}".encode()).hexdigest()


# --- the data sets --------------------------------------------------------------------------------


def _banking() -> Iterator[Labelled]:
    for part in ("train", "test"):
        for row in csv.DictReader(StringIO((SOURCE / f"banking77/{part}.csv").read_text("utf-8"))):
            yield row["text"], row["category"]


def _words(intent: str) -> str:
    """The intent as words a base model has read."""
    return intent.strip("?").replace("_", " ").lower()


def banking() -> Iterator[Labelled]:
    return ((text, _words(intent)) for text, intent in _banking())


def banking_confused() -> Iterator[Labelled]:
    return ((text, _words(intent)) for text, intent in _banking() if intent in CONFUSED)


def clauses() -> Iterator[Labelled]:
    """Clauses that stand whole in their contract, of the commonest types."""
    found: dict[str, list[str]] = {}
    for row in csv.DictReader(StringIO(_unzipped("cuad/master_clauses.csv.gz"))):
        for kind, listed in row.items():
            if kind != "Filename" and not kind.endswith("Answer"):
                found.setdefault(kind, []).extend(ast.literal_eval(listed) if listed else ())
    usable = {
        kind: [text for text in texts if 60 <= len(text) <= LONGEST and "<omitted>" not in text]
        for kind, texts in found.items()
    }
    commonest = sorted(usable, key=lambda kind: (-len(usable[kind]), kind))[:CLAUSES]
    return ((text, kind.lower().replace("/", " or ")) for kind in commonest for text in usable[kind])


def pubmed() -> Iterator[Labelled]:
    """Does the study's conclusion answer its question with yes, no or maybe?"""
    for row in json.loads(_unzipped("pubmedqa/ori_pqal.json.gz")).values():
        yield f"{row['QUESTION']} {row['LONG_ANSWER']}", row["final_decision"]


def safety() -> Iterator[Labelled]:
    """Prompts that are unsafe to follow, and safe ones in like words."""
    for row in csv.DictReader(StringIO((SOURCE / "xstest/xstest_prompts.csv").read_text("utf-8"))):
        yield row["prompt"], row["label"]


def acceptability() -> Iterator[Labelled]:
    """One sentence of each of BLiMP's minimal pairs, from the first paradigm by name of each phenomenon."""
    with zipfile.ZipFile(SOURCE / "blimp/BLiMP.zip") as archive:
        paradigms: dict[str, list[dict[str, Any]]] = {}
        for name in sorted(name for name in archive.namelist() if name.startswith("data/") and name.endswith(".jsonl")):
            pairs = [json.loads(line) for line in archive.read(name).decode().splitlines()]
            paradigms.setdefault(pairs[0]["linguistics_term"], pairs)
    for pairs in paradigms.values():
        for pair in islice(pairs, MOST // len(paradigms)):
            good = int(hashlib.sha256(pair["sentence_good"].encode()).hexdigest(), 16) % 2 == 0
            yield (pair["sentence_good"], "right") if good else (pair["sentence_bad"], "wrong")


def boolq() -> Iterator[Labelled]:
    """Short passages, each with a question that it answers with yes or no."""
    for line in _unzipped("llm_foundry_icl/boolq.jsonl.gz").strip().split("\n"):
        row = json.loads(line)
        yield row["query"].removeprefix("Passage: "), row["choices"][row["gold"]]


def own_clauses() -> Iterator[Labelled]:
    for item in readers.read(ROOT / "examples/data/contract-clauses.jsonl"):
        yield item.text, item.label


def _unzipped(name: str) -> str:
    return gzip.decompress((SOURCE / name).read_bytes()).decode()


SOURCES = {
    "banking12": Source(rows=banking_confused, prompt="Customer: {text}\nAbout:"),
    "banking77": Source(rows=banking, prompt="Customer: {text}\nAbout:"),
    "cuad10": Source(rows=clauses, prompt="Clause: {text}\nType:"),
    "pubmedqa": Source(rows=pubmed, prompt="{text}\nAnswer:"),
    "safety": Source(rows=safety, prompt="Request: {text}\nThis is:"),
    "acceptability": Source(rows=acceptability, prompt="Sentence: {text}\nGrammar:"),
    "boolq": Source(rows=boolq, prompt="{text}\nAnswer:"),
    "contract-clauses": Source(rows=own_clauses, prompt="Clause: {text}\nType:"),
}


# --- how hard they are ----------------------------------------------------------------------------


def measure() -> list[Row]:
    """The classical rivals on a quarter of each task; C is chosen on the other three quarters."""
    with tempfile.TemporaryDirectory() as folder:
        return [_row(name, read(name, path)) for name, path in make(Path(folder)).items()]


def _row(name: str, task: Task) -> Row:
    task = replace(task, train=task.train + task.choose, choose=())
    began = time.perf_counter()
    rival = rivals.tfidf(task, task.test)
    seconds = time.perf_counter() - began
    majority = rivals.majority(task, task.test)
    return Row(
        task=name,
        rows=task.ledger.used,
        labels=len(task.labels),
        longest=max(len(item.text) for item in (*task.train, *task.test)),
        test=len(task.test),
        majority=sum(score.correct for score in majority.items) / len(task.test),
        tfidf=intervals.proportion(sum(score.correct for score in rival.items), len(task.test)),
        size=rival.size,
        seconds=seconds,
    )


def main() -> None:
    print("\nLive tasks: accuracy on a held-out quarter, with Wilson's 95 % interval\n")
    print("| task | rows | labels | longest | test | majority | TF-IDF | interval | size | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in measure():
        print(
            f"| {row.task} | {row.rows} | {row.labels} | {row.longest} | {row.test} | {row.majority:.1%} "
            f"| {row.tfidf.value:.1%} | {row.tfidf.low:.1%} to {row.tfidf.high:.1%} "
            f"| {row.size / 2**20:.1f} MiB | {row.seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
