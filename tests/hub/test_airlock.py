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
from tests.formats.ggufs import EMBEDDING, FACTS, MODEL, TOKENS, U32, made, pair, text, texts
from tests.formats.templates import CHATML
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
    for name in ("LICENSE", "LICENCE.txt", "NOTICE.json", "README.md", "events.jsonl"):
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


# --- GGUF files ---------------------------------------------------------------------------------------


def gguf_refused(path: Path, data: bytes) -> ModelFileError:
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        airlock.inspect_gguf(path)
    assert caught.value.file == path.name
    return caught.value


def test_a_gguf_file_passes_with_its_hash_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(made((*FACTS, TOKENS, pair(b"general.license", 8, text(b"mit"))), (EMBEDDING,), 34 * 4 + 24))
    entry, facts = airlock.inspect_gguf(path)
    assert (entry.name, entry.sha256) == (path.name, store.sha256_of(path))
    assert (facts.architecture, facts.licence, facts.context, facts.layers) == ("llama", "mit", 32, 1)
    assert (facts.vocabulary, facts.width, facts.parameters, facts.quantization) == (4, 32, 128, "Q8_0")
    assert not facts.template


@pytest.mark.parametrize(
    ("pairs", "tensors", "code"),
    [
        ((*FACTS, TOKENS), (), "missing"),
        ((*FACTS[1:], TOKENS), (EMBEDDING,), "missing"),
        ((*FACTS,), (EMBEDDING,), "mismatch"),
        ((*FACTS, texts(b"tokenizer.ggml.tokens", b"a", b"b", b"c", b"d", b"e")), (EMBEDDING,), "mismatch"),
        ((FACTS[0], pair(b"llama.embedding_length", 4, U32(64)), FACTS[2], TOKENS), (EMBEDDING,), "mismatch"),
        ((pair(b"llama.context_length", 4, U32(0)), *FACTS[1:], TOKENS), (EMBEDDING,), "malformed"),
        ((*FACTS, TOKENS, pair(b"tokenizer.chat_template", 8, text(b"{{ 9 ** 9 }}"))), (EMBEDDING,), "template"),
        ((*FACTS, TOKENS, pair(b"tokenizer.chat_template.x", 8, text(b"{% include 'a' %}"))), (EMBEDDING,), "template"),
    ],
)
def test_a_gguf_file_that_is_no_whole_model_is_refused(
    pairs: tuple[bytes, ...], tensors: tuple[bytes, ...], code: str, tmp_path: Path
) -> None:
    data = made(pairs, tensors, 34 * 4 + 24 if tensors else 0)
    assert gguf_refused(tmp_path / "a.gguf", data).code == code


def test_h006_a_gguf_file_is_no_link_and_has_a_plain_name(tmp_path: Path) -> None:
    (tmp_path / "b.gguf").write_bytes(MODEL)
    (tmp_path / "a.gguf").symlink_to(tmp_path / "b.gguf")
    (tmp_path / "a b.gguf").write_bytes((tmp_path / "b.gguf").read_bytes())
    for name, code in (("a.gguf", "unreadable"), ("a b.gguf", "name"), ("none.gguf", "missing")):
        with pytest.raises(ModelFileError) as caught:
            airlock.inspect_gguf(tmp_path / name)
        assert caught.value.code == code


# --- adapters -----------------------------------------------------------------------------------------


def write_adapter(folder: Path, tensors: dict[str, tuple[int, ...]] | None = None, **changes: Any) -> Path:
    """As peft writes one: many keys that are off."""
    off = dict.fromkeys(("auto_mapping", "megatron_config", "modules_to_save", "loftq_config", "eva_config"))
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none", **off}
    config |= {"base_model_name_or_path": "../../elsewhere", "megatron_core": "megatron.core", "qalora_group_size": 16}
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    at = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    tensors = tensors if tensors is not None else {f"{at}A.weight": (2, 8), f"{at}B.weight": (8, 2)}
    values = {name: np.zeros(dims, dtype=np.float32) for name, dims in tensors.items()}
    (folder / "adapter_model.safetensors").write_bytes(weights(values, "F32"))
    return folder


def test_an_adapter_passes_and_its_base_is_only_a_text(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    assert airlock.inspect_adapter(folder) == store.entries(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"r": 0},
        {"r": True},
        {"r": 2**20},
        {"lora_alpha": "4"},
        {"target_modules": []},
        {"target_modules": None},
        {"auto_mapping": {"parent_library": "os"}},
        {"modules_to_save": ["lm_head"]},
        {"megatron_config": {"a": 1}},
        {"megatron_core": "os"},
        {"bias": "every"},
        {"eva_config": 1},
        {"unknown": "x"},
        {"unknown": 0},
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 4]]},
        {"base_model_name_or_path": {"a": 1}},
        {"code_revision": "x"},
    ],
)
def test_h005_an_adapter_with_settings_that_load_more_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match=r"adapter_config\.json"):
        airlock.inspect_adapter(write_adapter(tmp_path / "a", **changes))


def test_h020_an_adapter_of_other_tensors_is_refused(tmp_path: Path) -> None:
    at = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    wrong: list[dict[str, tuple[int, ...]]] = [
        {},
        {f"{at}A.weight": (2, 8)},
        {f"{at}A.weight": (2, 8), f"{at}B.weight": (8, 3)},
        {f"{at}A.weight": (3, 8), f"{at}B.weight": (8, 3)},
        {f"{at}A.weight": (2, 8, 1), f"{at}B.weight": (8, 2)},
        {f"{at}A.weight": (2, 8), f"{at}B.weight": (8, 2), "base_model.model.lm_head.weight": (8, 8)},
    ]
    for number, tensors in enumerate(wrong):
        with pytest.raises(ModelFileError, match=r"adapter_model\.safetensors"):
            airlock.inspect_adapter(write_adapter(tmp_path / str(number), tensors))


def test_h001_an_adapter_in_a_pickle_is_missing_its_weights(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelFileError, match=r"holds no adapter_model\.safetensors"):
        airlock.inspect_adapter(folder)


# --- templates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "text", "named"])
def test_h012_h013_a_template_that_does_more_than_write_is_refused(tmp_path: Path, place: str) -> None:
    for source, good in ((CHATML, True), ("{{ ''.__class__ }}", False), ("{{ 'x' * 10 ** 9 }}", False)):
        folder = write(tmp_path / str(good) / str(len(source)))
        if place == "file":
            (folder / "chat_template.jinja").write_text(source)
        else:
            value = source if place == "text" else [{"name": "default", "template": source}]
            change(folder / "tokenizer_config.json", chat_template=value)
        if good:
            assert airlock.inspect(folder) == store.entries(folder)
        else:
            assert "chat template that" in refused(folder)


# --- the errors ---------------------------------------------------------------------------------------


def test_h011_every_refusal_has_a_code_and_names_a_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "bad")
    (folder / "tokenizer.json").write_text("[")
    with pytest.raises(ModelFileError) as caught:
        airlock.inspect(folder)
    assert (caught.value.code, caught.value.file, caught.value.offset) == ("malformed", "tokenizer.json", 1)
