"""A whole walk over bases that are no Llamas: other names, a turned layout, a table of positions, a window."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright.errors import DoesNotFit
from tests import walks
from tests.hub.test_families import made


def prepare(folder: Path, names: dict[str, str], formats: str) -> Path:
    recipe = walks.prepare(folder)
    for place, name in names.items():
        made(folder / place, name, context=512)
    text = recipe.read_text()
    text = text.replace('formats = ["gguf:f16", "gguf:q8_0"]', f"formats = {formats}")
    recipe.write_text(text.replace('["./one", "./two"]', str([f"./{place}" for place in names])))
    return recipe


@pytest.mark.slow
def test_bases_of_other_families_are_chosen_tuned_merged_and_released(tmp_path: Path) -> None:
    built, _ = walks.walk(prepare(tmp_path, {"three": "gpt2", "four": "mistral"}, "[]"))
    assert {one.model for one in built.choice.record.ranked} >= {"three", "four"}
    assert (built.release.folder / "model" / "model.safetensors").is_file()
    assert not list(built.release.folder.glob("gguf/*"))


def test_a_family_that_gguf_is_not_written_for_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit) as caught:
        walks.walk(prepare(tmp_path, {"three": "gpt2"}, '["gguf:f16"]'))
    assert "GGUF is written for llama models only" in caught.value.fix
