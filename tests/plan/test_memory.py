from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from basewright.catalog import cards
from basewright.catalog.shape import parameters_from_shape
from basewright.data.pack import pack
from basewright.errors import UsageError
from basewright.plan import memory
from basewright.records import Device, Machine, Shape
from basewright.text.encode import Encoded
from basewright.train import attention, losses

MIB = 2**20
TINY = Shape(layers=2, width=16, heads=4, kv_heads=2, head_dim=4, feed_forward=32, vocabulary=100, tied=True)
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PROSE = cards.get("foundling-prose")

shapes = st.builds(
    Shape,
    layers=st.integers(1, 40),
    width=st.sampled_from([64, 512, 2048]),
    heads=st.sampled_from([4, 8, 16]),
    kv_heads=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([32, 64, 128]),
    feed_forward=st.sampled_from([128, 1408, 8192]),
    vocabulary=st.sampled_from([512, 32000, 128256]),
    tied=st.booleans(),
)
jobs = st.sampled_from(["evaluate", "lora"])
targets = st.lists(st.sampled_from(ALL), unique=True).map(tuple)


def machine_of(ram: int = 2**34, disk: int = 2**40) -> Machine:
    return Machine(devices=(Device(kind="cpu", name="cpu", memory=ram),), cores=2, ram=ram, disk_free=disk)


def llama(shape: Shape) -> Any:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config).float()


def tuned(model: Any, names: tuple[str, ...], rank: int) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return get_peft_model(model, LoraConfig(r=rank, lora_alpha=8, target_modules=list(names)))


# --- values -------------------------------------------------------------------------------------------


def test_a_token_of_kv_cache_by_hand() -> None:
    assert memory.kv_cache(TINY, context=1, rows=1) == 2 * 2 * 2 * 4 * 4  # K and V, layers, kv heads, head dim, bytes


@given(shapes, st.integers(1, 10_000), st.integers(1, 64))
def test_kv_cache_is_linear_in_context_and_rows(shape: Shape, context: int, rows: int) -> None:
    assert memory.kv_cache(shape, context, rows) == context * rows * memory.kv_cache(shape, 1, 1)


def test_the_parts_of_a_lora_run_by_hand() -> None:
    need = memory.memory(TINY, "lora", 8, 8, rank=3, targets=("q_proj", "down_proj"))
    adapter = 2 * 3 * ((16 + 16) + (32 + 16))
    assert memory.trainable(TINY, 3, ("q_proj", "down_proj")) == adapter
    assert need.weights == 4 * (parameters_from_shape(TINY) + adapter)
    assert need.gradients == 4 * adapter
    assert need.optimizer == 8 * adapter
    assert need.kv_cache == 0
    kept = 2 * 16 + 2 * 16 + 2 * 8 + 3 * 32 + 2 + 4  # residuals, q and out, k and v, gate silu up, norms, heads
    kept += 16 + 32 + 2 * 3  # inputs of the adapters on q and on down, and what is between their halves
    once = 2 * 4 + 3 * 16
    assert need.activations == 4 * 8 * (2 * kept + once + 3 * 100)


def test_long_rows_hold_the_logits_of_one_chunk_only() -> None:
    assert memory.CHUNK == losses.CHUNK
    short, long = (memory.memory(PROSE.shape, "lora", 512, tokens).activations for tokens in (2048, 4096))
    assert long < 2 * short


@pytest.mark.parametrize("names", [("q_proj", "v_proj"), ALL])
def test_trainable_is_what_peft_makes(names: tuple[str, ...]) -> None:
    model = tuned(llama(TINY), names, rank=3)
    made = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert memory.trainable(TINY, 3, names) == made


@pytest.mark.parametrize("names", [("q_proj", "v_proj"), ("q_proj", "down_proj"), ALL])
def test_h053_what_autograd_keeps_is_what_the_plan_says(names: tuple[str, ...]) -> None:
    """All tensors that a real forward saves, each storage once; the plan also has what a step holds on top of it."""
    torch.set_num_threads(1)
    shape = Shape(layers=3, width=64, heads=4, kv_heads=2, head_dim=16, feed_forward=160, vocabulary=96, tied=True)
    tokens, length, rank = 512, 64, 4
    attention.install()
    model = llama(shape)
    model.set_attn_implementation(attention.NAME)
    model = tuned(model, names, rank).train()
    ids = np.random.default_rng(0).integers(0, shape.vocabulary, (tokens // length, length)).tolist()
    row = pack([Encoded(tuple(one), (True,) * length) for one in ids])
    held = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = losses.next_token(model, row)
    need = memory.memory(shape, "lora", length, tokens, rank=rank, targets=names)
    on_top = 4 * 6 * tokens * shape.feed_forward  # more than the logits of this vocabulary
    logits = 4 * tokens * shape.vocabulary
    kept = sum(saved.values()) - logits
    assert loss.requires_grad
    assert 1.0 <= (need.activations - on_top) / kept < 1.1


# --- order --------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(shapes, jobs, st.integers(1, 4096), st.integers(1, 16384), st.integers(1, 64), targets)
def test_more_of_anything_never_needs_less(
    shape: Shape, job: memory.Job, context: int, tokens: int, rank: int, names: tuple[str, ...]
) -> None:
    need = memory.memory(shape, job, context, tokens, rank=rank, targets=names)
    bigger = (
        memory.memory(shape, job, context + 100, tokens, rank=rank, targets=names),
        memory.memory(shape, job, context, tokens + 100, rank=rank, targets=names),
        memory.memory(shape, job, context, tokens, rank=rank + 1, targets=names),
        memory.memory(shape, job, context, tokens, rank=rank, targets=ALL),
    )
    for other in bigger:
        assert other.total >= need.total
        assert min(getattr(other, part) for part in ("weights", "activations", "kv_cache", "optimizer")) >= 0


@given(shapes, jobs, st.integers(64, 4096), st.integers(64, 16384), st.integers(2**28, 2**36))
def test_fits_means_within_the_budget(shape: Shape, job: memory.Job, context: int, tokens: int, budget: int) -> None:
    card = replace(PROSE, shape=shape, context=10**6)
    plan = memory.make(card, machine_of(), job=job, context=context, micro_tokens=tokens, budget=budget)
    assert plan.fits == (plan.memory.total <= budget)
    assert plan.budget == budget
    assert len(plan.reasons) == (1 if plan.fits else 2)


# --- reasons ------------------------------------------------------------------------------------------


def test_without_a_limit_the_budget_is_the_free_memory() -> None:
    plan = memory.make(PROSE, machine_of(ram=700 * MIB), job="evaluate", context=512, micro_tokens=4096)
    assert plan.budget == 700 * MIB
    assert plan.fits
    assert "the largest part is" in plan.reasons[0]


@given(st.integers(445 * MIB, 4096 * MIB))
def test_the_advice_of_a_plan_that_does_not_fit_is_true(budget: int) -> None:
    plan = memory.make(
        PROSE, machine_of(), job="lora", context=256, micro_tokens=32768, rank=8, targets=ALL, budget=budget
    )
    assume(not plan.fits)
    found = re.match(r"\[tune\]\.micro_tokens = (\d+)", plan.reasons[1])
    if found is None:
        assert "smaller model" in plan.reasons[1]
        assert memory.memory(PROSE.shape, "lora", 64, 64, rank=8, targets=ALL).total > budget
    else:
        tokens = int(found[1])
        assert memory.memory(PROSE.shape, "lora", min(256, tokens), tokens, rank=8, targets=ALL).total <= budget
        assert memory.memory(PROSE.shape, "lora", 256, 2 * tokens, rank=8, targets=ALL).total > budget


def test_h030_a_plan_counts_the_disk() -> None:
    plan = memory.make(PROSE, machine_of(disk=MIB), job="lora", context=256, micro_tokens=1024, rank=8, targets=ALL)
    checkpoints = 3 * 12 * memory.trainable(PROSE.shape, 8, ALL)
    assert plan.disk == int(1.05 * (2 * PROSE.parameters + checkpoints))
    assert not plan.fits
    assert "disk" in plan.reasons[1]


def test_rows_longer_than_the_model_sees_do_not_fit() -> None:
    plan = memory.make(PROSE, machine_of(), job="evaluate", context=PROSE.context + 1, micro_tokens=4096)
    assert not plan.fits
    assert "context of 1024" in plan.reasons[-1]


def test_an_unknown_target_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'q_proj'") as caught:
        memory.make(PROSE, machine_of(), job="lora", context=8, micro_tokens=8, rank=1, targets=("qproj",))
    assert "down_proj" in caught.value.fix


def test_evaluation_that_does_not_fit_asks_for_shorter_rows() -> None:
    plan = memory.make(PROSE, machine_of(), job="evaluate", context=1024, micro_tokens=4096, budget=600 * MIB)
    found = re.match(r"rows of at most (\d+) tokens would need", plan.reasons[1])
    assert found
    assert memory.memory(PROSE.shape, "evaluate", int(found[1]), 4096).total <= 600 * MIB
