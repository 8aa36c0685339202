"""Embeddings of tokens that were never trained: their start, and what they learn, everywhere the same."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn import functional

from basewright.catalog import cards
from basewright.convert.merge import merge
from basewright.data.pack import IGNORE
from basewright.engine.torch_lm import load_model, open_tuned
from basewright.errors import ModelFileError, Refused
from basewright.hub import airlock, pull
from basewright.records import (
    Adapter,
    Certificate,
    Check,
    Checkpoint,
    Layout,
    LoraSettings,
    Made,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text.encode import Encoded
from basewright.train import adapters, embeddings, losses, quick, tune
from basewright.train.objectives import NextToken
from basewright.train.opened import open_model
from tests.models import tiny_llama

TOKENS = (1, 300)
"""The first is what pads, to which torch gives no gradient unless it is told to."""
LAYOUT = Layout(prompt="{text}", separator="\n\n")
ROWS = NextToken([Encoded((0, 70 + i, 1, 71, 300, 72 + i, 300), (*[False] * 3, *[True] * 4)) for i in range(8)])
LORA = LoraSettings(rank=2, alpha=4.0, targets=("q_proj", "v_proj"), tokens=TOKENS)
SETTINGS = TrainSettings(
    steps=4, batch_tokens=24, micro_tokens=24, learning_rate=0.01, warmup=1, weight_decay=0.0, clip=1.0, seed=0
)
TABLES = ("model.embed_tokens.weight", "lm_head.weight")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Made[Weights]:
    tmp = tmp_path_factory.mktemp("base")
    folder = tiny_llama(tmp / "one", layers=1, width=32, tied=request.param)
    weights = load_file(folder / "model.safetensors")
    for name in TABLES[: 2 - request.param]:
        weights[name][list(TOKENS)] = 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    made, _ = Store(tmp / "runs").make("weights", {}, Weights, lambda work: pull.pull(cards.get(str(folder)), work))
    return made


def paper(base: Made[Weights]) -> Certificate:
    return Certificate(
        base=base.record.card.id, data_hash=ROWS.identity, rows=8, tokens=1, supervised_tokens=1, longest=7, labels={},
        bos_id=0, eos_id=300, pad_id=2, overlays=(), checks=(Check(name="c", value=0, limit=0, passed=True, how="h"),),
    )  # fmt: skip


def adapt(base: Made[Weights], tmp: Path, continued: Path | None = None, lora: LoraSettings = LORA) -> Made[Adapter]:
    made, _ = Store(tmp / "runs").make(
        "adapter",
        {"from": str(continued)},
        Adapter,
        lambda work: tune.adapt(base, paper(base), ROWS, LAYOUT, lora, SETTINGS, work, silent, continued),
    )
    return made


@pytest.fixture(scope="module")
def adapter(base: Made[Weights], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapt(base, tmp_path_factory.mktemp("adapter")).folder / "adapter"


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([[0, 70, 1, 71, 300, 72]])).logits
    return found


def plain_peft(base: Made[Weights], adapter: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return PeftModel.from_pretrained(load_model(base.folder / "model"), adapter)


def test_rows_begin_at_the_mean_and_apart() -> None:
    table = torch.randn(500, 16, generator=torch.Generator().manual_seed(1)) + 3
    table[[1, 300]] = 1e6  # counts for nothing
    found = embeddings.fresh(table, TOKENS, 0)
    assert torch.equal(found, embeddings.fresh(table, TOKENS, 0))
    assert not torch.equal(found, embeddings.fresh(table, TOKENS, 1))
    assert ((found - 3).abs() < 0.6).all()
    assert (found[0] - found[1]).norm() > 0.1


def test_h047_what_is_learned_is_the_same_in_peft_in_the_engine_and_merged(
    base: Made[Weights], adapter: Path, tmp_path: Path
) -> None:
    airlock.inspect_adapter(adapter)
    peft = plain_peft(base, adapter)
    expected = logits(peft)
    assert not torch.allclose(expected, logits(load_model(base.folder / "model")), atol=1e-2)
    tuned = open_tuned(base.folder / "model", adapter, "tuned")
    torch.testing.assert_close(logits(tuned.model), expected, rtol=1e-5, atol=1e-5)
    assert tuned.tokenizer.stops == (300,)
    merge(base.folder / "model", adapter, tmp_path / "out")
    airlock.inspect(tmp_path / "out")
    torch.testing.assert_close(logits(load_model(tmp_path / "out")), expected, rtol=1e-5, atol=1e-5)
    before, after = (load_file(one / "model.safetensors") for one in (base.folder / "model", tmp_path / "out"))
    for name in TABLES:
        if name in before:
            moved = (before[name] != after[name]).any(1).nonzero()[:, 0].tolist()
            assert moved == list(TOKENS)


def test_rows_are_learned_and_counted(base: Made[Weights], adapter: Path) -> None:
    tensors = load_file(adapter / adapters.WEIGHTS)
    tables = [name for name in tensors if "token_adapter" in name]
    assert len(tables) == (1 if "lm_head.weight" not in load_file(base.folder / "model" / "model.safetensors") else 2)
    table = load_file(base.folder / "model" / "model.safetensors")[TABLES[0]]
    start = embeddings.fresh(table, TOKENS, 0)
    learned = next(tensors[name] for name in tables if "embed_tokens" in name)
    assert learned.dtype == torch.float32
    assert (learned - start).abs().amax(1).min() > 1e-3


def test_loss_and_gradient_are_those_of_all_logits(base: Made[Weights]) -> None:
    """The kernel reads the table with its trained rows, and gives each row its gradient."""
    model = adapters.put_on(open_model(base.folder / "model"), LORA, 0)
    quick.quicken(model)
    packed = ROWS.pack([0])
    loss = losses.next_token(model, packed)
    trained = [p for name, p in model.named_parameters() if p.requires_grad and "lora_A" not in name]
    ours = torch.autograd.grad(loss, trained)
    ids, labels = torch.from_numpy(packed.ids), torch.from_numpy(packed.labels)
    plain = adapters.put_on(load_model(base.folder / "model"), LORA, 0)
    out = plain(input_ids=ids[None], use_cache=False).logits[0]
    expected = functional.cross_entropy(out, labels, reduction="sum", ignore_index=IGNORE)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    theirs = [p for name, p in plain.named_parameters() if p.requires_grad and "lora_A" not in name]
    for one, other in zip(ours, torch.autograd.grad(expected, theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert sum(grad.shape[0] == len(TOKENS) for grad in ours) >= 1


def test_an_adapter_with_rows_is_continued(base: Made[Weights], adapter: Path, tmp_path: Path) -> None:
    made = adapt(base, tmp_path, adapter)
    again = load_file(made.folder / "adapter" / adapters.WEIGHTS)
    assert again.keys() == load_file(adapter / adapters.WEIGHTS).keys()
    with pytest.raises(Refused, match="does not fit"):
        adapt(base, tmp_path / "other", adapter, replace(LORA, tokens=()))


def test_all_weights_begin_with_the_rows_too(base: Made[Weights], tmp_path: Path) -> None:
    made, _ = Store(tmp_path / "runs").make(
        "checkpoint",
        {},
        Checkpoint,
        lambda work: tune.full(base, paper(base), ROWS, LAYOUT, SETTINGS, work, silent, tokens=TOKENS),
    )
    before, after = (load_file(one / "model.safetensors") for one in (base.folder / "model", made.folder))
    start = embeddings.fresh(before[TABLES[0]], TOKENS, 0)
    assert (
        after[TABLES[0]][list(TOKENS)] - start
    ).abs().max() < 4 * 0.01 + 1e-4  # AdamW moves at most by its rate a step
    assert json.loads((made.folder / "generation_config.json").read_text())["eos_token_id"] == [0, 300]


def one_row_less(folder: Path) -> None:
    tensors = load_file(folder / adapters.WEIGHTS)
    name = next(name for name in tensors if "token_adapter" in name)
    save_file(tensors | {name: tensors[name][:1].clone()}, folder / adapters.WEIGHTS)


def says(**change: Any) -> Callable[[Path], None]:
    def fault(folder: Path) -> None:
        config = json.loads((folder / adapters.CONFIG).read_text())
        (folder / adapters.CONFIG).write_text(json.dumps(config | change))

    return fault


@pytest.mark.parametrize(
    "fault",
    [
        one_row_less,
        says(trainable_token_indices=None),
        says(trainable_token_indices={"model.layers": [1, 300]}),
        says(trainable_token_indices={"model.embed_tokens": [-1, 300], "lm_head": [-1, 300]}),
        says(trainable_token_indices="embed_tokens"),
    ],
    ids=["one row less", "not said", "of another table", "an id below 0", "no table"],
)
def test_rows_that_are_not_as_said_do_not_pass_the_airlock(
    adapter: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "changed"))
    fault(folder)
    with pytest.raises(ModelFileError):
        airlock.inspect_adapter(folder)
