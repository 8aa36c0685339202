from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from basewright.catalog.cards import card_from_folder

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


def with_config(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_a_config_leaves_out_has_the_defaults_of_transformers(tmp_path: Path) -> None:
    card = card_from_folder(with_config(tmp_path, CONFIG))
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
    assert card_from_folder(tmp_path).licence == licence


def test_nature_is_not_read_from_the_name(tmp_path: Path) -> None:
    folder = with_config(tmp_path / "llama-3-instruct", CONFIG)
    assert card_from_folder(folder).nature == "base"
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert card_from_folder(folder).nature == "instruct"
