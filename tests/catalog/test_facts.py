"""Curated cards: every fact names a source, and what can be computed agrees with what was read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from datetime import date
from importlib.resources import files
from typing import Any

import pytest

from basewright.catalog import architectures, cards
from basewright.errors import ModelFileError
from basewright.records import ModelFacts
from tests.catalog import tiny
from tests.catalog.test_real_configs import real
from tests.conftest import SHARED

FACTS = cards.facts()
COUNTED = [one for one in FACTS if cards.counted(one)]
OWN = {"id", "family", "kind", "nature", "location", "sources", "scores", "modality"}
"""Fields that need no source: what a card is called, and its sources themselves."""
FIELDS = {field.name for field in dataclasses.fields(ModelFacts)}
DIFFERS = {
    "phi-1.5": "1.3B is without the output table of 51,200 rows",
    "phi-2": "what 2.7B leaves out is not said",
}
"""Cards whose makers print another number than the tensors come to, and why."""
LITGPT = SHARED / "configs" / "litgpt_table" / "litgpt_configs.json"
PRESETS = {
    "llama-2-7b": "llama2_7b",
    "llama-2-13b": "llama2_13b",
    "llama-2-70b": "llama2_70b",
    "llama-3.1-8b": "meta-llama--Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama--Meta-Llama-3.1-70B",
    "llama-3.1-405b": "meta-llama--Meta-Llama-3.1-405B",
    "llama-3.2-1b": "llama3_2_1b",
    "llama-3.2-3b": "llama3_2_3b",
    "codellama-7b": "codellama_7b",
    "mistral-7b-v0.1": "mistral_7b",
    "mistral-7b-v0.3": "mistral_7b_v03",
    "mixtral-8x7b-v0.1": "mistralai--Mixtral-8x7B-v0.1",
    "mixtral-8x22b-v0.1": "mistralai--Mixtral-8x22B-v0.1",
    "gpt2": "gpt2",
    "gpt2-medium": "gpt2_medium",
    "gpt-j-6b": "gpt_j",
    "gemma-2b": "gemma_2b",
    "gemma-2-2b": "gemma2_2b",
    "gemma-2-9b": "gemma2_9b",
    "gemma-2-27b": "gemma2_27b",
    "gemma-3-1b": "gemma3_1b_it",
    "qwen2.5-3b": "qwen2.5_3b",
    "qwen3-0.6b-base": "Qwen--Qwen3-0.6B",
    "qwen3-1.7b-base": "Qwen--Qwen3-1.7B",
    "qwen3-8b-base": "Qwen--Qwen3-8B",
    "qwen3-30b-a3b-base": "Qwen--Qwen3-30B-A3B",
    "smollm-135m": "smollm_135m",
    "smollm-360m": "smollm_360m",
    "smollm-1.7b": "smollm_1_7b",
    "smollm2-135m": "smollm2_135m",
    "smollm2-360m": "smollm2_360m",
    "olmo-2-7b": "olmo2_7b",
    "olmo-2-13b": "olmo2_13b",
    "olmo-2-32b": "olmo2_32b",
    "starcoder2-7b": "starcoder2",
    "deepseek-v3-base": "deepseek-ai--DeepSeek-V3",
}
"""Real configs of the same shape."""


def by_id(known: ModelFacts) -> str:
    return known.id


def test_each_name_is_one_and_plain() -> None:
    assert [name for name, times in Counter(map(by_id, FACTS)).items() if times > 1] == []
    assert [one.id for one in FACTS if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", one.id)] == []
    places = Counter(one.location for one in FACTS)
    assert [place for place, times in places.items() if times > 1] == []
    assert all(re.match(r"(hub:[^/]+/[^/]+|package:.+|remote:.+/.+)$", one.location) for one in FACTS)


@pytest.mark.parametrize("known", FACTS, ids=by_id)
def test_every_fact_names_its_source(known: ModelFacts) -> None:
    filled = {field.name for field in dataclasses.fields(known) if getattr(known, field.name) != _default(field)} - OWN
    if known.licence == "unknown":
        filled.discard("licence")
    named = {fact for source in known.sources for fact in source.facts}
    assert filled - named == set(), "filled, and in no source"
    assert named - FIELDS == set(), "not a field"
    assert {name for name in named - {"scores"} if getattr(known, name) in (None, (), {})} == set(), (
        "sourced, not filled"
    )


@pytest.mark.parametrize("known", FACTS, ids=by_id)
def test_every_source_says_where_when_and_what(known: ModelFacts) -> None:
    assert known.sources
    for source in known.sources:
        assert re.match(r"https://|docs/", source.url)
        assert date.fromisoformat(source.read_on) <= date.today()
        assert len(source.words) <= 400
    for score in known.scores:
        assert score.url.startswith("https://")


@pytest.mark.parametrize("known", COUNTED, ids=by_id)
def test_the_count_agrees_with_what_its_makers_print(known: ModelFacts) -> None:
    told = known.published
    if told is not None and known.id not in DIFFERS:
        assert _agrees(told, architectures.parameters(known.config))
    if known.published_active is not None:
        assert _agrees(known.published_active, architectures.active_parameters(known.config), cut=True)
    if known.context is not None and (context := architectures.context_of(known.config)) is not None:
        assert known.context <= context


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _agrees(printed: str, counted: int, *, cut: bool = False) -> bool:
    """Within 0.5 %, or to the digits printed: half a unit of the last one that is not a closing zero. `cut` allows a
    number that was cut instead of rounded."""
    digits, unit = re.fullmatch(r"([\d.,]+)\s*([KMB]?)", printed).groups()  # type: ignore[union-attr]
    scale = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}[unit]
    plain = digits.replace(",", "")
    value = float(plain) * scale
    places = len(plain.partition(".")[2]) or len(plain.rstrip("0")) - len(plain)
    last = scale * 10.0**-places
    return abs(counted / value - 1) <= 0.005 or -last / 2 <= counted - value < last * (1 if cut else 0.5)


@pytest.mark.skipif(not real(), reason="needs shared/data/configs/hf_configs")
@pytest.mark.parametrize(("name", "preset"), PRESETS.items())
def test_the_shape_is_that_of_the_real_config(name: str, preset: str) -> None:
    known = next(one for one in FACTS if one.id == name)
    assert dict(architectures.tensors(known.config)) == dict(architectures.tensors(real()[preset]))
    assert architectures.shape_of(known.config) == architectures.shape_of(real()[preset])


def _litgpt() -> dict[str, dict[str, Any]]:
    if not LITGPT.is_file():
        return {}
    table = json.loads(LITGPT.read_text())
    rows = table.values() if isinstance(table, dict) else table
    return {f"hub:{one['hf_config']['org']}/{one['hf_config']['name']}": one for one in rows if one.get("hf_config")}


@pytest.mark.skipif(not LITGPT.is_file(), reason="needs shared/data/configs/litgpt_table")
@pytest.mark.parametrize("known", [one for one in COUNTED if one.location in _litgpt()], ids=by_id)
def test_the_shape_is_that_of_litgpts_table(known: ModelFacts) -> None:
    row, shape = _litgpt()[known.location], architectures.shape_of(known.config)
    assert (shape.layers, shape.width, shape.heads, shape.kv_heads, shape.head_dim) == tuple(
        row[key] for key in ("n_layer", "n_embd", "n_head", "n_query_groups", "head_size")
    )
    assert shape.feed_forward == row["intermediate_size"]


def _sample() -> list[ModelFacts]:
    """The smallest of each family."""
    smallest: dict[str, ModelFacts] = {}
    for one in sorted(COUNTED, key=lambda one: -architectures.parameters(one.config)):
        smallest[one.config["model_type"]] = one
    return list(smallest.values())


@pytest.mark.parametrize("known", _sample(), ids=by_id)
def test_the_count_is_that_of_transformers(known: ModelFacts) -> None:
    model = tiny.build(known.config, architectures.family_of(known.config).cls, "meta")
    assert architectures.parameters(known.config) == sum(p.numel() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("known", COUNTED, ids=by_id)
def test_every_count_is_that_of_transformers(known: ModelFacts) -> None:
    test_the_count_is_that_of_transformers(known)


def test_a_mistake_in_a_file_of_facts_is_one_line_that_says_where() -> None:
    stanza = (
        '[[model]]\nid = "a"\nfamily = "f"\nkind = "decoder"\nnature = "base"\nlocation = "hub:a/b"\nlicence = "MIT"\n'
    )
    for wrong, told in (
        ("contxt = 3\nsources = []\n", "no field contxt"),
        ("", "sources"),
        ('context = "long"\nsources = []\n', "context"),
        ('sources = []\nlanguages = "en"\n', "languages"),
    ):
        with pytest.raises(ModelFileError) as caught:
            cards.parse("mine.toml", stanza + wrong)
        assert "mine.toml: a: " in caught.value.message
        assert told in caught.value.message
    with pytest.raises(ModelFileError, match=r"mine\.toml"):
        cards.parse("mine.toml", "[[model")


def test_every_file_of_facts_is_read() -> None:
    names = {path.name for path in files("basewright.catalog").joinpath("data").iterdir()}
    assert names
    assert all(name.endswith(".toml") for name in names)
