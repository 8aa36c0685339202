"""Real config.json files: the count is that of transformers on the meta device, and of the makers where they say it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from basewright.catalog import architectures, cards
from basewright.catalog import config as configs
from basewright.catalog.allowed import SUPPORTED
from basewright.errors import ModelFileError
from tests.catalog import tiny
from tests.conftest import SHARED

REAL = SHARED / "configs" / "hf_configs"
PUBLISHED = {
    "meta-llama--Meta-Llama-3.1-8B": 8_030_261_248,
    "meta-llama--Meta-Llama-3.1-70B": 70_553_706_496,
    "meta-llama--Meta-Llama-3.1-405B": 405_853_388_800,
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_70b": 68_976_648_192,
    "tinyllama_1b_chat_v1.0": 1_100_048_384,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "smollm_135m": 134_515_008,
    "smollm_360m": 361_821_120,
    "smollm_1_7b": 1_711_376_384,
}
SLOW = 60e9
"""Parameters from which a model has so many modules that even without memory it takes seconds to build."""


@cache
def real() -> dict[str, dict[str, Any]]:
    """Every config of a known family, by name."""
    if not REAL.is_dir():
        return {}
    found = {path.stem: json.loads(path.read_text()) for path in sorted(REAL.glob("*--*.json"))}
    presets = json.loads((REAL / "mlc_llm_presets.json").read_text())
    for name, config in presets.items():
        found[name] = {key: value for key, value in config.items() if key not in ADDED}
    found["gpt_j"].pop("rope_scaling")  # likewise
    return {name: config for name, config in found.items() if config["model_type"] in architectures.FAMILIES}


ADDED = ("context_window_size", "prefill_chunk_size", "sliding_window_size", "attention_sink_size")
"""What mlc-llm added to its copies."""
IGNORED = ("quantization_config", "auto_map")
"""What decides no tensor, and would make transformers warn or look for other libraries."""
ASK_FOR_CODE = ("phi-3_5", "phi-4", "gemma2_27b")
"""With auto_map, or a kind of attention set in the file."""
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs shared/data/configs/hf_configs")


def marked() -> list[Any]:
    return [
        pytest.param(name, marks=pytest.mark.slow if architectures.parameters(config) > SLOW else ())
        for name, config in real().items()
    ]


@needs_real
@pytest.mark.parametrize("name", marked())
def test_the_count_is_that_of_transformers(name: str) -> None:
    config = {key: value for key, value in real()[name].items() if key not in IGNORED}
    family = architectures.family_of(config)
    model = tiny.build(config, family.cls, "meta")
    assert architectures.parameters(config) == sum(p.numel() for p in model.parameters())


@needs_real
@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_real_llamas_have_their_published_size(name: str, parameters: int) -> None:
    assert architectures.parameters(configs.check(real()[name])) == parameters


@needs_real
@pytest.mark.parametrize("name", [name for name, config in real().items() if config["model_type"] in SUPPORTED])
def test_a_real_config_of_a_family_that_can_be_run_passes(name: str) -> None:
    config = real()[name]
    if name in ASK_FOR_CODE:
        with pytest.raises(ModelFileError, match="code"):
            configs.check(config)
    elif config["architectures"] == ["BertModel"]:  # for embeddings: what it was pretrained with, its head, is gone
        with pytest.raises(ModelFileError, match="BertForMaskedLM"):
            configs.check(config)
    else:
        configs.check(config)


@needs_real
@pytest.mark.parametrize("path", sorted(REAL.glob("*--*.json")), ids=lambda path: path.stem)
def test_h005_code_is_told_from_dimensions_in_real_configs(path: Path) -> None:
    config = json.loads(path.read_text())
    if "auto_map" in config:
        with pytest.raises(ModelFileError, match="auto_map"):
            configs.refuse_code(config, "config.json")
    else:
        configs.refuse_code(config, "config.json")


@needs_real
@pytest.mark.parametrize("path", sorted(REAL.glob("*--*.json")), ids=lambda path: path.stem)
def test_real_families_that_are_not_known_are_refused_by_name(path: Path) -> None:
    config = json.loads(path.read_text())
    if config["model_type"] not in architectures.FAMILIES:
        with pytest.raises(ModelFileError) as caught:
            cards.facts_from_config(config, path.stem)
        assert config["model_type"] in caught.value.message
        assert "llama" in caught.value.fix
