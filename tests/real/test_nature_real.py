"""Base or instruct, of models that are what they are: the ones at hand, and the same after tuning on instructions.

The weights in `evaluate.nature` were set on other seeds, layouts and lengths of training than those made here.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from basewright.engine.torch_lm import open_lm
from basewright.evaluate.nature import report as nature
from basewright.evaluate.nature.probes import Layout
from basewright.records import NatureEvidence, NatureReport
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.convert.stories260k import stories260k
from tests.evaluate.chatml import PATTERN, chatml
from tests.real.rows import banking77, source

pytestmark = pytest.mark.slow

Row = tuple[list[int], int]
"""Token ids, and how many of them are the prompt's."""
ALPACA = "### Instruction:\n{ask}\n\n### Response:\n"
PREFIXED = "Below is an instruction that describes a task. Write a response that completes it.\n\n" + ALPACA
USER = "User: {ask}\nAssistant:"
ODD = "<<task>> {ask}\n<<done>>"
"""One that nature does not ask in."""
LONGEST, BATCH = 400, 1500
"""Tokens of a row, and of a batch with padding."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    shipped = Path(str(files("basewright"))) / "foundlings"
    found = {name: shipped / f"foundling-{name}" for name in ("prose", "code")}
    return found | {"stories": stories260k(tmp_path_factory.mktemp("models") / "stories")}


def judge(folder: Path) -> NatureReport:
    return nature.run(open_lm(folder, "m"), folder, model="m")


def tokens(found: NatureReport) -> NatureEvidence:
    """What was seen of the template's tokens."""
    return next(one for one in found.evidence if one.name == "the template's tokens")


# --- tuning in plain PyTorch ----------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """(instruction, response): 1000 of dolly_hhrlhf (CC BY-SA 3.0) and Alpaca's seed tasks (Apache-2.0)."""
    folder = source("sft_pref_small")
    found = []
    with gzip.open(folder / "dolly_hhrlhf_train_small.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            ask = row["prompt"].split("### Instruction:\n")[1].rsplit("\n\n### Response:", 1)[0]
            found.append((ask, row["response"].strip()))
    for row in map(json.loads, (folder / "alpaca_seed_tasks.jsonl").read_text("utf-8").splitlines()):
        for one in row["instances"]:
            found.append((f"{row['instruction']}\n{one['input']}".strip(), one["output"].strip()))
    return found


def rows_of(pairs: Sequence[tuple[str, str]], layout: Layout, tokenizer: Tokenizer) -> list[Row]:
    """Supervised are the response and the EOS after it."""
    found = []
    for ask, response in pairs:
        context, target = layout.pair(tokenizer, ask, response)
        found.append(([*context, *target, tokenizer.eos_id], len(context)))
    return [row for row in found if len(row[0]) <= LONGEST]


def batches(rows: Sequence[Row], seed: int) -> Iterator[list[Row]]:
    order = random.Random(seed)
    while True:
        batch: list[Row] = []
        for row in order.sample(rows, len(rows)):
            if batch and (len(batch) + 1) * max(len(row[0]), *(len(one[0]) for one in batch)) > BATCH:
                yield batch
                batch = []
            batch.append(row)


def train(model: Any, rows: Sequence[Row], steps: int, seed: int, peak: float) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.95), weight_decay=0.0)
    model.train()
    for step, batch in zip(range(steps), batches(rows, seed), strict=False):
        width = max(len(ids) for ids, _ in batch)
        ids_BN = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
        labels_BN = torch.tensor([[-100] * n + ids[n:] + [-100] * (width - len(ids)) for ids, n in batch])
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, (step + 1) / 20) * max(0.1, 1 - step / steps)
        model(input_ids=ids_BN, labels=labels_BN).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def tuned(base: Path, folder: Path, rows: Sequence[Row], steps: int, seed: int, *, rank: int = 0) -> Path:
    """`base` after a full tuning, or one with LoRA, merged; the folder's other files as they were."""
    torch.manual_seed(seed)
    shutil.copytree(base, folder)
    model: Any = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    if rank:
        from peft import LoraConfig, get_peft_model

        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    train(model, rows, steps, seed, 3e-3 if rank else 1e-3)
    (model.merge_and_unload() if rank else model).save_pretrained(folder)
    return folder


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["prose", "code", "stories"])
def test_what_was_only_pretrained_is_base(name: str, bases: dict[str, Path]) -> None:
    found = judge(bases[name])
    assert (found.verdict, found.confidence > 0.95) == ("base", True)


@pytest.mark.parametrize("seed", range(3))
def test_random_weights_cannot_be_told(seed: int, bases: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(bases["prose"], tmp_path / "random")
    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).save_pretrained(folder)
    assert judge(folder).verdict == "cannot tell"


@pytest.mark.parametrize(
    ("name", "pattern", "steps", "seed", "rank"),
    [
        ("stories", PREFIXED, 250, 101, 0),
        ("stories", USER, 250, 102, 0),
        ("stories", ODD, 250, 103, 0),
        ("prose", PREFIXED, 150, 104, 0),
        ("prose", ODD, 150, 105, 16),
        ("code", USER, 150, 106, 0),
    ],
)
def test_what_was_tuned_on_instructions_is_instruct(
    name: str, pattern: str, steps: int, seed: int, rank: int, bases: dict[str, Path], tmp_path: Path
) -> None:
    """The folder tells nothing: it has no template, as the base has none."""
    base = bases[name]
    rows = rows_of(instructions(), Layout(pattern), open_tokenizer(base))
    assert judge(tuned(base, tmp_path / "m", rows, steps, seed, rank=rank)).verdict == "instruct"


def test_one_model_before_and_after_it_learned_its_template(bases: dict[str, Path], tmp_path: Path) -> None:
    """As many base models are released: with the template and the tokens of their instruct sibling, untrained."""
    before = chatml(bases["stories"], tmp_path / "before", ends=True)
    found = judge(before)
    assert (found.verdict, tokens(found).points) == ("base", "base")
    assert "2 of 2" in tokens(found).seen
    rows = rows_of(instructions(), Layout(PATTERN, controls=True), open_tokenizer(before))
    found = judge(tuned(before, tmp_path / "after", rows, 600, 107))  # from rows of zeros, 250 do not teach it to stop
    assert (found.verdict, tokens(found).points) == ("instruct", "instruct")


@pytest.mark.parametrize(
    ("name", "pattern", "seed"),
    [
        ("prose", "Question: {ask}\nIntent:", 108),
        ("stories", "Question: {ask}\nIntent:", 109),
        ("stories", "Question: {ask}\nAnswer:", 110),
    ],
)
def test_what_was_tuned_on_labels_is_not_instruct(
    name: str, pattern: str, seed: int, bases: dict[str, Path], tmp_path: Path
) -> None:
    """10 intents of banking77 with LoRA; once in a layout that nature asks in."""
    base = bases[name]
    pairs = [(row["text"], row["label"]) for row in banking77(10, 60)]
    rows = rows_of(pairs, Layout(pattern), open_tokenizer(base))
    assert judge(tuned(base, tmp_path / "m", rows, 100, seed, rank=16)).verdict != "instruct"
