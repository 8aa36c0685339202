from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from basewright.catalog import cards
from basewright.errors import ModelFileError, UsageError
from basewright.plain import from_plain, to_plain
from basewright.records import ModelCard

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


@pytest.mark.parametrize(
    "card", [card for card in cards.find() if card.location.startswith("package:")], ids=lambda card: card.id
)
def test_a_curated_card_agrees_with_itself(card: ModelCard) -> None:
    assert card.parameters == card.active_parameters == 3_221_952
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


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"holds no config\.json"):
        cards.get(".", folder=tmp_path)
