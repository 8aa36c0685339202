"""The same log-likelihoods from lm-evaluation-harness's HF backend and from our engine, side by side.

    python benchmarks/scoring.py [--sizes 5M 25M 110M] [--repeat 3] [--precision float32]

Random Llama models with a vocabulary of 16,384; questions cut from the texts of Python's standard library; one torch
thread; process CPU time, runs alternating, medians. lm-eval runs at the batch size that is best for it here. For each
row: time ratio, whether the best choice of every item is the same, the largest difference of a log-likelihood, and
how near the number of computed ids is to the smallest possible (`engine.tree.fewest`). What a model shares is tried
before, once a process; that time is told by itself.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from basewright.engine import tree
from basewright.engine.lm import Request, pair, whole_text, windows
from basewright.engine.torch_lm import LIMITS, TorchLM, open_lm

VOCABULARY = 16_384
EOS = "<|endoftext|>"
SIZES = {  # layers, width, heads, feed-forward, items
    "5M": (4, 192, 4, 512, 100),
    "25M": (10, 384, 6, 1024, 40),
    "110M": (14, 768, 12, 2048, 12),
}
BATCHES = (1, 4, 8)
SHOTS = 5


@dataclass(frozen=True, slots=True)
class Item:
    context: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    work: str
    ratio: float
    theirs: float
    ours: float
    batch: int
    same: bool
    difference: float
    bound: float


# --- material -------------------------------------------------------------------------------------


def library_text() -> str:
    """Some 4 MB of the standard library's own sources, in order of name."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return "\n".join(path.read_text("utf-8", errors="ignore") for path in files)[:4_000_000]


def make_model(folder: Path, size: str, text: str) -> None:
    layers, width, heads, feed_forward, _ = SIZES[size]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, intermediate_size=feed_forward, max_position_embeddings=2048,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=1, initializer_range=0.05,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[EOS, "<|pad|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(text.split("\n\n"), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": EOS, "bos_token": EOS, "pad_token": "<|pad|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))


def solved(words: Sequence[str], draw: random.Random) -> tuple[str, tuple[str, ...]]:
    """A question of some 100 ids, and four answers of some 8."""

    def cut(length: int) -> str:
        at = draw.randrange(len(words) - length)
        return " ".join(words[at : at + length])

    return f"Question: {cut(34)}\nAnswer:", tuple(" " + cut(2) for _ in range(4))


def questions(work: str, count: int, words: Sequence[str]) -> list[Item]:
    draw = random.Random(work)
    pool = [solved(words, draw) for _ in range(40)]
    fixed = pool[:SHOTS]
    found = []
    for _ in range(count):
        question, choices = solved(words, draw)
        shots = {"shots fixed": fixed, "letters": fixed, "shots per item": draw.sample(pool, SHOTS), "no shots": []}[
            work
        ]
        if work == "letters":
            question, choices = lettered(question, choices)
            prompt = "\n\n".join([*(" ".join(lettered(*shot)[0:1]) + " A" for shot in shots), question])
        else:
            prompt = "\n\n".join([*(asked + answers[0] for asked, answers in shots), question])
        found.append(Item(prompt, choices))
    return found


def lettered(question: str, choices: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """As MMLU asks: the choices in the question, their letters as answers."""
    listed = "\n".join(f"{letter}.{choice}" for letter, choice in zip("ABCD", choices, strict=True))
    return question.replace("\nAnswer:", f"\n{listed}\nAnswer:"), (" A", " B", " C", " D")


# --- both sides -----------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def alternating(theirs: Callable[[], Any], ours: Callable[[], Any], repeat: int) -> tuple[float, float, Any, Any]:
    """Median seconds of both, and their answers."""
    first, second = [], []
    answers: tuple[Any, Any] = (None, None)
    for _ in range(repeat):
        a, b = timed(theirs), timed(ours)
        first.append(a[0])
        second.append(b[0])
        answers = a[1], b[1]
    return statistics.median(first), statistics.median(second), *answers


def best_batch(peer: HFLM, requests: list[Instance], call: Callable[[list[Instance]], Any]) -> int:
    def cost(batch: int) -> float:
        peer.batch_size_per_gpu = batch
        return min(timed(lambda: call(requests))[0] for _ in range(2))

    return min(BATCHES, key=cost)


def choices_row(work: str, items: Sequence[Item], peer: HFLM, lm: TorchLM, repeat: int) -> Row:
    flat = [(item.context, choice) for item in items for choice in item.choices]
    asked = [Instance("loglikelihood", {}, args, index) for index, args in enumerate(flat)]
    requests = [Request(item.context, item.choices) for item in items]

    def call(part: list[Instance]) -> Any:
        return peer.loglikelihood(part, disable_tqdm=True)

    peer.batch_size_per_gpu = batch = best_batch(peer, asked[:16], call)
    theirs, ours, expected, answers = alternating(lambda: call(asked), lambda: lm.loglikelihood(requests), repeat)
    found = [one.nats for answer in answers for one in answer]
    wanted = [nats for nats, _ in expected]
    same = all(best(found[at : at + 4]) == best(wanted[at : at + 4]) for at in range(0, len(flat), 4))
    pairs = [pair(lm.tokenizer, *args) for args in flat]
    return row(work, theirs, ours, batch, same, found, wanted, tree.fewest(pairs) / computed(lm, pairs))


def rolling_row(texts: Sequence[str], peer: HFLM, lm: TorchLM, repeat: int) -> Row:
    asked = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]

    def call(part: list[Instance]) -> Any:
        return peer.loglikelihood_rolling(part, disable_tqdm=True)

    peer.batch_size_per_gpu = batch = best_batch(peer, asked[:4], call)
    theirs, ours, wanted, answers = alternating(lambda: call(asked), lambda: lm.rolling(texts), repeat)
    pairs = [window for text in texts for window in windows(whole_text(lm.tokenizer, text)[1], 0, lm.context)]
    found = [one.nats for one in answers]
    return row("rolling", theirs, ours, batch, True, found, wanted, tree.fewest(pairs) / computed(lm, pairs))


def row(
    work: str, theirs: float, ours: float, batch: int, same: bool, found: list[float], wanted: list[float], bound: float
) -> Row:
    difference = max(abs(a - b) for a, b in zip(found, wanted, strict=True))
    return Row(work, theirs / ours, theirs, ours, batch, same, difference, bound)


def computed(lm: TorchLM, pairs: Any) -> int:
    return tree.positions(tree.plan(pairs, LIMITS[lm.sharing]))


def best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument(
        "--work", nargs="+", default=["shots fixed", "shots per item", "no shots", "letters", "rolling"]
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    text = library_text()
    words = text.split()
    print("| model | work | lm-eval s | ours s | ratio | lm-eval batch | same choices | max Δ nats | of the bound |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_model(folder, size, text)
            peer = HFLM(pretrained=str(folder), device="cpu", dtype=options.precision, batch_size=1)
            lm = open_lm(folder, size, options.precision)
            proof, sharing = timed(partial(getattr, lm, "sharing"))
            print(f"| {size} | what it shares: {sharing}, tried once a process | | {proof:.2f} | | | | | |", flush=True)
            draw = random.Random(0)
            texts = [" ".join(words[at : at + draw.randrange(270, 760)]) for at in range(0, 20_000, 1000)]
            for work in options.work:
                if work == "rolling":
                    done = rolling_row(texts[: max(4, SIZES[size][4] // 5)], peer, lm, options.repeat)
                else:
                    done = choices_row(work, questions(work, SIZES[size][4], words), peer, lm, options.repeat)
                print(
                    f"| {size} | {done.work} | {done.theirs:.2f} | {done.ours:.2f} | {done.ratio:.1f} | {done.batch} |"
                    f" {'yes' if done.same else 'NO'} | {done.difference:.1e} | {done.bound:.0%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
