"""What is written is what llama.cpp's own converter would write, or nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from safetensors.torch import load_file, save_file

from basewright.convert import gguf_writer
from basewright.convert.gguf_writer import Quantization, to_gguf
from basewright.errors import ModelFileError, Refused
from basewright.formats import gguf
from tests.models import END, PAD, tiny_llama

F32, F16, Q8_0 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_llama(tmp_path / "model", layers=1)


def written(folder: Path, quantization: Quantization = "f16", **metadata: str) -> Path:
    to_gguf(folder, folder / "a.gguf", quantization, metadata)
    return folder / "a.gguf"


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads(path.read_text("utf-8"))
    change(found)
    path.write_text(json.dumps(found), "utf-8")


# --- tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantization", "matrix", "file_type"), [("f16", F16, 1), ("q8_0", Q8_0, 7)])
def test_types_are_those_of_llama_cpp(
    quantization: Quantization, matrix: GGMLQuantizationType, file_type: int, tmp_path: Path
) -> None:
    """Vectors stay float32; a matrix whose rows are no multiple of 32 falls back to float16."""
    folder = tiny_llama(tmp_path / "model", layers=1, feed_forward=84, tied=False)
    head = gguf.read(written(folder, quantization))
    kinds = {tensor.name: tensor.kind for tensor in head.tensors}
    assert head.metadata["general.file_type"] == file_type
    assert kinds["blk.0.ffn_down.weight"] == F16
    assert kinds["blk.0.ffn_up.weight"] == kinds["token_embd.weight"] == kinds["output.weight"] == matrix
    assert kinds["blk.0.attn_norm.weight"] == kinds["output_norm.weight"] == F32


def test_a_tied_output_is_not_written_even_where_it_is_stored(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(tensors, folder / "model.safetensors")
    names = {tensor.name for tensor in gguf.read(written(folder)).tensors}
    assert "output.weight" not in names
    assert not any("rotary" in name for name in names)


def test_rotated_rows_lie_side_by_side(folder: Path) -> None:
    """Row i of a head's first half and row i of its second are the pair (2i, 2i + 1) for llama.cpp."""
    tensors = load_file(folder / "model.safetensors")
    found = {tensor.name: tensor for tensor in GGUFReader(written(folder)).tensors}
    for ours, theirs, heads in (("q", "attn_q", 4), ("k", "attn_k", 2)):
        rows = tensors[f"model.layers.0.self_attn.{ours}_proj.weight"].half().numpy()
        size = len(rows) // heads
        stored = found[f"blk.0.{theirs}.weight"].data
        for head in range(heads):
            for i in range(size // 2):
                assert np.array_equal(stored[head * size + 2 * i], rows[head * size + i])
                assert np.array_equal(stored[head * size + 2 * i + 1], rows[head * size + size // 2 + i])


def test_q8_0_is_within_half_a_step_of_every_block(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].numpy()
    tensor = next(t for t in GGUFReader(written(folder, "q8_0")).tensors if t.name == "blk.0.ffn_up.weight")
    blocks, made = weights.reshape(-1, 32), dequantize(tensor.data, Q8_0).reshape(-1, 32)
    step = np.abs(blocks).max(axis=1, keepdims=True) / 127
    assert (np.abs(made - blocks) <= step * (0.5 + 127 * 2**-11)).all()


def test_the_same_model_is_the_same_bytes(folder: Path) -> None:
    assert written(folder, "q8_0", name="a").read_bytes() == written(folder, "q8_0", name="a").read_bytes()


@pytest.mark.parametrize("quantization", ["f16", "q8_0"])
@pytest.mark.parametrize("value", [1e7, float("nan"), float("-inf")])
def test_a_value_beyond_the_type_is_refused_and_leaves_nothing(
    value: float, quantization: Quantization, folder: Path
) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][3, 4] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(Refused, match=r"up_proj\.weight has values that .* cannot hold"):
        written(folder, quantization)
    assert not list(folder.glob("*.gguf")) + list(folder.glob(".*"))


def test_blocks_of_zeros_and_denormals_are_zeros(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][:2] = torch.tensor([[0.0], [1e-42]])
    save_file(tensors, folder / "model.safetensors")
    tensor = next(t for t in GGUFReader(written(folder, "q8_0")).tensors if t.name == "blk.0.ffn_up.weight")
    assert not dequantize(tensor.data, Q8_0)[:2].any()


def test_h047_a_missing_tensor_stops_before_writing(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"layers\.0\.mlp\.up_proj\.weight is missing"):
        written(folder)


def test_h047_a_tensor_without_a_place_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(64)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(Refused, match=r"q_proj\.bias"):
        written(folder)


def test_h018_an_interrupted_write_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(folder).read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_writer, "_data", stop)
    with pytest.raises(KeyboardInterrupt):
        written(folder)
    assert (folder / "a.gguf").read_bytes() == before
    assert not list(folder.glob(".*"))


# --- keys -----------------------------------------------------------------------------------------


def test_the_keys_say_what_the_model_is(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c["rope_parameters"].update(rope_theta=123456.0))
    metadata = gguf.read(written(folder, name="tiny", licence="MIT", stop_ids="[0]", empty="")).metadata
    expected = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "general.license": "MIT",
        "general.quantization_version": 2,
        "basewright.stop_ids": "[0]",
        "llama.block_count": 1,
        "llama.context_length": 128,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "llama.rope.dimension_count": 16,
        "llama.rope.freq_base": 123456.0,
        "llama.vocab_size": 384,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.padding_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
    }
    assert {key: metadata.get(key) for key in expected} == expected
    assert metadata["tokenizer.ggml.tokens"][:2] == [END, PAD]
    assert metadata["tokenizer.ggml.token_type"][:3] == [3, 3, 1]


def test_add_bos_is_what_the_tokenizer_does(tmp_path: Path) -> None:
    """The config names a BOS token; the tokenizer does not put it before a text."""
    metadata = gguf.read(written(tiny_llama(tmp_path / "model", layers=1, bos=False))).metadata
    assert metadata["tokenizer.ggml.bos_token_id"] == 0
    assert metadata["tokenizer.ggml.add_bos_token"] is False


def test_rows_beyond_the_tokens_get_names_no_text_has(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = torch.nn.functional.pad(tensors["model.embed_tokens.weight"], (0, 0, 0, 5))
    save_file(tensors, folder / "model.safetensors")
    edit_json(folder / "config.json", lambda c: c.update(vocab_size=389))
    metadata = gguf.read(written(folder)).metadata
    assert metadata["tokenizer.ggml.tokens"][384:] == [f"[PAD{i}]" for i in range(384, 389)]
    assert metadata["tokenizer.ggml.token_type"][384:] == [5] * 5


def test_h016_more_tokens_than_rows_are_refused(folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.update(vocab_size=383))
    with pytest.raises(Refused, match="384 ids, the embedding 383 rows"):
        written(folder)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "rope_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"model_type": "mistral", "architectures": ["MistralForCausalLM"]}, "mistral"),
    ],
)
def test_an_architecture_gguf_would_get_wrong_is_refused(settings: dict[str, Any], named: str, folder: Path) -> None:
    edit_json(folder / "config.json", lambda c: c.update(settings))
    with pytest.raises(Refused, match=named) as caught:
        written(folder)
    assert caught.value.fix


# --- tokenizers -----------------------------------------------------------------------------------

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
LLAMA_3 = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL | {"use_regex": False},
    ],
}


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": None},
        {"pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}},
        {"pre_tokenizer": BYTE_LEVEL | {"use_regex": False}},
        {"pre_tokenizer": LLAMA_3},
        {"normalizer": {"type": "NFC"}},
    ],
)
def test_h019_a_cutting_llama_cpp_does_not_know_is_refused(change: dict[str, Any], folder: Path) -> None:
    edit_json(folder / "tokenizer.json", lambda t: t.update(change))
    with pytest.raises(Refused, match=r"no exact equal of this tokenizer's cutting"):
        written(folder)


@pytest.mark.parametrize("change", [{"ignore_merges": True}, {"dropout": 0.1}, {"byte_fallback": True}])
def test_h019_merges_done_otherwise_are_refused(change: dict[str, Any], folder: Path) -> None:
    edit_json(folder / "tokenizer.json", lambda t: t["model"].update(change))
    with pytest.raises(Refused):
        written(folder)


def test_an_added_token_that_takes_the_space_is_refused(folder: Path) -> None:
    added = {"id": 384, "content": "<tool>", "special": False, "lstrip": True, "rstrip": False, "normalized": False}
    edit_json(folder / "tokenizer.json", lambda t: t["added_tokens"].append(added | {"single_word": False}))
    edit_json(folder / "config.json", lambda c: c.update(vocab_size=385))
    with pytest.raises(Refused, match="<tool>"):
        written(folder)
