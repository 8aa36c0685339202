"""Every family against transformers: the tensors of a saved model, its linear maps, its shape."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from basewright.catalog import architectures
from tests.catalog import tiny

LINEAR = ("Linear", "Conv1D", "FalconLinear")


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_tensors_and_maps_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    family = architectures.FAMILIES[tiny.CONFIGS[name]["model_type"]]
    model = tiny.build(tiny.CONFIGS[name], family.cls)
    config, stored = tiny.saved(model, tmp_path)
    for given in (tiny.CONFIGS[name], config):
        assert dict(architectures.tensors(given)) == stored
        assert architectures.parameters(given) == sum(p.numel() for p in model.parameters())
        assert Counter(_flat(architectures.linears(given))) == Counter(_maps(model))
    assert architectures.shape_of(tiny.CONFIGS[name]) == architectures.shape_of(config)


def _flat(maps: dict[str, list[tuple[int, int]]]) -> list[tuple[str, int, int]]:
    return [(name, *sizes) for name, several in maps.items() for sizes in several]


def _maps(model: torch.nn.Module) -> list[tuple[str, int, int]]:
    """The modules in layers that peft takes for linear maps: (short name, outputs, inputs)."""
    found = []
    for name, module in model.named_modules():
        if type(module).__name__ in LINEAR and any(part.isdigit() for part in name.split(".")):
            weight: Any = module.weight
            outputs, inputs = weight.shape if type(module).__name__ != "Conv1D" else weight.shape[::-1]
            found.append((name.rpartition(".")[2], outputs, inputs))
    return found
