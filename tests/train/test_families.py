"""Every family that can be run is tuned rightly, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from basewright.catalog import architectures
from basewright.data.pack import pack
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.records import LoraSettings
from basewright.text.encode import Encoded
from basewright.train import adapters, losses
from basewright.train.opened import open_model
from tests.catalog import tiny
from tests.hub.test_families import DECODERS, ENCODERS, made

torch.set_num_threads(1)
REFUSED = {"falcon", "stablelm", "bloom"}
"""Families with an attention of their own, or that hand nothing on to it."""
ROWS = [
    Encoded(tuple(range(5, 5 + length)), (False, False, *([True] * (length - 2)))) for length in (9, 9, 4, 17, 30, 3)
]
WINDOWS = ("mistral", "mixtral", "gemma2", "gemma3_text", "phi3", "starcoder2")
TUNED = [name for name in DECODERS if tiny.CONFIGS[name]["model_type"] not in REFUSED]


def windowed(folder: Path, name: str) -> Path:
    """Rows are longer than the window, and Gemma 2's bounds are near enough to be felt."""
    changes: dict[str, Any] = {"sliding_window": 8} if name in WINDOWS else {}
    if name == "gemma2":
        changes |= {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
    return made(folder, name, **changes)


def plain_loss(model: Any, row: Encoded) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, :-1].float()
    labels = torch.tensor([i if m else -100 for i, m in zip(row.ids[1:], row.mask[1:], strict=True)])
    return functional.cross_entropy(logits, labels, reduction="sum")


@pytest.mark.parametrize("name", TUNED)
def test_h070_packed_rows_give_the_loss_and_gradient_of_the_plain_model(name: str, tmp_path: Path) -> None:
    folder = windowed(tmp_path / "model", name)
    packed, plain = open_model(folder), load_model(folder)
    together, apart = losses.next_token(packed, pack(ROWS)), sum(plain_loss(plain, row) for row in ROWS)
    assert isinstance(apart, torch.Tensor)
    assert together.item() == pytest.approx(apart.item(), rel=1e-5)
    together.backward()
    apart.backward()
    ours, theirs = (
        torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]) for model in (packed, plain)
    )
    assert (ours - theirs).norm() / theirs.norm() < 1e-4


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in TUNED])
def test_a_family_whose_attention_takes_no_packed_rows_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be tuned here"):
        open_model(made(tmp_path / "model", name))


@pytest.mark.parametrize("name", TUNED + ENCODERS)
def test_adapters_sit_on_the_maps_that_the_catalog_names(name: str, tmp_path: Path) -> None:
    config = tiny.CONFIGS[name]
    maps, targets = architectures.linears(config), architectures.targets(config)
    model = adapters.put_on(
        open_model(made(tmp_path / "model", name)),
        LoraSettings(rank=2, alpha=4.0, targets=targets),
        seed=0,
    )
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == sum(2 * (outputs + inputs) for name in targets for outputs, inputs in maps[name])
