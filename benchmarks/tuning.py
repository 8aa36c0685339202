"""LoRA tuning against TRL and LLaMA-Factory, alternating: tokens a second of processor time, peak memory, every loss.

    python benchmarks/tuning.py [--peer PYTHON] [--llamafactory PYTHON] [--size 5M|25M|110M]
        [--precision bfloat16|float32] [--steps 2] [--rounds 1] [--rate 1e-4] [--text FILE]
        [--only ours-packed ours-unpacked trl-packed trl-unpacked llamafactory-packed llamafactory-neat …]

Run at the repository's root. Each PYTHON is the interpreter of another environment; `tuning_peers.py` says which.
All sides get the same random Llama (16k vocabulary), the same rows and masks, AdamW with the same constant rate, LoRA
of rank 16 on all linear maps from the same A, float32 adapters, and as many rows in a step. One thread. `unpacked`
takes eight rows a step in the same order on all sides, and the losses must agree; `packed` takes rows of 8 x 512
tokens, in an order of its own on each side. Each measurement is a process of its own: the first step is not counted.
Rows are random ids, or the texts of a JSONL file as foundling-prose's tokenizer cuts them. `neighbour` is what another
first row changes in the nats of the row packed behind it, after the last step: 0 where rows do not see each other.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCABULARY, CONTEXT, ROWS_A_STEP, RANK = 16_384, 512, 8, 16
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIZES: dict[str, dict[str, Any]] = {
    "5M": {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
           "num_key_value_heads": 3, "tie_word_embeddings": True},
    "25M": {"hidden_size": 512, "intermediate_size": 1280, "num_hidden_layers": 6, "num_attention_heads": 8,
            "num_key_value_heads": 4, "tie_word_embeddings": True},
    "110M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
             "num_key_value_heads": 12, "tie_word_embeddings": False},
}  # fmt: skip
MICRO = 2048
"""Tokens that we compute at once; a step is the sum of its parts."""
SIDES = {
    "ours": ("packed", "unpacked"),
    "trl": ("packed", "unpacked"),
    "llamafactory": ("packed", "neat", "unpacked"),
}


def rows(asked: dict[str, Any], count: int) -> list[list[int]]:
    """Rows of 184 to 512 random ids, so that a third of a padded batch is padding; or those of a text."""
    if asked["rows"]:
        found: list[list[int]] = json.loads(Path(asked["rows"]).read_text("utf-8"))
        return found[:count]
    draw = random.Random(0)
    return [[draw.randrange(2, VOCABULARY) for _ in range(draw.randint(184, CONTEXT))] for _ in range(count)]


def texts(path: Path, into: Path) -> str:
    """A file with the ids of each text, ended by EOS, for both sides."""
    from basewright.text.tokenizer import open_tokenizer

    tokenizer = open_tokenizer(Path("src/basewright/foundlings/foundling-prose"))
    lines = path.read_text("utf-8").splitlines()
    ids = [[*tokenizer.ids(json.loads(line)["text"]), tokenizer.eos_id][:CONTEXT] for line in lines]
    into.write_text(json.dumps(ids), "utf-8")
    return str(into)


def main() -> None:
    options = _options()
    losses: dict[str, list[float]] = {}
    print(f"{'':22}{'tokens/s':>10}{'peak MiB':>10}{'base MiB':>10}{'of peak':>9}{'neighbour':>11}  losses")
    with tempfile.TemporaryDirectory() as folder:
        given = texts(options.text, Path(folder) / "rows.json") if options.text else ""
        for _ in range(options.rounds):
            for name in options.only:
                side, kind = name.split("-")
                found = _measure(options, side, kind, folder, given)
                losses[name] = found["losses"]
                shown = " ".join(f"{loss:.4f}" for loss in found["losses"])
                neighbour = "" if found["neighbour"] is None else f"{found['neighbour']:.2g}"
                print(
                    f"{name:22}{found['tokens_per_second']:>10.0f}{found['peak'] / 2**20:>10.0f}"
                    f"{found['base'] / 2**20:>10.0f}{found['share']:>9.0%}{neighbour:>11}  {shown}",
                    flush=True,
                )
    mine = losses.get("ours-unpacked", [])
    for name in losses:
        if mine and name.endswith("-unpacked") and name != "ours-unpacked":
            apart = max(abs(a / b - 1) for a, b in zip(mine, losses[name], strict=True))
            print(f"{name} and ours-unpacked: losses differ by at most {apart:.3%} at any step")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", dest="trl", help="interpreter of an environment with TRL")
    parser.add_argument("--llamafactory", help="interpreter of an environment with LLaMA-Factory")
    parser.add_argument("--size", choices=SIZES, default="25M")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--steps", type=int, default=2, help="counted, after one that is not")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--text", type=Path, help="JSONL with a text in each line; the parent reads it")
    parser.add_argument("--rounds", type=int, default=1)
    names = [f"{side}-{kind}" for side, kinds in SIDES.items() for kind in kinds]
    parser.add_argument("--only", nargs="+", choices=names, help="every side whose interpreter is named")
    options = parser.parse_args()
    options.ours = sys.executable
    options.only = options.only or [name for name in names if getattr(options, name.split("-")[0])]
    for name in options.only:
        if not getattr(options, name.split("-")[0]):
            parser.error(f"{name} needs its environment's PYTHON")
    return options


def _measure(options: argparse.Namespace, side: str, kind: str, folder: str, given: str) -> dict[str, Any]:
    asked = {
        "side": side,
        "kind": kind,
        "size": options.size,
        "precision": options.precision,
        "steps": options.steps,
        "folder": folder,
        "rows": given,
        "rate": options.rate,
    }
    done = subprocess.run(
        [getattr(options, side), "-W", "ignore", "-m", "benchmarks.tuning", json.dumps(asked)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- one measurement, in a process of its own -----------------------------------------------------


def child(asked: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(1)
    clock = Clock()
    losses, neighbour = _side(asked["side"])(asked, clock)
    seconds, tokens = clock.counted()
    size = sum(p.numel() for p in new_model(asked).parameters())
    share = 4.0 * size * tokens / seconds / _peak()
    found = {
        "tokens_per_second": tokens / seconds,
        "peak": clock.peak,
        "base": clock.base,
        "share": share,
        "losses": losses,
        "neighbour": neighbour,
    }
    print(json.dumps(found))


def _side(name: str) -> Callable[[dict[str, Any], Clock], tuple[list[float], float | None]]:
    if name == "ours":
        return ours
    from benchmarks import tuning_peers

    return {"trl": tuning_peers.trl, "llamafactory": tuning_peers.llamafactory}[name]


class Clock:
    """Processor time and tokens after each step; the first is warm-up."""

    def __init__(self) -> None:
        self.marks: list[float] = []
        self.tokens: list[int] = []
        self.base = self.peak = 0

    def begin(self) -> None:
        """The model is loaded, nothing is trained."""
        self.base = _resident()

    def step(self, tokens: int) -> None:
        self.marks.append(time.process_time())
        self.tokens.append(tokens)
        self.peak = _resident()

    def counted(self) -> tuple[float, int]:
        return self.marks[-1] - self.marks[0], sum(self.tokens[1:])


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak() -> float:
    """Operations a second of a large product in the faster of the two precisions."""
    import torch

    best = 0.0
    for kind in (torch.float32, torch.bfloat16):
        a, b = (torch.ones(2048, 2048, dtype=kind) for _ in range(2))
        for _ in range(3):
            clock = time.process_time()
            torch.mm(a, b)
            best = max(best, 2.0 * 2048**3 / (time.process_time() - clock))
    return best


def new_model(asked: dict[str, Any]) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        **SIZES[asked["size"]],
    )  # fmt: skip
    return LlamaForCausalLM(config).to(getattr(torch, asked["precision"]))


def ours(asked: dict[str, Any], clock: Clock) -> tuple[list[float], float | None]:
    from basewright.data.pack import pack
    from basewright.records import LoraSettings, TrainSettings
    from basewright.text.encode import Encoded
    from basewright.train import adapters, attention, loop, losses, quick

    attention.install()
    model = new_model(asked)
    model.set_attn_implementation(attention.NAME)
    lora = LoraSettings(rank=RANK, alpha=2.0 * RANK, targets=TARGETS)
    tuned = adapters.put_on(model, lora, 0)
    quick.quicken(tuned)
    tuned.train()
    clock.begin()
    steps = asked["steps"] + 1
    batches = _batches(asked, steps)

    def packed(step: int) -> Any:
        if step:
            clock.step(sum(len(row) for row in batches[step - 1]))
        micro = _fill(batches[step], MICRO)
        return [pack([Encoded(tuple(row), (True,) * len(row)) for row in part]) for part in micro]

    settings = TrainSettings(
        steps=steps, batch_tokens=4096, micro_tokens=MICRO, learning_rate=asked["rate"],
        final_learning_rate=asked["rate"], warmup=0, weight_decay=0.0, clip=1.0, seed=0,
        precision=asked["precision"], save_every=10**6, betas=(0.9, 0.999),
    )  # fmt: skip
    scratch = Path(tempfile.mkdtemp(dir=asked["folder"]))
    loop.run(tuned, packed, losses.next_token, settings, scratch, lambda *_: None, identity="benchmark")
    clock.step(sum(len(row) for row in batches[-1]))
    found = [json.loads(line)["loss"] for line in (scratch / "events.jsonl").read_text().splitlines()]
    return found, _neighbour(tuned, batches[-1][:2]) if asked["kind"] == "packed" else None


def _neighbour(model: Any, two: list[list[int]]) -> float:
    """What another first row changes in the nats of the second, packed behind it."""
    import torch

    from basewright.data.pack import pack
    from basewright.text.encode import Encoded
    from basewright.train import losses

    first, second = two
    rows = [pack([Encoded(tuple(row), (True,) * len(row)) for row in (one, second)]) for one in (first, other(first))]
    with torch.no_grad():
        before, after = (float(losses.log_likelihoods(model, row)[1]) for row in rows)
    return abs(after - before)


def other(row: list[int]) -> list[int]:
    """As long, and another id everywhere."""
    return [2 + (id + 1) % (VOCABULARY - 2) for id in row]


def _batches(asked: dict[str, Any], steps: int) -> list[list[list[int]]]:
    """The rows of each step: eight in order, or as many as fill 8 x 512 tokens."""
    if asked["kind"] == "unpacked":
        every = rows(asked, ROWS_A_STEP * steps)
        return [every[i : i + ROWS_A_STEP] for i in range(0, len(every), ROWS_A_STEP)]
    return _fill(rows(asked, 20 * steps), ROWS_A_STEP * CONTEXT)[:steps]


def _fill(every: list[list[int]], most: int) -> list[list[list[int]]]:
    parts: list[list[list[int]]] = [[]]
    for row in every:
        if sum(map(len, parts[-1])) + len(row) > most:
            parts.append([])
        parts[-1].append(row)
    return [sorted(part, key=len) for part in parts]


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        child(json.loads(sys.argv[1]))
    else:
        main()
