"""The gate passes what is right and names what is wrong (H019, H020)."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basewright.checks import require
from basewright.convert import gguf_writer, hard_strings, parity
from basewright.convert.gguf_writer import Quantization, to_gguf
from basewright.convert.readers import has_llama_cpp
from basewright.convert.stage import prove
from basewright.engine.torch_lm import TorchLM, load_model, open_lm
from basewright.errors import ModelFileError, Refused
from basewright.records import Check
from tests.convert import faults
from tests.models import TEXTS, tiny_llama

torch.set_num_threads(1)
needs_llama_cpp = pytest.mark.skipif(not has_llama_cpp(), reason="llama-cpp-python is not here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(folder: Path) -> TorchLM:
    return open_lm(folder, "tiny")


@pytest.fixture(scope="module")
def right(folder: Path) -> Path:
    to_gguf(folder, folder / "right.gguf", "f16", {"name": "tiny"})
    return folder / "right.gguf"


@pytest.fixture
def gguf(right: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copy(right, tmp_path / "a.gguf"))


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.how for check in checks if not check.passed}


# --- what is right passes -------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", ["f16", "q8_0"])
@pytest.mark.parametrize(("tied", "bos"), [(True, True), (False, False)])
def test_h019_a_right_file_passes(quantization: Quantization, tied: bool, bos: bool, tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "model", tied=tied, bos=bos)
    to_gguf(folder, tmp_path / "a.gguf", quantization, {})
    checks = parity.through_transformers(tmp_path / "a.gguf", open_lm(folder, "tiny"), TEXTS)
    assert failed(checks) == {}
    assert [check.name.split(": ")[1] for check in checks] == [
        "tensors",
        "start token",
        "token ids",
        "divergence",
        "greedy agreement",
    ]
    assert 0 < checks[-2].value < checks[-2].limit


@pytest.mark.gguf
@needs_llama_cpp
@pytest.mark.parametrize("quantization", ["f16", "q8_0"])
@pytest.mark.parametrize(("tied", "bos"), [(True, True), (False, False)])
def test_h019_a_right_file_passes_through_llama_cpp(
    quantization: Quantization, tied: bool, bos: bool, tmp_path: Path
) -> None:
    folder = tiny_llama(tmp_path / "model", tied=tied, bos=bos)
    to_gguf(folder, tmp_path / "a.gguf", quantization, {})
    checks = parity.through_llama_cpp(tmp_path / "a.gguf", open_lm(folder, "tiny"), TEXTS)
    assert checks is not None
    assert failed(checks) == {}


def test_divergence_is_kl_in_nats(trained: TorchLM, folder: Path) -> None:
    """Against the formula, on two models that differ."""
    other = load_model(folder)
    other.model.norm.weight.data *= 1.02
    checks = parity.merged(trained, TorchLM(name="other", model=other, tokenizer=trained.tokenizer), TEXTS[:1])
    ids = torch.tensor([[trained.tokenizer.bos_id, *trained.tokenizer.ids(TEXTS[0])]])
    with torch.inference_mode():
        p, q = (torch.distributions.Categorical(logits=m(ids).logits.double()) for m in (trained.model, other))
    kl = torch.distributions.kl_divergence(p, q)
    assert checks[0].value == pytest.approx(float(kl.mean()), rel=1e-6)
    assert f"over {ids.numel()} positions" in checks[0].how


def test_near_ties_are_left_out_and_counted(trained: TorchLM) -> None:
    checks = parity.merged(trained, trained, TEXTS)
    assert checks[1].value == 1.0
    counted, near = (int(part.split()[0]) for part in checks[1].how.removeprefix("share of ").split("the other "))
    assert counted > near > 0


# --- faults ---------------------------------------------------------------------------------------


def test_h019_a_wrong_rope_base_is_named(gguf: Path, trained: TorchLM) -> None:
    faults.set_key(gguf, "llama.rope.freq_base", 500000.0)
    assert "llama.rope.freq_base is 500000.0, the trained model has 10000.0" in parity.header(gguf, trained).how
    checks, _ = prove(gguf, trained, TEXTS)
    with pytest.raises(Refused, match=r"rope\.freq_base is 500000"):
        require(checks, "convert again")
    assert "f16 through transformers: divergence" in failed(parity.through_transformers(gguf, trained, TEXTS))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.attention.head_count_kv", 4),
        ("llama.attention.layer_norm_rms_epsilon", 1e-5),
        ("llama.context_length", 64),
        ("tokenizer.ggml.eos_token_id", 5),
        ("tokenizer.ggml.add_bos_token", 0),
        ("tokenizer.ggml.pre", b"llama"),
        ("general.architecture", b"gemma"),
    ],
)
def test_h019_a_wrong_fact_is_named(key: str, value: float | bytes, gguf: Path, trained: TorchLM) -> None:
    if isinstance(value, bytes):
        value = value.ljust(len(faults.texts(gguf, key)), b"x")
    faults.set_key(gguf, key, value)
    check = parity.header(gguf, trained)
    assert not check.passed
    assert f"first: {key} is " in check.how


def test_h019_a_lost_start_token_is_named(gguf: Path, trained: TorchLM) -> None:
    faults.set_key(gguf, "tokenizer.ggml.add_bos_token", 0)
    wrong = failed(parity.through_transformers(gguf, trained, TEXTS))
    assert "'a' is [66], for the trained model [0, 66]" in wrong["f16 through transformers: start token"]


def test_h019_a_broken_merge_is_named(gguf: Path, trained: TorchLM) -> None:
    """Its two halves change places: transformers does not find what they make, llama.cpp (below) splits otherwise."""
    key = "tokenizer.ggml.merges"
    left, right = faults.texts(gguf, key)[0].split(" ")
    faults.set_text(gguf, key, 0, f"{right} {left}")
    wrong = failed(parity.through_transformers(gguf, trained, TEXTS))
    assert f"`{right}{left}` out of vocabulary" in wrong["f16 through transformers: it opens"]


def test_h019_two_merges_in_the_wrong_order_are_named(gguf: Path, trained: TorchLM) -> None:
    key = "tokenizer.ggml.merges"
    merges = faults.texts(gguf, key)
    one = next(i for i, merge in enumerate(merges) if len(merge) == len(merges[0]) and merge[0] == merges[0][-1])
    faults.set_text(gguf, key, 0, merges[one])
    faults.set_text(gguf, key, one, merges[0])
    assert "f16 through transformers: token ids" in failed(parity.through_transformers(gguf, trained, ("quiet",)))


@pytest.mark.parametrize("name", ["blk.1.ffn_down.weight", "blk.0.attn_norm.weight", "token_embd.weight"])
def test_h019_one_perturbed_tensor_is_named(name: str, gguf: Path, trained: TorchLM) -> None:
    faults.tensor(gguf, name)[0] += 0.25
    wrong = failed(parity.through_transformers(gguf, trained, TEXTS))
    ours = next(ours for ours, theirs in _names(trained).items() if theirs == name)
    assert wrong["f16 through transformers: tensors"].endswith(ours)


def test_h019_one_value_that_is_not_a_number_is_named(gguf: Path, trained: TorchLM) -> None:
    faults.tensor(gguf, "blk.1.ffn_up.weight")[3, 4] = np.nan
    checks = parity.through_transformers(gguf, trained, TEXTS)
    assert failed(checks)["f16 through transformers: tensors"].endswith("layers.1.mlp.up_proj.weight")
    assert "f16 through transformers: divergence" in failed(checks)
    assert math.isnan(checks[0].value)


def test_h019_rows_that_were_not_permuted_are_named(
    folder: Path, trained: TorchLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_writer, "_interleave", lambda rows, _heads: rows)
    to_gguf(folder, tmp_path / "a.gguf", "f16", {})
    assert parity.header(tmp_path / "a.gguf", trained).passed
    wrong = failed(parity.through_transformers(tmp_path / "a.gguf", trained, TEXTS))
    assert "_proj.weight" in wrong["f16 through transformers: tensors"]
    assert "f16 through transformers: divergence" in wrong


def test_h019_swapped_tensors_are_named(gguf: Path, trained: TorchLM) -> None:
    up, gate = faults.tensor(gguf, "blk.0.ffn_up.weight"), faults.tensor(gguf, "blk.0.ffn_gate.weight")
    up[:], gate[:] = gate.copy(), up.copy()
    assert (
        "layers.0.mlp" in failed(parity.through_transformers(gguf, trained, TEXTS))["f16 through transformers: tensors"]
    )


def test_h009_a_cut_file_goes_no_further(gguf: Path, trained: TorchLM) -> None:
    whole = gguf.read_bytes()
    for size in (len(whole) - 1, len(whole) - 32, len(whole) // 2, 1000):
        gguf.write_bytes(whole[:size])
        with pytest.raises(ModelFileError, match=r"cut off|ends inside"):
            prove(gguf, trained, TEXTS)


def test_a_reader_that_fails_is_a_failed_check(gguf: Path, trained: TorchLM) -> None:
    faults.set_key(gguf, "general.architecture", b"xxxxx")
    wrong = failed(parity.through_transformers(gguf, trained, TEXTS))
    assert "f16 through transformers: it opens" in wrong
    assert "\n" not in wrong["f16 through transformers: it opens"]


# --- the same faults through llama.cpp ------------------------------------------------------------


def _rope(path: Path) -> None:
    faults.set_key(path, "llama.rope.freq_base", 500000.0)


def _start(path: Path) -> None:
    faults.set_key(path, "tokenizer.ggml.add_bos_token", 0)


def _merge(path: Path) -> None:
    first = faults.texts(path, "tokenizer.ggml.merges")[0]
    faults.set_text(path, "tokenizer.ggml.merges", 0, "".join(reversed(first)))


def _pre(path: Path) -> None:
    faults.set_key(path, "tokenizer.ggml.pre", b"xxx-2")


def _tensor(path: Path) -> None:
    faults.tensor(path, "blk.1.ffn_down.weight")[:] *= 1.25


@pytest.mark.gguf
@needs_llama_cpp
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (_rope, "divergence"),
        (_start, "start token"),
        (_merge, "token ids"),
        (_pre, "it opens"),
        (_tensor, "divergence"),
    ],
)
def test_h019_faults_through_llama_cpp(fault: Callable[[Path], None], name: str, gguf: Path, trained: TorchLM) -> None:
    fault(gguf)
    checks = parity.through_llama_cpp(gguf, trained, TEXTS)
    assert checks is not None
    assert f"f16 through llama.cpp: {name}" in failed(checks)


# --- hard strings ---------------------------------------------------------------------------------


def test_hard_strings_walk_every_token_and_are_always_the_same(trained: TorchLM) -> None:
    strings = list(hard_strings.texts(trained.tokenizer))
    assert strings == list(hard_strings.texts(trained.tokenizer))
    walked = {i for text in strings for i in trained.tokenizer.ids(text)}
    control = {trained.tokenizer.bos_id, trained.tokenizer.pad_id}
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}  # bytes that UTF-8 does not have
    assert len(set(range(trained.tokenizer.size)) - control - walked) == len(never)


def _names(trained: TorchLM) -> dict[str, str]:
    from basewright.convert import architectures

    config: Any = trained.model.config
    return architectures.tensors(config)
