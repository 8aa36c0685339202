"""The merged model of every family that can be tuned answers as its base with the adapter on it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from basewright.catalog import architectures
from basewright.convert.merge import merge
from basewright.engine.torch_lm import load_model
from basewright.hub import airlock
from basewright.records import LoraSettings, LoraVariant
from basewright.train import adapters
from tests.catalog import tiny
from tests.hub.test_families import made
from tests.train.test_families import TUNED

torch.set_num_threads(1)
IDS = torch.tensor([[5, 9, 30, 41, 7, 12, 80, 3]])


@pytest.mark.parametrize(
    ("name", "variant"), [*((name, "lora") for name in TUNED), ("gpt2", "dora"), ("gpt2", "rslora")]
)
def test_h020_merged_is_what_was_tuned(name: str, variant: LoraVariant, tmp_path: Path) -> None:
    base = made(tmp_path / "base", name)
    lora = LoraSettings(rank=2, alpha=4.0, targets=architectures.targets(tiny.CONFIGS[name]), variant=variant)
    tuned = adapters.put_on(load_model(base), lora, seed=0)
    with torch.no_grad():
        for key, value in tuned.named_parameters():
            if "lora_B" in key:
                value.normal_(0.0, 0.2)
            if "magnitude" in key:
                value *= torch.empty_like(value).uniform_(0.5, 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned.save_pretrained(tmp_path / "adapter")
        told = PeftModel.from_pretrained(load_model(base), tmp_path / "adapter").eval()
    merge(base, tmp_path / "adapter", tmp_path / "merged")
    airlock.inspect(tmp_path / "merged")
    with torch.inference_mode():
        plain, with_adapter, merged = (
            model(input_ids=IDS, use_cache=False).logits
            for model in (load_model(base), told, load_model(tmp_path / "merged"))
        )
    assert (with_adapter - plain).abs().max() > 0.1
    assert (merged - with_adapter).abs().max() < 1e-3
