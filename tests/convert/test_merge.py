"""A merged model is the adapter on its base, or there is no merged model (H020, H047)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, LlamaForCausalLM

from basewright.convert.merge import merge
from basewright.engine.torch_lm import load_model
from basewright.errors import ModelFileError, Refused
from basewright.hub import airlock
from tests.models import tiny_adapter, tiny_llama

FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return tiny_adapter(base, tmp_path / "adapter")


def peft_merge(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        model = PeftModel.from_pretrained(load_model(base), adapter).merge_and_unload()
    return {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}


def edit(adapter: Path, **settings: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")


@pytest.mark.parametrize("variant", ["lora", "rslora", "dora"])
def test_h020_it_is_what_peft_merges(base: Path, variant: str, tmp_path: Path) -> None:
    adapter = tiny_adapter(base, tmp_path / "adapter", variant=variant)
    airlock.inspect_adapter(adapter)
    merge(base, adapter, tmp_path / "out")
    ours, theirs = load_file(tmp_path / "out" / "model.safetensors"), peft_merge(base, adapter)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-6, atol=1e-7)
    before = load_file(base / "model.safetensors")
    changed = {name for name, tensor in ours.items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in ours if name.split(".")[-2] in {"q_proj", "v_proj", "down_proj"}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop(f"{FIRST}.lora_magnitude_vector"), "lacks a magnitude"),
        (lambda tensors: tensors.update({f"{FIRST}.lora_magnitude_vector": torch.ones(3)}), "magnitude for"),
    ],
)
def test_h047_magnitudes_that_are_not_whole_are_refused(
    base: Path, damage: Callable[[dict[str, torch.Tensor]], None], message: str, tmp_path: Path
) -> None:
    adapter = tiny_adapter(base, tmp_path / "adapter", variant="dora")
    tensors = load_file(adapter / "adapter_model.safetensors")
    damage(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(Refused, match=message):
        merge(base, adapter, tmp_path / "out")
    with pytest.raises(ModelFileError, match="magnitude"):
        airlock.inspect_adapter(adapter)


def test_the_precision_of_the_base_is_kept(tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "base", precision="bfloat16")
    adapter = tiny_adapter(base, tmp_path / "adapter")
    merge(base, adapter, tmp_path / "out")
    ours, exact = load_file(tmp_path / "out" / "model.safetensors"), peft_merge(base, adapter)
    for name, tensor in ours.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, exact[name].bfloat16()), name


def test_a_base_in_several_files_is_merged_in_the_same_files(base: Path, adapter: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    LlamaForCausalLM.from_pretrained(base).save_pretrained(sharded, max_shard_size="60KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (sharded / name).write_bytes((base / name).read_bytes())
    merge(sharded, adapter, tmp_path / "out")
    merge(base, adapter, tmp_path / "whole")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    whole = load_model(tmp_path / "whole").state_dict()
    for name, tensor in load_model(tmp_path / "out").state_dict().items():
        assert torch.equal(tensor, whole[name])


def test_the_folder_is_complete_and_says_where_to_stop(base: Path, adapter: Path, tmp_path: Path) -> None:
    (base / "MANIFEST.json").write_text("{}")  # about the base's own files
    merge(base, adapter, tmp_path / "out", stop_ids=(0, 7))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {path.name for path in base.iterdir()} - {"MANIFEST.json"}
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    generation = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (0, [0, 7], 1)


def test_h020_an_adapter_of_another_shape_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = tiny_llama(tmp_path / "other", width=96)
    with pytest.raises(Refused, match="the base's is") as caught:
        merge(other, adapter, tmp_path / "out")
    assert caught.value.fix
    assert not (tmp_path / "out").exists()


def test_h020_an_adapter_for_more_layers_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = tiny_llama(tmp_path / "other", layers=1)
    with pytest.raises(Refused, match=r"layers\.1.*which the base does not have"):
        merge(other, adapter, tmp_path / "out")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ((f"{FIRST}.lora_A.weight",), "without its other half"),
        ((f"{FIRST}.lora_A.weight", f"{FIRST}.lora_B.weight"), "no tensors for .*layers.0.self_attn.q_proj"),
    ],
)
def test_h047_a_dropped_tensor_is_refused(
    lost: tuple[str, ...], message: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file({name: t for name, t in tensors.items() if name not in lost}, adapter / "adapter_model.safetensors")
    with pytest.raises(Refused, match=message):
        merge(base, adapter, tmp_path / "out")


def test_h047_a_target_without_any_tensor_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file({name: t for name, t in tensors.items() if "v_proj" not in name}, adapter / "adapter_model.safetensors")
    with pytest.raises(Refused, match="v_proj but holds no tensor"):
        merge(base, adapter, tmp_path / "out")


@pytest.mark.parametrize("renamed", [f"{FIRST}.lora_C.weight", "model.layers.0.self_attn.q_proj.lora_A.weight", "x"])
def test_h047_a_renamed_tensor_is_refused(renamed: str, base: Path, adapter: Path, tmp_path: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors[renamed] = tensors.pop(f"{FIRST}.lora_A.weight")
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(Refused, match="no half of a LoRA pair"):
        merge(base, adapter, tmp_path / "out")


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"fan_in_fan_out": True},
        {"rank_pattern": {"q_proj": 8}},
        {"some_future_variant": 1},
        {"bias": "all"},
        {"peft_type": "LOHA"},
        {"init_lora_weights": "pissa"},
        {"r": 8},
    ],
)
def test_h020_a_variant_we_would_merge_wrongly_is_refused(
    settings: dict[str, object], base: Path, adapter: Path, tmp_path: Path
) -> None:
    edit(adapter, **settings)
    with pytest.raises(Refused):
        merge(base, adapter, tmp_path / "out")


def test_h020_weights_that_overflow_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    edit(adapter, lora_alpha=1e42)
    with pytest.raises(Refused, match="infinite or not a number"):
        merge(base, adapter, tmp_path / "out")


@pytest.mark.parametrize("damage", ["adapter_config.json", "adapter_model.safetensors"])
def test_h011_an_unreadable_file_is_one_line(damage: str, base: Path, adapter: Path, tmp_path: Path) -> None:
    path = adapter / damage
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelFileError) as caught:
        merge(base, adapter, tmp_path / "out")
    assert "\n" not in caught.value.message
