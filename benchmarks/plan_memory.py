"""Predicted against measured: the peak memory of training and evaluation, each run in a process of its own.

    python benchmarks/plan_memory.py            every point, with the memory given back as the command line does
    python benchmarks/plan_memory.py keep       the same with glibc's own habit of keeping freed blocks
    python benchmarks/plan_memory.py runtime    what the libraries alone take

Models are random Llamas; training goes through `train.loop.run`, evaluation through `engine.torch_lm`. The parent
imports no heavy library: on Linux the peak of a child begins with that of its parent.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from basewright import machine
from basewright.catalog.shape import parameters_from_shape
from basewright.plan import memory
from basewright.records import LoraSettings, Shape, TrainSettings, silent

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SMALL = Shape(layers=6, width=192, heads=6, kv_heads=3, head_dim=32, feed_forward=512, vocabulary=4096, tied=True)
WIDE = Shape(layers=8, width=512, heads=8, kv_heads=4, head_dim=64, feed_forward=1408, vocabulary=16384, tied=True)
DEEP = Shape(layers=16, width=384, heads=6, kv_heads=6, head_dim=64, feed_forward=1024, vocabulary=8192, tied=False)
TINY = Shape(layers=1, width=64, heads=2, kv_heads=1, head_dim=32, feed_forward=128, vocabulary=512, tied=True)
POINTS: dict[str, tuple[Shape, memory.Job, int, int, LoraSettings]] = {
    "train small": (SMALL, "lora", 256, 4096, LoraSettings(rank=8, alpha=16, targets=ALL)),
    "train wide": (WIDE, "lora", 256, 2048, LoraSettings(rank=16, alpha=32, targets=ALL)),
    "train deep": (DEEP, "lora", 128, 1024, LoraSettings(rank=8, alpha=16, targets=("q_proj", "v_proj"))),
    "train chunks": (WIDE, "lora", 512, 4096, LoraSettings(rank=16, alpha=32, targets=("q_proj", "v_proj"))),
    "evaluate small": (SMALL, "evaluate", 512, 512, LoraSettings(rank=0, alpha=0, targets=())),
    "evaluate wide": (WIDE, "evaluate", 512, 512, LoraSettings(rank=0, alpha=0, targets=())),
}
STEPS = 3


def main(mode: str) -> None:
    print(f"{'':16}{'parameters':>12}{'predicted':>11}{'measured':>10}  {'ratio':>5}  seconds")
    names = ["runtime"] if mode == "runtime" else list(POINTS)
    for name in names:
        done = subprocess.run(
            [sys.executable, __file__, "child", name, mode], capture_output=True, text=True, check=True
        )
        seen = json.loads(done.stdout.splitlines()[-1])
        shape, job, context, tokens, lora = _point(name)
        need = memory.memory(shape, job, context, tokens, rank=lora.rank, targets=lora.targets).total
        sizes = f"{parameters_from_shape(shape) / 1e6:>10.1f} M{need / 2**20:>7.0f} MiB{seen['peak'] / 2**20:>6.0f} MiB"
        print(f"{name:16}{sizes}  {need / seen['peak']:>5.2f}  {seen['seconds']:.1f}", flush=True)


def child(name: str, mode: str) -> None:
    """One point, measured: prints the peak in bytes and the seconds of the work after the model was built."""
    if mode != "keep":
        machine.return_freed_memory()
    import pydantic  # noqa: F401 - loaded in every walk
    import rich.console  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)
    shape, job, context, tokens, lora = _point(name)
    model = _model(shape, max(context, 64))
    started = time.monotonic()
    if job == "lora":
        _train(model, shape, context, tokens, lora)
    else:
        _evaluate(model, shape, context)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"peak": peak, "seconds": time.monotonic() - started}))


def _point(name: str) -> tuple[Shape, memory.Job, int, int, LoraSettings]:
    return POINTS.get(name, (TINY, "lora", 32, 32, LoraSettings(rank=8, alpha=16, targets=ALL)))


def _model(shape: Shape, context: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            max_position_embeddings=context,
            tie_word_embeddings=shape.tied,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).float()


def _train(model: Any, shape: Shape, context: int, tokens: int, lora: LoraSettings) -> None:
    import numpy as np
    from peft import LoraConfig, get_peft_model

    from basewright.data.pack import Packed, pack
    from basewright.text.encode import Encoded
    from basewright.train import attention, loop, losses

    attention.install()
    model.set_attn_implementation(attention.NAME)
    tuned = get_peft_model(
        model, LoraConfig(r=lora.rank, lora_alpha=int(lora.alpha), target_modules=list(lora.targets))
    )

    def rows(step: int) -> list[Packed]:
        ids = np.random.default_rng(step).integers(0, shape.vocabulary, (tokens // context, context)).tolist()
        return [pack([Encoded(tuple(row), (True,) * context) for row in ids])]

    settings = TrainSettings(
        steps=STEPS,
        batch_tokens=tokens,
        micro_tokens=tokens,
        learning_rate=1e-3,
        warmup=1,
        weight_decay=0.0,
        clip=1.0,
        seed=0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        loop.run(tuned, rows, losses.next_token, settings, Path(scratch), silent, identity="benchmark")


def _evaluate(model: Any, shape: Shape, context: int) -> None:
    """Rows with a prefix in common and `OWN_TOKENS` of their own, as few-shot prompts have them; one long text."""
    import random

    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    from basewright.engine.lm import Request
    from basewright.engine.torch_lm import TorchLM
    from basewright.text.tokenizer import Tokenizer

    backend = Backend(models.WordLevel({f"w{i}": i for i in range(shape.vocabulary)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = Tokenizer(backend=backend, bos=False, bos_id=None, eos_id=0, pad_id=1, size=shape.vocabulary)
    lm = TorchLM(name="random", model=model.eval(), tokenizer=tokenizer)
    draw = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(2, shape.vocabulary)}" for _ in range(count))

    shared = words(context - memory.OWN_TOKENS)
    choices = tuple(" " + words(3) for _ in range(4))
    own = memory.OWN_TOKENS - sum(2 for _ in choices)
    lm.loglikelihood([Request(f"{shared} {words(own)}", choices) for _ in range(100)])
    lm.rolling([words(context * 2)])


if __name__ == "__main__":
    arguments = [*sys.argv[1:], ""]
    if arguments[0] == "child":
        child(arguments[1], arguments[2])
    else:
        main(arguments[0])
