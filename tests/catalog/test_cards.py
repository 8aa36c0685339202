from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from basewright.catalog import cards
from basewright.errors import ModelFileError, UsageError
from basewright.plain import from_plain, to_plain
from basewright.records import ModelCard, ModelFacts

ROW = re.compile(r"^\| (\S.*?) \| \**(\d\.\d{4})\** \|$", re.MULTILINE)
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


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


PACKAGED = {
    "foundling-prose": 3_221_952,
    "foundling-code": 3_221_952,
    "foundling-mixture": 5_999_872,
    "foundling-encoder": 2_303_872,
}
"""Parameters of the models in the package."""


@pytest.mark.parametrize(
    "card", [card for card in cards.find() if card.location.startswith("package:")], ids=lambda card: card.id
)
def test_a_curated_card_agrees_with_itself(card: ModelCard) -> None:
    assert card.parameters == card.active_parameters == PACKAGED[card.id]
    assert card.curated
    assert card.sources
    assert all(date.fromisoformat(source.read_on) for source in card.sources)
    assert card.licence != "unknown"
    assert card.context > 0
    assert from_plain(ModelCard, json.loads(json.dumps(to_plain(card)))) == card
    assert cards.get(card.id) == card


def test_the_catalog_is_in_order_and_names_each_model_once() -> None:
    names = [card.id for card in cards.find()]
    assert names == sorted(set(names))
    assert {"foundling-prose", "foundling-code"} <= set(names)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'foundling-prose'"):
        cards.get("foundling-pros")


def test_a_path_that_is_not_there_is_refused_as_a_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        cards.get("models/nowhere", folder=tmp_path)


def test_a_folder_is_named_from_where_the_recipe_lies_or_absolutely(tmp_path: Path) -> None:
    there = folder(tmp_path / "models" / "mine")
    relative = cards.get("models/mine", folder=tmp_path)
    assert relative.id == "mine"
    assert not relative.curated
    assert relative == cards.get(str(there))


def test_a_curated_name_is_not_shadowed_by_a_folder_of_that_name(tmp_path: Path) -> None:
    folder(tmp_path / "foundling-prose")
    assert cards.get("foundling-prose", folder=tmp_path).curated


def test_a_curated_model_is_found_by_its_repository_too(tmp_path: Path) -> None:
    card = cards.get("meta-llama/Llama-3.1-8B", folder=tmp_path)
    assert (card.id, card.parameters) == ("llama-3.1-8b", 8_030_261_248)
    assert cards.get("hub:meta-llama/Llama-3.1-8B", folder=tmp_path) == card
    there = folder(tmp_path / "meta-llama" / "Llama-3.1-8B")
    assert cards.get("meta-llama/Llama-3.1-8B", folder=tmp_path) == cards.get(str(there))


def test_of_a_hosted_model_there_are_facts_and_no_card() -> None:
    hosted = next(one for one in cards.facts() if one.kind == "hosted")
    with pytest.raises(UsageError, match="only facts are known"):
        cards.get(hosted.id)


def test_a_config_from_elsewhere_makes_a_card_that_is_not_curated() -> None:
    config = {**CONFIG, "dtype": "bfloat16", "num_key_value_heads": 1, "a_key_that_decides_nothing": 1}
    known = cards.facts_from_config(config, "someone/tiny")
    card = cards.card(known, curated=False)
    assert (card.id, card.location, card.licence, card.curated) == (
        "someone/tiny",
        "hub:someone/tiny",
        "unknown",
        False,
    )
    assert (card.precision, card.context, card.shape.kv_heads) == ("bfloat16", 32, 1)
    assert "a_key_that_decides_nothing" not in card.config
    assert cards.facts_from_config(card.config, "someone/tiny").config == card.config


def test_cards_load_no_heavy_library() -> None:
    code = "import sys; from basewright.catalog import cards; cards.find(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "numpy", "pydantic"} & set(loaded)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"holds no config\.json"):
        cards.get(".", folder=tmp_path)


@pytest.mark.parametrize("known", [one for one in cards.facts() if one.held_out], ids=lambda one: one.id)
def test_what_the_catalog_says_of_held_out_text_is_what_the_run_wrote(known: ModelFacts) -> None:
    """In the README.md of its folder, the model's line in bold."""
    text = (files("basewright") / "foundlings" / known.id / "README.md").read_text("utf-8")
    written = {name.strip("*"): float(value) for name, value in ROW.findall(text)}
    written["model"] = written.pop(known.id)
    assert known.held_out == written
    assert f"{known.tokens_seen:,} tokens" in text
