"""Benchmarks people use, on their real items: our engine behind lm-eval's task definitions, and lm-eval's own path."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import basewright
from basewright.engine import torch_lm
from basewright.evaluate.harness import run as harness
from tests.convert.stories260k import stories260k
from tests.evaluate import harness_tasks
from tests.evaluate.harness_tasks import HERE
from tests.real.rows import source

pytest.importorskip("lm_eval")

import lm_eval

from tests.evaluate.harness_tasks.peer import assert_same, evaluated, hflm

pytestmark = [pytest.mark.lm_eval, pytest.mark.slow]
OWN = Path(lm_eval.__file__).parent / "tasks"
"""lm-eval's task definitions, as installed."""
FOUNDLING = Path(basewright.__file__).parent / "foundlings" / "foundling-prose"
SUBJECTS = ("abstract_algebra", "marketing", "us_foreign_policy", "professional_law")
MULTIPLE = {"arc_easy": "arc_easy", "piqa": "piqa", "openbookqa": "openbook_qa", "boolq": "boolq"}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _results: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def both_ways(folder: Path, tasks: Path, names: list[str]) -> harness.Harness:
    """Through our engine and through lm-eval's own model: the same numbers."""
    made = harness.run(torch_lm.open_lm(folder, folder.name), names, include=tasks)
    assert_same(made.results, evaluated(hflm(folder), tasks, names))
    return made


# --- MMLU, in lm-eval's own words -----------------------------------------------------------------


def mmlu(folder: Path, count: int) -> None:
    """The first items of some subjects; a professional-law question alone is longer than most prompts."""
    with tarfile.open(source("mmlu") / "mmlu_csv.tar.xz") as archive:
        for subject in SUBJECTS:
            splits = {}
            for split, most in (("dev", 5), ("test", count)):
                content = archive.extractfile(f"{split}/{subject}_{split}.csv")
                assert content is not None
                rows = list(csv.reader(io.TextIOWrapper(content, "utf-8", newline="")))[:most]
                splits[split] = [
                    {"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5]), "subject": subject}
                    for row in rows
                ]
            name = f"mmlu_{subject}"
            harness_tasks.task(folder, name, OWN / "mmlu" / "default" / f"{name}.yaml", splits, num_fewshot=5)
    members = [f"mmlu_{subject}" for subject in SUBJECTS]
    harness_tasks.group(folder, "mmlu", task=members)


def long_llama(folder: Path) -> Path:
    """Random weights behind a Foundling's tokenizer, with room for five shots of anything."""
    config = LlamaConfig(
        vocab_size=4096, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.2, bos_token_id=0, eos_token_id=0,
        pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOUNDLING / name, folder)
    return folder


@pytest.mark.parametrize("model", ["long", "foundling-prose"])
def test_mmlu(model: str, tmp_path: Path) -> None:
    """Five shots: the long context holds them all, the Foundling's 1024 tokens lose some on the left."""
    mmlu(tmp_path, 20)
    folder = long_llama(tmp_path / "long") if model == "long" else FOUNDLING
    made = both_ways(folder, tmp_path, ["mmlu"])
    assert [(one.task, one.how.shots, len(one.items)) for one in made.scores] == [
        (f"mmlu_{subject}", 5, 20) for subject in SUBJECTS
    ]
    assert [one.how.sampler for one in made.scores] == ["fixed"] * 4
    cuts = [one.how.cut for one in made.scores]
    assert cuts == [0, 0, 0, 0] if model == "long" else cuts[3] == 20
    assert "about us foreign policy.\n\n" in made.scores[2].how.prompt
    right = sum(item.values["acc"] for one in made.scores for item in one.items)
    assert made.results["groups"]["mmlu"]["acc,none"] == pytest.approx(right / 80)


# --- the others -----------------------------------------------------------------------------------


def lines(folder: str, name: str, count: int) -> list[dict[str, Any]]:
    with gzip.open(source(folder) / f"{name}.jsonl.gz", "rt", encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for _, line in zip(range(count), file, strict=False)]


def gauntlet(folder: Path, count: int) -> list[str]:
    """ARC, PIQA, OpenBookQA, BoolQ, WinoGrande and LAMBADA, as MosaicML's Eval Gauntlet packs them."""
    for name, file in MULTIPLE.items():
        rows = lines("llm_foundry_icl", file, count)
        harness_tasks.task(
            folder, name, HERE / "choice.yaml", {"test": rows}, doc_to_text="{{query}}\nAnswer:", num_fewshot=0,
            fewshot_split=None,
        )  # fmt: skip
    rows = lines("llm_foundry_icl", "winogrande", count)
    harness_tasks.task(
        folder, "winogrande", HERE / "context.yaml", {"test": rows}, doc_to_choice="context_options",
        target_delimiter=" ",
    )  # fmt: skip
    texts = [
        {"text": f"{row['context']} {row['continuation'].strip()}"}
        for row in lines("llm_foundry_icl", "lambada_openai", count)
    ]
    harness_tasks.task(folder, "lambada_openai", OWN / "lambada" / "lambada_openai.yaml", {"test": texts})
    return [*MULTIPLE, "winogrande", "lambada_openai"]


def truthfulqa(folder: Path, count: int) -> list[str]:
    with (source("truthfulqa") / "TruthfulQA.csv").open(encoding="utf-8-sig", newline="") as file:
        found = [row for _, row in zip(range(count), csv.DictReader(file), strict=False)]
    rows = []
    for row in found:
        wrong = [text.strip() for text in row["Incorrect Answers"].split(";")]
        right = [text.strip() for text in row["Correct Answers"].split(";")]
        one = {"choices": [row["Best Answer"].strip(), *wrong], "labels": [1] + [0] * len(wrong)}
        two = {"choices": [*right, *wrong], "labels": [1] * len(right) + [0] * len(wrong)}
        rows.append({"question": row["Question"], "mc1_targets": one, "mc2_targets": two})
    for name in ("truthfulqa_mc1", "truthfulqa_mc2"):
        harness_tasks.task(folder, name, OWN / "truthfulqa" / f"{name}.yaml", {"validation": rows})
    return ["truthfulqa_mc1", "truthfulqa_mc2"]


def blimp(folder: Path, count: int) -> list[str]:
    with zipfile.ZipFile(source("blimp") / "BLiMP.zip") as archive:
        text = archive.read("data/principle_A_case_2.jsonl").decode()
    rows = [json.loads(line) for line in text.split("\n")[:count]]
    harness_tasks.task(folder, "blimp_principle_A_case_2", OWN / "blimp" / "_template_yaml", {"train": rows})
    return ["blimp_principle_A_case_2"]


def gsm8k(folder: Path, count: int) -> list[str]:
    splits = {split: lines("gsm8k", split, most) for split, most in (("train", 40), ("test", count))}
    harness_tasks.task(folder, "gsm8k", OWN / "gsm8k" / "gsm8k.yaml", splits)
    return ["gsm8k"]


def test_choices_gaps_and_answers(tmp_path: Path) -> None:
    names = [*gauntlet(tmp_path, 20), *truthfulqa(tmp_path, 15), *blimp(tmp_path, 40), *gsm8k(tmp_path, 4)]
    made = {one.task: one for one in both_ways(FOUNDLING, tmp_path, names).scores}
    assert list(made) == names
    assert made["gsm8k"].how.stops == ("Question:", "</s>", "<|im_end|>", "<|endoftext|>")
    assert list(made["gsm8k"].metrics) == ["exact_match,strict-match", "exact_match,flexible-extract"]
    assert made["gsm8k"].how.cut == 4, "five shots and 256 tokens of answer fill more than 1024 tokens"
    assert made["truthfulqa_mc2"].metrics["acc"].method.startswith("t")
    assert made["blimp_principle_A_case_2"].majority == 1 / 40
    assert made["boolq"].majority > 0.5


def test_an_answer_of_a_tokenizer_that_takes_off_the_first_space(tmp_path: Path) -> None:
    """stories260K: a SentencePiece tokenizer, whose decoder drops the space before a first word."""
    folder = stories260k(tmp_path / "stories")
    rows = [{"question": question, "answer": "x"} for question in ("Once upon a time, Lily", "The dog saw", "Tom and")]
    harness_tasks.task(
        tmp_path, "story", HERE / "write.yaml", {"train": rows, "test": rows}, doc_to_text="{{question}}", num_fewshot=0
    )
    made = both_ways(folder, tmp_path, ["story"])
    assert all(item.answer and not item.answer.startswith(" ") for item in made.scores[0].items)
