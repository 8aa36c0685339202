from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basewright import store
from basewright.errors import ModelFileError
from basewright.hub import airlock
from tests.hub.folders import TOKENIZER, random_tensors, safetensors, weights, write, write_shards

INDEX = "model.safetensors.index.json"


def refused(folder: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        airlock.inspect(folder)
    assert "\n" not in caught.value.message + caught.value.fix
    assert caught.value.fix
    return caught.value.message


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- what passes ----------------------------------------------------------------------------------


def test_a_good_folder_passes_with_its_hashes(tmp_path: Path) -> None:
    folder = write(tmp_path / "good")
    assert airlock.inspect(folder) == store.entries(folder)


def test_shards_pass_with_their_index(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "good")
    assert airlock.inspect(folder) == store.entries(folder)


def test_only_known_files_are_taken(tmp_path: Path) -> None:
    folder = write(tmp_path / "good")
    for name in ("LICENSE", "LICENCE.txt", "README.md", "events.jsonl"):
        (folder / name).write_text("x")
    (folder / "generation_config.json").write_text('{"eos_token_id": 0}')
    known = {entry.name for entry in airlock.inspect(folder)}
    for name in ("modeling_llama.py", ".gitattributes", "adapter_config.json", "run.sh", "other.safetensors", "ü .txt"):
        (folder / name).write_text("x")
    (folder / "original").mkdir()
    (folder / "original" / "config.json").write_text("x")
    assert {entry.name for entry in airlock.inspect(folder)} == known
    assert {"LICENSE", "LICENCE.txt", "README.md", "events.jsonl", "generation_config.json"} < known


def test_one_file_of_weights_wins_over_an_index_as_in_transformers(tmp_path: Path) -> None:
    folder = write(tmp_path / "good")
    (folder / INDEX).write_text('{"weight_map": {"a": "../../x"}}')
    assert INDEX not in {entry.name for entry in airlock.inspect(folder)}


def test_old_rotary_buffers_pass(tmp_path: Path) -> None:
    values = random_tensors()
    values["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(2, dtype=np.float32)
    airlock.inspect(write(tmp_path / "good", data=weights(values, "F32")))


# --- what does not --------------------------------------------------------------------------------

GADGET = b"cos\nsystem\n(S'touch canary'\ntR."


def test_h001_pickles_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "good")
    before = airlock.inspect(folder)
    for suffix in airlock.PICKLES:
        (folder / f"pytorch_model{suffix}").write_bytes(GADGET)
    (folder / "training_args.bin").write_bytes(GADGET)
    assert airlock.inspect(folder) == before
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("suffix", airlock.PICKLES)
def test_h001_a_folder_of_pickles_alone_is_refused_with_advice(tmp_path: Path, suffix: str) -> None:
    folder = write(tmp_path / "bad")
    (folder / "model.safetensors").unlink()
    (folder / f"pytorch_model{suffix}").write_bytes(GADGET)
    with pytest.raises(ModelFileError, match="can run code") as caught:
        airlock.inspect(folder)
    assert "safetensors" in caught.value.fix


def test_h001_a_pickle_under_the_name_of_safetensors_is_refused(tmp_path: Path) -> None:
    assert "safetensors" in refused(write(tmp_path / "bad", data=GADGET))


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"]
)
def test_h005_code_keys_are_refused_in_every_config(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "bad")
    path = folder / name
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**old, "transformers.js_config": {"deep": [{"auto_map": {"AutoModel": "x--y.Z"}}]}}))
    assert "code" in refused(folder)


def test_h005_a_word_of_the_vocabulary_is_not_a_config_key(tmp_path: Path) -> None:
    assert "auto_map" in TOKENIZER["model"]["vocab"]
    airlock.inspect(write(tmp_path / "good"))


@pytest.mark.parametrize(
    "shard",
    [
        "../model-1.safetensors",
        "/etc/model-1.safetensors",
        "C:\\model-1.safetensors",
        "\\\\server\\share\\model-1.safetensors",
        "%2e%2e/model-1.safetensors",
        "model-1\0.safetensors",
        "model-1\n.safetensors",
        "sub/model-1.safetensors",
        "nul.safetensors",
        "..safetensors",
        "absent.safetensors",
        "model-1.bin",
        1,
        None,
        ["model-1.safetensors"],
    ],
)
def test_h006_an_index_names_only_plain_files_that_are_there(tmp_path: Path, shard: Any) -> None:
    folder = write_shards(tmp_path / "in" / "bad")
    for place in (tmp_path / "in", folder / "sub"):
        place.mkdir(exist_ok=True)
        (place / "model-1.safetensors").write_bytes((folder / "model-1.safetensors").read_bytes())
    placed = json.loads((folder / INDEX).read_text())["weight_map"]
    change(folder / INDEX, weight_map={k: shard if v == "model-1.safetensors" else v for k, v in placed.items()})
    refused(folder)


@pytest.mark.parametrize("weight_map", [None, {}, [], "x"])
def test_an_index_without_a_map_is_refused(tmp_path: Path, weight_map: Any) -> None:
    folder = write_shards(tmp_path / "bad")
    change(folder / INDEX, weight_map=weight_map)
    assert "weight_map" in refused(folder)


def test_h008_an_index_and_its_shards_must_agree(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "bad")
    placed = json.loads((folder / INDEX).read_text())["weight_map"]
    first = next(iter(placed))
    change(folder / INDEX, weight_map={**placed, first: "model-2.safetensors"})
    assert "disagree" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "LICENSE"])
def test_h006_links_and_pipes_are_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "bad")
    (folder / "LICENSE").write_text("x")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert "is a link" in refused(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "not a regular file" in refused(folder)


def test_h022_one_name_in_two_spellings_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bad")
    (folder / "Config.json").write_text("{}")
    assert "two spellings" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"<html>404", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS"),
        (bytes(100), "zeros"),
    ],
)
def test_h009_what_stands_in_for_a_file_is_named(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    folder = write(tmp_path / "bad")
    (folder / name).write_bytes(content)
    message = refused(folder)
    assert told in message
    assert name in message


@pytest.mark.parametrize("name", [*airlock.NEEDED, "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "bad")
    (folder / name).unlink()
    assert name in refused(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no folder" in refused(tmp_path / "nowhere")


# --- weights, config and tokenizer belong together ---------------------------------------------------


def test_a_missing_tensor_is_refused_before_a_library_fills_it_with_noise(tmp_path: Path) -> None:
    values = random_tensors()
    del values["model.layers.0.mlp.up_proj.weight"]
    assert "lack model.layers.0.mlp.up_proj.weight" in refused(write(tmp_path / "bad", data=weights(values)))


def test_a_tensor_that_the_config_does_not_call_for_is_refused(tmp_path: Path) -> None:
    values = random_tensors()
    values["lm_head.weight"] = values["model.embed_tokens.weight"]
    assert "hold lm_head.weight" in refused(write(tmp_path / "bad", data=weights(values)))
    airlock.inspect(write(tmp_path / "good", config={"tie_word_embeddings": False}, data=weights(values)))


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 16}, {"vocab_size": 19}, {"num_hidden_layers": 2}, {"head_dim": 8}]
)
def test_h053_a_config_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(write(tmp_path / "bad", config=changes))


def test_weights_in_whole_numbers_are_refused(tmp_path: Path) -> None:
    values = random_tensors()
    header: dict[str, Any] = {}
    end = 0
    for name, value in values.items():
        header[name] = {"dtype": "I8", "shape": list(value.shape), "data_offsets": [end, end + value.size]}
        end += value.size
    assert "stored as I8" in refused(write(tmp_path / "bad", data=safetensors(header, bytes(end))))


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"model": {"type": "BPE", "vocab": {"a": 20}, "merges": []}},
        {"added_tokens": [{"id": 20, "content": "<new>"}]},
        {"model": {"type": "Unigram", "vocab": [["x", -1.0]] * 21}},
    ],
)
def test_h016_a_token_without_an_embedding_row_is_refused(tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    message = refused(write(tmp_path / "bad", tokenizer=tokenizer))
    assert "token id 20" in message
    assert "20 embedding rows" in message


def test_h016_the_last_row_may_be_used(tmp_path: Path) -> None:
    airlock.inspect(write(tmp_path / "good", tokenizer={"added_tokens": [{"id": 19, "content": "<new>"}]}))


@pytest.mark.parametrize(
    "tokenizer",
    [
        {"model": {"vocab": {"a": "1"}}},
        {"model": {"vocab": {"a": -1}}},
        {"model": {"vocab": {}}, "added_tokens": []},
        {"model": None, "added_tokens": None},
        {"added_tokens": [1]},
        {"model": {"vocab": {"a": True}}},
    ],
)
def test_h011_a_tokenizer_without_ids_is_refused(tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    refused(write(tmp_path / "bad", tokenizer=tokenizer))


@pytest.mark.parametrize("changes", [{"eos_token_id": 20}, {"eos_token_id": [0, 20]}, {"bos_token_id": 99}])
def test_h016_the_configs_own_ids_have_rows(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "embedding rows" in refused(write(tmp_path / "bad", config=changes))


# --- any fault is the one error -----------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_h011_any_change_of_bytes_passes_or_is_the_one_error(tmp_path: Path, data: st.DataObject) -> None:
    folder = write(tmp_path / "model")
    path = folder / data.draw(st.sampled_from(sorted(os.listdir(folder))))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 2000) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))]))
    try:
        assert airlock.inspect(folder) == store.entries(folder)
    except ModelFileError as error:
        told = error.message + error.fix
    else:
        told = ""
    assert "\n" not in told
    write(folder)


# --- what is worth downloading ------------------------------------------------------------------------


def test_wanted_names_one_file_of_weights_or_an_index_with_its_shards() -> None:
    small = ["LICENSE", "README.md", "config.json", "tokenizer.json", "tokenizer_config.json"]
    others = [
        "pytorch_model.bin",
        "modeling_x.py",
        "onnx/model.safetensors",
        "../config.json",
        "model.fp16.safetensors",
    ]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert airlock.wanted([*others, *small, *shards, INDEX]) == sorted([*small, *shards, INDEX])
    assert airlock.wanted([*others, *small, *shards, INDEX, "model.safetensors"]) == sorted(
        [*small, "model.safetensors"]
    )


def test_wanted_gguf_names_whole_files_at_the_top() -> None:
    names = ["a-Q4_0.gguf", "b.GGUF", "sub/c.gguf", "d-00001-of-00002.gguf", "../e.gguf", "config.json"]
    assert airlock.wanted_gguf(names) == ["a-Q4_0.gguf", "b.GGUF"]
