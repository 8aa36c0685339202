"""An adapter with its head merges into a folder that says the same, for every family that has a head of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from basewright.catalog import architectures
from basewright.convert import headed
from basewright.engine import classifier
from basewright.hub import airlock
from basewright.records import LoraSettings
from basewright.train import adapters
from tests.catalog import tiny
from tests.hub.test_families import ENCODERS
from tests.train.test_head_families import head, model_of

torch.set_num_threads(1)
TEXTS = ("one clock", "two ropes hold", "a")


@pytest.mark.parametrize("name", [*ENCODERS, "llama", "gpt2"])
def test_h020_merged_it_says_what_adapter_and_head_say_on_the_base(name: str, tmp_path: Path) -> None:
    base, adapter, out = (tmp_path / which for which in ("base", "adapter", "out"))
    loaded = classifier.load(model_of(base, name), head(name))
    lora = LoraSettings(rank=2, alpha=4.0, targets=architectures.targets(tiny.CONFIGS[name]))
    model = adapters.put_on(loaded.model, lora, 0, loaded.fresh)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.2)
    model.save_pretrained(adapter)
    headed.merge(base, adapter, head(name), "float32", out)
    assert airlock.inspect_classifier(out)[1] == head(name)
    checks = headed.proof(base, adapter, head(name), out, TEXTS)
    assert all(check.passed for check in checks)
    assert checks[0].value < 1e-9
