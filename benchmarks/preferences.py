"""Preferences: the first steps beside TRL's, and whether held-out pairs are told apart after a real tuning.

    python benchmarks/preferences.py trl --peer PYTHON [--loss dpo|kto]
    python benchmarks/preferences.py held --data FILE [--model foundling-prose] [-- OPTIONS OF tune]

`trl` makes a tiny random Llama and 12 rows; both sides train all weights, four rows a step in the same order, AdamW
at one constant rate. PYTHON is the interpreter of another environment that has trl 1.16.0 and datasets.
`held` splits the pairs of FILE, tunes on one part with `basewright tune`, and asks base and adapter about the other:
is the chosen answer likelier than the rejected one, and did it become so more than the rejected one (reward)?
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STEPS, ROWS_A_STEP, RATE, BETA = 6, 4, 1e-3, 0.1
QUESTIONS = ("Where is the station?", "Name the ship.", "Who sells shells?", "How long is a rope? Say it in a word.")


def main() -> None:
    parser = argparse.ArgumentParser()
    jobs = parser.add_subparsers(dest="job", required=True)
    peer = jobs.add_parser("trl")
    peer.add_argument("--peer", required=True)
    peer.add_argument("--loss", choices=("dpo", "kto"), default="dpo")
    child = jobs.add_parser("child")
    child.add_argument("folder")
    child.add_argument("loss")
    held = jobs.add_parser("held")
    held.add_argument("--data", type=Path, required=True)
    held.add_argument("--model", default="foundling-prose")
    held.add_argument("--train", type=int, default=1200)
    held.add_argument("--test", type=int, default=400)
    held.add_argument("--context", type=int, default=256)
    held.add_argument("options", nargs="*")
    options = parser.parse_args()
    if options.job == "child":
        _trl(Path(options.folder), options.loss)
    elif options.job == "trl":
        _beside_trl(options.peer, options.loss)
    else:
        _held(options)


# --- beside TRL -----------------------------------------------------------------------------------


def pairs() -> list[dict[str, Any]]:
    return [
        {"prompt": asked, "chosen": f" By the sea, {i}.", "rejected": f" No {i} at all, sorry."}
        for i, asked in enumerate(QUESTIONS * 3)
    ]


def ratings() -> list[dict[str, Any]]:
    """Answers of different lengths to prompts of one length, so that no answer is too long for another prompt."""
    said = (" By the sea.", " No.", " By the sea, I think, and late.", " No, not at all.")
    return [
        {"prompt": f"Where is ship {i % 10}?", "completion": said[(i + i // 4) % 4], "label": (i + i // 4) % 2 == 0}
        for i in range(12)
    ]


def _beside_trl(peer: str, loss: str) -> None:
    from tests.models import tiny_llama

    with tempfile.TemporaryDirectory() as scratch:
        folder = tiny_llama(Path(scratch) / "model")
        ours = _ours(folder, Path(scratch), loss)
        command = [peer, __file__, "child", str(folder), loss]
        theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    print(f"{'step':>4}{'loss':>12}{'TRL':>12}{'apart':>10}{'norm':>12}{'TRL':>12}")
    for a, b in zip(ours, theirs, strict=True):
        apart = abs(a["loss"] / b["loss"] - 1)
        print(
            f"{a['step']:>4}{a['loss']:>12.6f}{b['loss']:>12.6f}{apart:>10.1e}{a['norm']:>12.6f}{b['grad_norm']:>12.6f}"
        )


def _ours(folder: Path, scratch: Path, loss: str) -> list[dict[str, float]]:
    from basewright.data.pack import Packed
    from basewright.engine.torch_lm import load_model
    from basewright.records import TrainSettings, silent
    from basewright.train import attention, loop

    attention.install()
    model = load_model(folder, attention=attention.NAME)
    learned = (_pairs if loss == "dpo" else _ratings)(folder).begin(model)
    steps = len(learned.lengths) * learned.pack([0]).supervised // ROWS_A_STEP
    a_step = len(learned.lengths) // steps

    def packed(step: int) -> list[Packed]:
        return [learned.pack([(a_step * step + i) % len(learned.lengths) for i in range(a_step)])]

    settings = TrainSettings(
        steps=STEPS, batch_tokens=1, micro_tokens=1, learning_rate=RATE, warmup=0, weight_decay=0.0, clip=1.0, seed=0,
        betas=(0.9, 0.999), final_learning_rate=RATE, beta=BETA,
    )  # fmt: skip
    loop.run(model, packed, learned.loss, settings, scratch, silent, identity="benchmark")
    return [json.loads(line) for line in (scratch / loop.EVENTS).read_text().splitlines()]


def _pairs(folder: Path) -> Any:
    from basewright.text import encode
    from basewright.text.tokenizer import open_tokenizer
    from basewright.train.preferences import Pair, Preferences

    tokenizer = open_tokenizer(folder)
    return Preferences(
        [
            Pair(*(encode.example(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")))
            for row in pairs()
        ]
    )


def _ratings(folder: Path) -> Any:
    """A batch of TRL's is a group of ours."""
    from basewright.text import encode
    from basewright.text.tokenizer import open_tokenizer
    from basewright.train.preferences import Ratings

    tokenizer = open_tokenizer(folder)
    rows = [encode.example(tokenizer, row["prompt"], row["completion"]) for row in ratings()]
    groups = [range(i, i + ROWS_A_STEP) for i in range(0, len(rows), ROWS_A_STEP)]
    return Ratings(rows, [row["label"] for row in ratings()], groups)


def _in_turn() -> list[dict[str, Any]]:
    """As TRL is to read them: there an answer goes to the prompt after its own, with us to the one before, where the
    shortest come first."""
    rows = ratings()
    groups = [rows[i : i + ROWS_A_STEP] for i in range(0, len(rows), ROWS_A_STEP)]
    return [row for group in groups for row in sorted(group, key=lambda row: len(row["completion"]))[::-1]]


def _trl(folder: Path, loss: str) -> None:
    """In the child: prints what TRL logged of each step."""
    import torch
    import trl  # type: ignore[import-not-found]
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made, trainer = (trl.DPOConfig, trl.DPOTrainer) if loss == "dpo" else (trl.KTOConfig, trl.KTOTrainer)
    config = made(
        output_dir=str(folder / "trl"), per_device_train_batch_size=ROWS_A_STEP, max_steps=STEPS, learning_rate=RATE,
        lr_scheduler_type="constant", logging_steps=1, beta=BETA, report_to=[], use_cpu=True, bf16=False,
        save_strategy="no", gradient_checkpointing=False, disable_tqdm=True, train_sampling_strategy="sequential",
    )  # fmt: skip
    running = trainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list(pairs() if loss == "dpo" else _in_turn()),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    running.train()
    print(json.dumps([logged for logged in running.state.log_history if "loss" in logged]))


# --- held-out pairs -------------------------------------------------------------------------------


def _held(options: argparse.Namespace) -> None:
    from basewright.cli.main import run

    with tempfile.TemporaryDirectory() as scratch:
        base = _base(options.model)
        train, test = _split(options, base, Path(scratch))
        arguments = ["tune", options.model, str(train), "--test", str(test), "--runs", f"{scratch}/runs"]
        if run([*arguments, *options.options]):
            sys.exit(1)
        (adapter,) = Path(scratch).glob("runs/adapter-*/adapter")
        print(f"first steps, then last: {_steps(adapter.parent)}")
        _tell(base, adapter, test)


def _base(model: str) -> Path:
    from basewright.catalog import cards
    from basewright.hub import pull
    from basewright.store import Store

    with tempfile.TemporaryDirectory() as runs:
        return pull.locate(cards.get(model), Store(Path(runs)))


def _split(options: argparse.Namespace, base: Path, scratch: Path) -> list[Path]:
    """Shuffled pairs, each answer with its prompt within the context; held-out ones share no 13 words with the rest."""
    from basewright.data import files, near, prepare
    from basewright.records import Preference
    from basewright.text.tokenizer import open_tokenizer

    found = prepare.prepare(files.read(options.data), open_tokenizer(base), options.context, prepare.Options())
    order = random.Random(0).sample(range(len(found.rows)), len(found.rows))
    train, rest = order[: options.train], order[options.train :]
    given_away = {
        twin.row.where for twin in near.overlap([found.rows[i] for i in train], [found.rows[i] for i in rest])
    }
    test = [i for i in rest if found.rows[i].where not in given_away][: options.test]
    paths = [scratch / "train.jsonl", scratch / "test.jsonl"]
    for path, chosen in zip(paths, (train, test), strict=True):
        taught = [one for i in chosen if isinstance(one := found.taught[i], Preference)]
        rows = [{"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in taught]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    print(
        f"{len(found.rows)} pairs fit {options.context} tokens; {len(train)} to learn, {len(test)} held out", flush=True
    )
    return paths


def _steps(folder: Path) -> str:
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    tenth = max(1, len(steps) // 10)
    return "; ".join(
        ", ".join(f"{name} {sum(step[name] for step in part) / tenth:.3f}" for name in ("loss", "accuracy", "margin"))
        for part in (steps[:tenth], steps[-tenth:])
    )


def _tell(base: Path, adapter: Path, test: Path) -> None:
    from peft import PeftModel

    from basewright.data import files, prepare
    from basewright.stats import intervals, paired
    from basewright.text.tokenizer import open_tokenizer
    from basewright.train import objectives
    from basewright.train.opened import open_model
    from basewright.train.preferences import Preferences

    tokenizer, model = open_tokenizer(base), open_model(base)
    taught = prepare.prepare(files.read(test), tokenizer, 10**6, prepare.Options(keep_near=True)).taught
    learned = objectives.of(taught, prepare.encoded(taught, tokenizer))
    assert isinstance(learned, Preferences)
    before, after = (learned.begin(one).reference for one in (model, PeftModel.from_pretrained(model, adapter)))
    assert before is not None
    assert after is not None
    then, now = ((nats[:, 0] > nats[:, 1]).tolist() for nats in (before, after))
    moved = after - before
    rewarded = (moved[:, 0] > moved[:, 1]).tolist()
    for name, right in (("likelier before", then), ("likelier after", now), ("higher reward", rewarded)):
        one = intervals.proportion(sum(right), len(right))
        print(f"the chosen answer: {name:16}{one.value:>7.1%} [{one.low:.1%}, {one.high:.1%}], n = {one.n}")
    gain = paired.compare("after", now, "before", then)
    low, high = gain.difference.low, gain.difference.high
    print(f"after less before {gain.difference.value:+.1%} [{low:+.1%}, {high:+.1%}], exact p {gain.p_value:.2g}")
    print(f"nats moved, chosen {moved[:, 0].mean():+.2f}, rejected {moved[:, 1].mean():+.2f}")


if __name__ == "__main__":
    main()
