"""Candidates that a recipe lets be downloaded: planned from their config, fetched if they fit, found again offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright.errors import BasewrightError, ModelFileError, UsageError
from basewright.recipe import read
from basewright.stages import Walk
from basewright.store import Store
from tests.hub.fake_hub import Hub, of_folder, serve
from tests.walks import Collected, prepare


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    prepare(tmp_path, count=40)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return of_folder(tmp_path / "one")


def walk(folder: Path, candidates: str) -> Walk:
    path = folder / "recipe.toml"
    before, _, after = path.read_text("utf-8").partition("[candidates]\n")
    path.write_text(before + f"[candidates]\n{candidates}\n" + after[after.index("licence") :], "utf-8")
    return Walk(read(path), folder, Store(folder / "runs"), Collected())


def test_a_candidate_of_a_hub_is_planned_first_and_then_fetched(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(hub) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        own = walk(tmp_path, 'models = ["maker/model", "./two"]\npull = true')
        plans = own.plan()
        assert not any(one.path.endswith(".safetensors") for one in running.of_files())
        bases = own.pull(plans)
        assert sorted(bases) == ["maker/model", "two"]
        assert bases["maker/model"].record.revision == running.commit
    offline = walk(tmp_path, 'models = ["maker/model", "./two"]')
    assert offline.pull(offline.plan())["maker/model"].id == bases["maker/model"].id


def test_nothing_is_downloaded_unless_the_recipe_says_so(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(hub) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        with pytest.raises(UsageError, match="maker/model"):
            walk(tmp_path, 'models = ["maker/model"]').plan()
        curated = walk(tmp_path, 'models = ["HuggingFaceTB/SmolLM2-135M"]')
        with pytest.raises(ModelFileError, match="not on this machine") as caught:
            curated.pull(curated.plan())
        assert caught.value.fix == "basewright pull HuggingFaceTB/SmolLM2-135M"
        assert running.asked == []


def test_whatever_fits_is_what_is_here(tmp_path: Path, hub: Hub) -> None:
    assert set(walk(tmp_path, "fits = true").candidates()) == {"foundling-code", "foundling-mixture", "foundling-prose"}
    every = walk(tmp_path, "fits = true\npull = true").candidates()
    assert {"gpt2", "llama-3.1-8b", "foundling-prose"} < set(every)
    assert "bert-base-cased" not in every


def test_a_candidate_that_does_not_fit_is_never_fetched(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(hub) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        own = walk(tmp_path, 'models = ["llama-3.1-405b"]\npull = true')
        with pytest.raises(BasewrightError):
            own.plan()
        assert running.asked == []
