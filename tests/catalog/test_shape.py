from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from basewright.catalog import config as configs
from basewright.catalog import shape as shapes
from basewright.errors import ModelFileError
from basewright.records import Shape

REAL = Path(__file__).parents[2] / "../shared/data/configs/hf_configs"
PRESETS = REAL / "mlc_llm_presets.json"
PUBLISHED = {
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
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs shared/data/configs/hf_configs")


def with_config(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@needs_real
@pytest.mark.parametrize(
    ("name", "parameters"), [("8B", 8_030_261_248), ("70B", 70_553_706_496), ("405B", 405_853_388_800)]
)
def test_real_llamas_have_their_published_size(tmp_path: Path, name: str, parameters: int) -> None:
    config = json.loads((REAL / f"meta-llama--Meta-Llama-3.1-{name}.json").read_text())
    card = shapes.card_from_folder(with_config(tmp_path / name, config))
    assert card.parameters == parameters
    assert card.id == name
    assert (card.family, card.precision, card.context) == ("llama", "bfloat16", 131072)
    assert card.shape.kv_heads == 8
    assert not card.curated


@needs_real
@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_other_real_llamas_have_their_published_size(name: str, parameters: int) -> None:
    config = json.loads(PRESETS.read_text())[name]
    for key in ("context_window_size", "prefill_chunk_size"):  # which mlc-llm added
        config.pop(key, None)
    assert shapes.parameters_from_shape(shapes.shape_of(configs.check(config))) == parameters


@needs_real
@pytest.mark.parametrize("path", sorted(REAL.glob("*--*.json")), ids=lambda path: path.stem)
def test_other_real_families_are_refused_by_name(tmp_path: Path, path: Path) -> None:
    config = json.loads(path.read_text())
    if config["model_type"] == "llama":
        return
    with pytest.raises(ModelFileError) as caught:
        shapes.card_from_folder(with_config(tmp_path, config))
    assert config["model_type"] in caught.value.message
    assert "llama" in caught.value.fix


@needs_real
@pytest.mark.parametrize("path", sorted(REAL.glob("*--*.json")), ids=lambda path: path.stem)
def test_h005_code_is_told_from_dimensions_in_real_configs(path: Path) -> None:
    config = json.loads(path.read_text())
    if "auto_map" in config:
        with pytest.raises(ModelFileError, match="auto_map"):
            configs.refuse_code(config, "config.json")
    else:
        configs.refuse_code(config, "config.json")


@pytest.mark.parametrize(
    "shape",
    [
        Shape(layers=1, width=8, heads=2, kv_heads=1, head_dim=4, feed_forward=6, vocabulary=5, tied=True),
        Shape(layers=3, width=12, heads=3, kv_heads=3, head_dim=8, feed_forward=20, vocabulary=7, tied=False),
    ],
)
def test_tensors_are_those_of_transformers(shape: Shape) -> None:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    real = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if shape.tied:
        del real["lm_head.weight"]
    assert dict(shapes.tensors(shape)) == real
    assert shapes.parameters_from_shape(shape) == sum(p.numel() for p in model.parameters())
    assert shapes.shape_of(json.loads(config.to_json_string())) == shape


# --- what a folder says about itself --------------------------------------------------------------

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 10,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
}


def test_what_a_config_leaves_out_has_the_defaults_of_transformers(tmp_path: Path) -> None:
    card = shapes.card_from_folder(with_config(tmp_path, CONFIG))
    assert card.shape.kv_heads == 2
    assert card.shape.head_dim == 4
    assert not card.shape.tied
    assert card.precision == "float32"


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# A model", "apache-2.0"),
        ("---\ntags:\n- llama\nlicense:  'mit' \nlanguage: en\n---\n", "mit"),
        ("---\r\nlicense: cc0-1.0\r\n---\r\n", "cc0-1.0"),
        ("# A model\nlicense: mit\n", "unknown"),
        ("---\nlanguage: en\n---\nlicense: mit\n", "unknown"),
        ("---\nlicense:\n- mit\n---\n", "unknown"),
        ("---\nlicense_name: llama3\n---\n", "unknown"),
    ],
)
def test_the_licence_is_the_front_matters(tmp_path: Path, readme: str, licence: str) -> None:
    with_config(tmp_path, CONFIG)
    (tmp_path / "README.md").write_bytes(readme.encode())
    assert shapes.card_from_folder(tmp_path).licence == licence


def test_nature_is_not_read_from_the_name(tmp_path: Path) -> None:
    folder = with_config(tmp_path / "llama-3-instruct", CONFIG)
    assert shapes.card_from_folder(folder).nature == "base"
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert shapes.card_from_folder(folder).nature == "instruct"
