"""A dry run before a long job: one step of the longest row, trained, saved and evaluated, in a process of its own.

Its peak corrects the plan. It is measured above the state after imports, and after the weights are loaded, whose
file is read through pages that the kernel takes back when it needs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from basewright import machine
from basewright.catalog import cards
from basewright.errors import DoesNotFit, UsageError
from basewright.plain import from_plain, to_plain
from basewright.plan import memory
from basewright.records import Ask, Dry, ModelCard, Plan, TrainSettings, silent

PRECISIONS = {"lora": ("float32", "bfloat16"), "full": ("float32", "mixed"), "evaluate": ("float32",)}
"""What Basewright runs on a processor: an adapter on a base in 16 bits, all weights in float32 under autocast."""
STEPS = 2
"""The second step is the first that has AdamW's moments from its beginning."""
TIMEOUT = 3600.0


def run(plan: Plan, folder: Path) -> Dry:
    """Make the step that `plan` is about with the model in `folder`, which has passed the airlock.

    Raises `UsageError` for a job that cannot be tried here, `DoesNotFit` when the process does not survive it.
    """
    ask = plan.ask
    own = plan.job == "evaluate" or (ask is not None and not ask.plain)
    if ask is None or plan.precision not in PRECISIONS.get(plan.job, ()) or not own:
        raise UsageError(
            f"{plan.job} in {plan.precision}, as asked, is nothing that Basewright runs here: it cannot be tried",
            fix=f"basewright plan {plan.model} --job lora --measure",
        )
    words = json.dumps({"ask": to_plain(ask), "folder": str(folder)})
    command = [sys.executable, "-m", "basewright.train.dry", words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise DoesNotFit(f"the dry run of {plan.model} ended: {reason}", fix=plan.reasons[-1])
    seen = json.loads(done.stdout.splitlines()[-1])
    need = memory.IMPORTS + seen["peak"]
    return Dry(
        plan=plan,
        predicted=plan.memory.total - memory.IMPORTS,
        measured=seen["peak"],
        need=need,
        fits=need <= plan.budget,
        seconds=seen["seconds"],
        tokens=ask.micro_tokens,
    )


def main(words: str) -> None:
    """In the child: prints the peak in bytes, and the seconds of the last step."""
    machine.return_freed_memory()
    asked = json.loads(words)
    ask: Ask = from_plain(Ask, asked["ask"])
    folder = Path(asked["folder"])
    _import_all()
    before = machine.resident()
    card = cards.get(str(folder))
    with tempfile.TemporaryDirectory() as scratch:
        seconds = _step(card, ask, folder, Path(scratch))
    print(json.dumps({"peak": machine.peak_resident() - before, "seconds": seconds}))


def _import_all() -> None:
    import peft  # noqa: F401 - what a walk has loaded before it plans
    import pydantic  # noqa: F401
    import rich.console  # noqa: F401
    import scipy.stats  # noqa: F401
    from transformers import AutoModelForCausalLM  # noqa: F401

    from basewright.engine import torch_lm  # noqa: F401
    from basewright.train import loop, tune  # noqa: F401


def _step(card: ModelCard, ask: Ask, folder: Path, scratch: Path) -> float:
    import torch

    from basewright.engine import torch_lm

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or machine.cores())
    if ask.job == "evaluate":
        lm = torch_lm.open_lm(folder, card.id)
        machine.forget_peak()
        started = time.monotonic()
        _evaluate(lm, card, ask)
        return time.monotonic() - started
    return _train(card, ask, folder, scratch)


def _train(card: ModelCard, ask: Ask, folder: Path, scratch: Path) -> float:
    """Through the loop that trains, saved after every step; the seconds of the last one."""
    import numpy as np

    from basewright.data.pack import Packed, pack
    from basewright.plan.model import Model
    from basewright.records import LoraSettings
    from basewright.text.encode import Encoded
    from basewright.train import adapters, loop, losses, quick
    from basewright.train.opened import open_model

    model = open_model(folder, "bfloat16" if ask.precision == "bfloat16" else "float32")
    if ask.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if ask.rank:
        names = Model.of(card).targets(ask.targets)
        model = adapters.put_on(model, LoraSettings(rank=ask.rank, alpha=float(ask.rank), targets=names), 0)
    quick.quicken(model)
    length = min(ask.context, ask.micro_tokens)
    ends: list[float] = []

    def rows(step: int) -> list[Packed]:
        ids = np.random.default_rng(step).integers(0, card.shape.vocabulary, (ask.micro_tokens // length, length))
        return [pack([Encoded(tuple(row), (True,) * length) for row in ids.tolist()])]

    def progress(_what: str, _done: int, _total: int, /) -> None:
        ends.append(time.monotonic())

    settings = TrainSettings(
        steps=STEPS,
        batch_tokens=ask.micro_tokens,
        micro_tokens=ask.micro_tokens,
        learning_rate=1e-4,
        warmup=1,
        weight_decay=0.0,
        clip=1.0,
        seed=0,
        save_every=1,
        precision="float32" if ask.precision == "float32" else "bfloat16",
    )
    machine.forget_peak()
    loop.run(model, rows, losses.next_token, settings, scratch, progress, identity="dry")
    return ends[-1] - ends[-2]


def _evaluate(lm: Any, card: ModelCard, ask: Ask) -> None:
    """Rows with as much in common as their context allows, and one text of twice the context."""
    import numpy as np

    from basewright.engine.lm import Pair

    draw = np.random.default_rng(0)
    shared = draw.integers(0, card.shape.vocabulary, max(1, ask.context - memory.OWN_TOKENS)).tolist()
    own = [draw.integers(0, card.shape.vocabulary, memory.OWN_TOKENS).tolist() for _ in range(32)]
    pairs = [Pair(tuple(shared + ids[:-4]), tuple(ids[-4:])) for ids in own]
    list(lm.score(pairs, silent))


if __name__ == "__main__":
    main(sys.argv[1])
