"""Names and folders to engines: the right one, whole and inspected, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basewright import store as stores
from basewright.engine.lm import Request
from basewright.errors import ModelFileError, StoreError, UsageError
from basewright.serve.artifact import find, layout, open_artifact
from basewright.store import Store
from tests.models import tiny_llama
from tests.serve.releases import LAYOUT, make_release


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_release_is_found_by_its_name_and_the_newest_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_release(store, "clauses", seed=0)
    record = json.loads((first / "record.json").read_text())
    record["stamp"]["started"] = "2020-01-01T00:00:00+00:00"
    (first / "record.json").write_text(json.dumps(record))
    second = make_release(store, "clauses", seed=1)
    make_release(store, "other", seed=2)
    assert find("clauses", store) == second
    assert find(str(first), store) == first


def test_a_release_answers_under_its_name(store: Store) -> None:
    folder = make_release(store, "clauses")
    lm, name, _ = open_artifact(folder)
    assert (name, lm.name, lm.engine) == ("clauses", "clauses", "torch")
    assert lm.loglikelihood([Request("Clause: a\nKind:", (" term",))])[0][0].nats < 0
    assert layout(folder) == LAYOUT


@pytest.mark.gguf
def test_a_release_answers_through_llama_cpp(store: Store) -> None:
    pytest.importorskip("llama_cpp")
    folder = make_release(store, "clauses", gguf=True)
    (expected,), (found,) = (
        open_artifact(folder, engine)[0].loglikelihood([Request("Clause: a\nKind:", (" term",))])
        for engine in ("torch", "llama_cpp")
    )
    assert found[0].nats == pytest.approx(expected[0].nats, rel=5e-3)


def test_a_models_folder_answers_under_its_own_name(store: Store, tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "my-model")
    assert find(str(folder), store) == folder
    assert open_artifact(folder)[1] == "my-model"
    assert layout(folder) is None


def test_an_unknown_name_names_the_nearest(store: Store, tmp_path: Path) -> None:
    make_release(store, "contract-clauses")
    with pytest.raises(UsageError, match="did you mean 'contract-clauses'"):
        find("contract-clause", store)
    with pytest.raises(UsageError, match="no model is called"):
        find("../../etc/passwd", store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="neither a release nor a model"):
        find(str(tmp_path / "empty"), store)


def test_a_damaged_release_is_not_opened(store: Store) -> None:
    folder = make_release(store, "clauses")
    weights = folder / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(StoreError, match=r"model\.safetensors has other content"):
        open_artifact(folder)


def test_a_model_that_does_not_pass_the_airlock_is_not_opened(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ModelFileError):
        open_artifact(folder)


@pytest.mark.parametrize(
    "best", ["model", "../gguf/model.gguf", "/gguf/model.gguf", "gguf/../x.gguf", "gguf/absent.gguf", 5]
)
def test_llama_cpp_needs_a_gguf_of_the_release(tmp_path: Path, best: object) -> None:
    tiny_llama(tmp_path / "model")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    stores.write_json(tmp_path / "basewright.json", {"name": "clauses", "best": best})
    with pytest.raises(UsageError, match="holds no GGUF"):
        open_artifact(tmp_path, "llama_cpp")


@pytest.mark.parametrize("facts", [[], {}, {"name": 5}])
def test_facts_of_another_form_are_one_line(tmp_path: Path, facts: object) -> None:
    tiny_llama(tmp_path / "model")
    stores.write_json(tmp_path / "basewright.json", facts)
    with pytest.raises(ModelFileError, match=r"basewright\.json"):
        open_artifact(tmp_path)
    with pytest.raises(ModelFileError, match=r"basewright\.json"):
        layout(tmp_path)
