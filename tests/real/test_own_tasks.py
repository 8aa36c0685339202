"""Own tasks over third-party data as they come: their files, columns, lists, twins and odd characters."""

from __future__ import annotations

import ast
import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basewright.engine.fake import FakeLM
from basewright.evaluate import task as tasks
from basewright.evaluate.run import run
from basewright.evaluate.task import OwnTask
from basewright.records import Scores
from tests.evaluate.own import write
from tests.real.rows import source

GAUNTLET = "llm_foundry_icl"
FOUNDLING = Path(__file__).parents[2] / "src" / "basewright" / "foundlings" / "foundling-prose"


def load(folder: Path, data: Path, toml: str) -> OwnTask:
    path = folder / "task.toml"
    path.write_text(f'name = "t"\ndata = {json.dumps(str(data))}\n{toml}', "utf-8")
    return tasks.load(path)


def scored(task: OwnTask, limit: int = 3) -> Scores:
    scores = run(FakeLM("f", context=20_000), task, limit=limit)
    assert (len(scores.items), scores.expected) == (limit, len(task.questions))
    return scores


def test_arc_easy(tmp_path: Path) -> None:
    toml = 'kind = "choice"\nprompt = "{query}\\nAnswer:"\nshots = 2\n[columns]\nanswer = "gold"\n'
    task = load(tmp_path, source(GAUNTLET) / "arc_easy.jsonl.gz", toml)
    assert (len(task.questions), task.material.duplicates) == (2376, 0)
    assert {len(one.options) for one in task.questions} == {4}
    assert scored(task).how.prompt.count("Question: ") == 3


def test_winogrande(tmp_path: Path) -> None:
    """Twins ask about one sentence, so neither is ever a shot of the other."""
    toml = 'kind = "choice"\nprompt = "{context}"\nanswer = " {continuation}"\nnormalisation = "sum"\nshots = 1\n'
    toml += '[columns]\ncontexts = "context_options"\nanswer = "gold"\n'
    task = load(tmp_path, source(GAUNTLET) / "winogrande.jsonl.gz", toml)
    assert len(task.questions) == 1267
    keys = [one.key for one in task.questions]
    assert len(keys) - len(set(keys)) > 230
    assert scored(task).how.shots == 1


def test_triviaqa_has_a_line_separator_in_a_row(tmp_path: Path) -> None:
    toml = 'kind = "generate"\nprompt = "{context}"\nnormalise = ["case", "punctuation", "articles", "spaces"]\n'
    task = load(
        tmp_path,
        source(GAUNTLET) / "triviaqa_sm_sub.jsonl.gz",
        toml + 'max_tokens = 4\n[columns]\nanswer = "aliases"\n',
    )
    assert len(task.questions) + task.material.duplicates == 3000
    texts = [text for row in task.material.rows for text in [row.fields["context"], *row.fields["answer"]]]
    assert any(len(line.splitlines()) > 1 for text in texts for line in text.split("\n"))
    scored(task)


def test_pubmedqa_is_an_object_with_lists(tmp_path: Path) -> None:
    toml = 'kind = "classify"\nprompt = "{CONTEXTS}\\nQuestion: {QUESTION}\\nAnswer:"\n'
    toml += '[columns]\nlabel = "final_decision"\n'
    task = load(tmp_path, source("pubmedqa") / "ori_pqal.json.gz", toml)
    assert {one.label for one in task.questions} == {"yes", "no", "maybe"}
    assert "21645374" in {one.id for one in task.questions}
    found = scored(task, 2)
    assert found.how.prompt.count("\n") > 2
    whole = [one.label for one in task.questions]
    assert whole.count("yes") / len(whole) == 0.552


def test_gsm8k_shows_solutions_and_compares_numbers(tmp_path: Path) -> None:
    toml = 'kind = "generate"\nprompt = "Q: {question}\\nA:"\nshots = 2\n'
    toml += 'gold = "#### (.+)"\nextract = "#### ([-0-9.,]+)"\n'
    toml += 'normalise = ["thousands", "ending", "spaces"]\nmax_tokens = 4\nshots_data = "shots.jsonl"\n'
    with gzip.open(source("gsm8k") / "train.jsonl.gz") as file:
        (tmp_path / "shots.jsonl").write_bytes(b"".join(file.readline() for _ in range(2)))
    task = load(tmp_path, source("gsm8k") / "test.jsonl.gz", toml)
    assert len(task.questions) == 1319
    assert all(one.golds[0].replace(",", "").lstrip("-").isdigit() for one in task.questions)
    scores = scored(task)
    assert scores.how.prompt.count("#### ") == 2
    assert scores.metrics["extraction_failed"].value == 1


def test_truthfulqa_as_choices(tmp_path: Path) -> None:
    with (source("truthfulqa") / "TruthfulQA.csv").open(encoding="utf-8-sig", newline="") as file:
        data = [
            {"q": row["Question"], "choices": [row["Best Answer"], *wrong], "answer": row["Best Answer"]}
            for row in csv.DictReader(file)
            if (wrong := [text.strip() for text in row["Incorrect Answers"].split(";") if text.strip()])
        ]
    task = tasks.load(write(tmp_path, 'kind = "choice"\nprompt = "Q: {q}\\nA:"\n', data))
    assert len(task.questions) == len(data) - task.material.duplicates > 800
    scored(task)


def test_truthfulqa_reads_as_csv_with_a_bom(tmp_path: Path) -> None:
    toml = 'kind = "span"\nprompt = "{Type}: {Question}"\nmax_tokens = 2\n'
    toml += '[columns]\nanswer = "Best Answer"\ngroup = "Category"\n'
    task = load(tmp_path, source("truthfulqa") / "TruthfulQA.csv", toml)
    assert len(task.questions) + task.material.duplicates == 817
    assert len({one.group for one in task.questions}) == 38
    scored(task)


def test_banking77_with_labels_in_words(tmp_path: Path) -> None:
    toml = 'kind = "classify"\nprompt = "Q: {text}\\nIntent:"\nshots = 3\nsampler = "nearest"\n'
    toml += '[columns]\nlabel = "category"\n'
    data = tmp_path / "part.csv"
    with (source("banking77") / "test.csv").open("rb") as file:
        data.write_bytes(b"".join(file.readlines()[:400]))
    task = load(tmp_path, data, toml)
    scores = scored(task)
    assert len(task.questions[0].options) > 5
    assert scores.how.prompt.count("Q: ") == 4


def cuad(category: str) -> Iterator[dict[str, Any]]:
    """Clauses and the words in them that name the governing law."""
    with gzip.open(source("cuad") / "master_clauses.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            clauses = ast.literal_eval(row[category]) if len(row[category]) < 10_000 else []
            if clauses and row[f"{category}-Answer"].strip():
                golds = [text.strip() for text in row[f"{category}-Answer"].split(";") if text.strip()]
                yield {"clause": " ".join(clauses[0].split()), "answer": golds, "group": row["Filename"]}


def test_cuad_spans(tmp_path: Path) -> None:
    toml = 'kind = "span"\nprompt = "Clause: {clause}\\nLaw:"\nshots = 1\nsampler = "nearest"\n'
    toml += 'max_tokens = 4\nstops = ["\\n"]\n'
    task = tasks.load(write(tmp_path, toml, list(cuad("Governing Law"))))
    assert len(task.questions) > 350
    for clause in scored(task).how.prompt.split("\n\n"):
        assert clause.startswith("Clause: ")


@pytest.mark.slow
def test_h082_a_base_model_asked_twice_scores_the_same(tmp_path: Path) -> None:
    """The shipped Foundling on COPA: a real engine, all normalisations in one pass, the same numbers again."""
    import torch

    from basewright.engine.torch_lm import open_lm

    torch.set_num_threads(1)
    lm = open_lm(FOUNDLING, "foundling-prose")
    toml = 'kind = "choice"\nprompt = "{query}"\n[columns]\nanswer = "gold"\n'
    task = load(tmp_path, source(GAUNTLET) / "copa.jsonl.gz", toml)
    scores = run(lm, task)
    assert (scores.metrics["acc_bytes"].n, scores.how.engine, scores.how.precision) == (100, "torch", "float32")
    assert list(scores.metrics) == ["acc_bytes", "acc", "acc_norm", "acc_tokens", "acc_mutual_info"]
    assert run(lm, task) == scores
