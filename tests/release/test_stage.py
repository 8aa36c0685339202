"""The whole folder: what is in it, that it is the same twice, and what is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from basewright import store
from basewright.errors import Refused, StoreError
from basewright.plain import from_plain, to_plain
from basewright.records import Layout
from tests.release import making

FILES = {
    "LICENSE-NOTICE.md",
    "Modelfile",
    "NOTICE",
    "README.md",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "basewright.json",
    "bom.json",
    "duties.json",
    "gguf/model-f16.gguf",
    "gguf/model-q8_0.gguf",
    "model/config.json",
    "model/model.safetensors",
    "proof.json",
}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_all_that_is_needed_and_the_record_says_so(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    release = walk.stage(tmp_path / "out")
    assert set(release.files) == set(content(tmp_path / "out")) == FILES
    assert release.accuracy == walk.proof.record.after.accuracy
    assert len(release.checks) == 5
    assert [entry.name for artifact in release.artifacts for entry in artifact.files] == [
        "model/config.json",
        "model/model.safetensors",
        "gguf/model-f16.gguf",
        "gguf/model-q8_0.gguf",
    ]
    assert from_plain(type(release), to_plain(release)) == release


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    """Another machine's folders, another day and other costs change nothing."""
    first, second = making.walk(tmp_path / "here"), making.walk(tmp_path / "elsewhere" / "deeper")
    later = replace(second.proof.stamp, started="2027-01-01T00:00:00+00:00", seconds=99.0, measured={"peak": 2.0})
    second.proof = replace(second.proof, stamp=later)
    one, two = first.stage(tmp_path / "one"), second.stage(tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert one == two


def test_no_date_and_no_path_of_this_machine_is_written(tmp_path: Path) -> None:
    making.walk(tmp_path / "made").stage(tmp_path / "out")
    for name, data in content(tmp_path / "out").items():
        assert str(tmp_path).encode() not in data, name
        assert b"10:00:00" not in data, name


def test_files_are_linked_where_the_disk_allows_it(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    walk.stage(tmp_path / "out")
    name = "model/model.safetensors"
    assert (tmp_path / "out" / name).samefile(walk.converted.folder / name)


def test_files_are_copied_where_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    making.walk(tmp_path / "linked").stage(tmp_path / "one")
    monkeypatch.setattr(os, "link", refuse)
    walk = making.walk(tmp_path / "copied")
    walk.stage(tmp_path / "two")
    name = "model/model.safetensors"
    assert not (tmp_path / "two" / name).samefile(walk.converted.folder / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("name", ["model/config.json", "model/model.safetensors", "gguf/model-q8_0.gguf"])
def test_a_file_that_is_not_the_converted_one_is_refused_by_name(tmp_path: Path, name: str) -> None:
    walk = making.walk(tmp_path / "made")
    path = walk.converted.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=name):
        walk.stage(tmp_path / "out")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    (walk.converted.folder / "gguf/model-f16.gguf").unlink()
    with pytest.raises(StoreError, match="model-f16"):
        walk.stage(tmp_path / "out")


def test_another_adapter_than_the_trained_one_is_refused(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    (walk.adapter.folder / "adapter" / "adapter_model.safetensors").write_bytes(b"A and C")
    with pytest.raises(StoreError, match="not the one that was trained"):
        walk.stage(tmp_path / "out")


def test_nothing_is_released_with_a_failed_check(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    walk.proof = making.failing(walk.proof)
    with pytest.raises(Refused, match="general language is kept"):
        walk.stage(tmp_path / "out")
    assert not content(tmp_path / "out")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("weights", {"base_commit": "0" * 64}),
        ("data", {"data_hash": "0" * 64}),
        ("layout", {"layout": Layout(prompt="{text} is", separator="\n")}),
    ],
)
def test_h020_an_adapter_of_other_weights_data_or_layout_is_refused(
    tmp_path: Path, what: str, change: dict[str, object]
) -> None:
    walk = making.walk(tmp_path / "made")
    walk.adapter = replace(walk.adapter, record=replace(walk.adapter.record, **change))  # type: ignore[arg-type]
    with pytest.raises(Refused, match=f"the {what} the adapter was trained on is not"):
        walk.stage(tmp_path / "out")


def test_h020_files_converted_from_another_adapter_are_refused(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    other = replace(walk.adapter.stamp, id="adapter-0000000000000000")
    walk.adapter = replace(walk.adapter, stamp=other)
    with pytest.raises(Refused, match="adapter that was converted"):
        walk.stage(tmp_path / "out")


def test_what_serving_needs_is_in_one_file(tmp_path: Path) -> None:
    making.walk(tmp_path / "made").stage(tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "basewright.json").read_text())
    assert facts["layout"] == {"prompt": "Clause: {text}\nKind:", "separator": "\n\n", "chat": None}
    assert facts["stop"] == {"ids": [0], "texts": ["\n\n"]}
    assert facts["max_tokens"] == len(" liability") + 1
    assert (facts["bos"], facts["context"], facts["labels"]) == (False, 1024, list(making.LABELS))
    assert facts["best"] == "gguf/model-q8_0.gguf"
    for artifact in facts["artifacts"]:
        assert (tmp_path / "out" / artifact["path"]).exists()
        for entry in artifact["files"]:
            assert store.sha256_of(tmp_path / "out" / entry["name"]) == entry["sha256"]


def test_the_proof_travels_with_the_result_and_training_texts_do_not(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    walk.stage(tmp_path / "out")
    proof = json.loads((tmp_path / "out" / "proof.json").read_text())
    assert proof["passed"]
    assert {check["about"] for check in proof["checks"]} == {
        "training data",
        "trained model",
        "safetensors bfloat16",
        "gguf f16",
        "gguf q8_0",
    }
    assert from_plain(type(walk.proof.record), proof["proof"]) == walk.proof.record
    assert proof["certificate"]["overlays"] == 1
    hashes = {row["role"]: row["record_sha256"] for row in proof["lineage"]}
    assert hashes["adapter"] == store.digest(walk.adapter.record)
    assert set(hashes) == {"base", "choice", "certificate", "adapter", "proof", "converted"}
    assert b"a word of a training row" not in (tmp_path / "out" / "proof.json").read_bytes()
