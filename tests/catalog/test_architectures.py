"""Every family against transformers: the tensors of a saved model, its linear maps, its shape."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given
from hypothesis import strategies as st

from basewright.catalog import architectures
from basewright.errors import ModelFileError, UsageError
from tests.catalog import tiny

LINEAR = ("Linear", "Conv1D", "FalconLinear")


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_tensors_and_maps_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    family = architectures.FAMILIES[tiny.CONFIGS[name]["model_type"]]
    model = tiny.build(tiny.CONFIGS[name], family.cls)
    config, stored = tiny.saved(model, tmp_path)
    for read in (tiny.CONFIGS[name], config):
        assert dict(architectures.tensors(read)) == stored
        assert architectures.parameters(read) == sum(p.numel() for p in model.parameters())
        assert Counter(_flat(architectures.linears(read))) == Counter(_maps(model))
    assert architectures.shape_of(tiny.CONFIGS[name]) == architectures.shape_of(config)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_what_a_config_leaves_out_is_what_transformers_takes(name: str) -> None:
    """Each key that decides anything, left out in turn: it is asked for, or its default is that of transformers."""
    whole = tiny.CONFIGS[name]
    for key in set(architectures.decisive(whole)) - {"model_type"}:
        config = {k: v for k, v in whole.items() if k != key}
        try:
            architectures.shape_of(config)
            counted = architectures.parameters(config)
        except ModelFileError as error:
            asked = error.message
        else:
            asked = ""
        if asked:
            assert key in asked
            continue
        try:
            model = tiny.build(config, tiny.class_of(name), "meta")
        except (ValueError, StrictDataclassError):  # its own sizes do not go with the others here
            continue
        assert counted == sum(p.numel() for p in model.parameters()), key


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_all_experts_active_is_all_parameters(name: str) -> None:
    config = dict(tiny.CONFIGS[name])
    assert architectures.active_parameters(config) <= architectures.parameters(config)
    everyone = {"num_experts_per_tok": 4096} if "num_experts_per_tok" in config else {}
    assert architectures.active_parameters({**config, **everyone}) == architectures.parameters(config)


def test_adapters_sit_on_all_maps_unless_some_are_named() -> None:
    llama, gpt2, mixed = (tiny.CONFIGS[name] for name in ("llama", "gpt2", "qwen3_moe, some layers dense"))
    assert architectures.targets(llama) == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert architectures.targets(gpt2) == ("c_attn", "c_proj", "c_fc")
    assert architectures.targets(gpt2, ["c_attn"]) == ("c_attn",)
    assert architectures.targets(mixed) == ("q_proj", "k_proj", "v_proj", "o_proj")  # experts have the other names too
    with pytest.raises(UsageError, match="did you mean 'c_proj'") as caught:
        architectures.targets(gpt2, ["o_proj"])
    assert "c_attn, c_proj, c_fc" in caught.value.fix


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.integers(0, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_h011_any_config_is_counted_or_the_one_error(data: st.DataObject) -> None:
    whole = tiny.CONFIGS[data.draw(st.sampled_from(sorted(tiny.CONFIGS)))]
    keys = st.sampled_from(
        sorted({*architectures.decisive(whole), "layer_types", "attention_types", "mlp_only_layers"})
    )
    config = {**whole, **data.draw(st.dictionaries(keys, odd, max_size=4)), "model_type": whole["model_type"]}
    for asked in (
        architectures.count,
        architectures.linears,
        architectures.tensor_count,
        architectures.decisive,
        architectures.embedding,
        architectures.targets,
        lambda one: next(iter(architectures.tensors(one)), None),
    ):
        with contextlib.suppress(ModelFileError):
            asked(config)


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
