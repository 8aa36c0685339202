"""The tree mask against a plain forward pass, for every architecture it is used on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from basewright.engine import torch_lm
from basewright.engine.fake import bytes_tokenizer
from basewright.engine.lm import Request, Sampling
from basewright.engine.torch_lm import TorchLM

SHOT = "Text: it broke on day one\nLabel: bad\n\n"
REQUESTS = [
    Request(SHOT + "Text: lovely\nLabel:", (" good", " bad", " middling", " g")),
    Request(SHOT + "Text: fell apart at once\nLabel:", (" good", " bad")),
    Request(SHOT + "Text: ok", (" then",)),
    Request(SHOT, ("", "Text")),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


DIMS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 128}
LATENT = {
    "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 8,
    "moe_intermediate_size": 16, "first_k_dense_replace": 1,
}  # fmt: skip
ARCHITECTURES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "tree": [
        *((name, {}) for name in ("llama", "qwen2", "olmo", "olmo2", "olmo3", "stablelm", "smollm3", "granite")),
        *((name, {}) for name in ("cohere", "ernie4_5", "exaone4", "glm", "nemotron", "seed_oss", "arcee", "phi3")),
        *((name, {"head_dim": 8}) for name in ("gemma", "qwen3")),
        *((name, {"num_key_value_heads": 4}) for name in ("gpt_neox", "phi")),
        ("mistral", {"sliding_window": None, "head_dim": 8}),
        ("mistral", {"sliding_window": 8, "head_dim": 8}),
        ("starcoder2", {"sliding_window": 8}),
        ("cohere2", {"sliding_window": 8}),
        ("gemma2", {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}),
        ("gemma3_text", {"head_dim": 8, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}),
        ("gpt_oss", {**LOCAL_EXPERTS, "head_dim": 8, "sliding_window": 8}),
        ("mixtral", LOCAL_EXPERTS),
        ("granitemoe", LOCAL_EXPERTS),
        ("olmoe", EXPERTS),
        ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 16}),
        ("qwen3_moe", {**EXPERTS, "head_dim": 8}),
        ("deepseek_v2", LATENT),
        ("deepseek_v3", LATENT),
        ("gpt2", GPT2),
        ("gpt_bigcode", GPT2),
        ("gptj", {**GPT2, "rotary_dim": 4}),
        ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
        ("falcon", {"alibi": False, "new_decoder_architecture": True, "num_kv_heads": 2}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}),
    ],
    "prefix": [  # positions are biases on the attention scores, made from how far back a key is
        ("bloom", {"n_head": 4, "n_layer": 2}),
        ("falcon", {"alibi": True, "num_kv_heads": 4}),
        ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128, "expansion_ratio": 2}),
    ],
    "none": [  # states instead of keys and values
        ("mamba", {"state_size": 4}),
        ("rwkv", {"attention_hidden_size": 32}),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}),
        ("falcon_h1", {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "head_dim": 8}),
    ],
}


def tiny(model_type: str, **changes: Any) -> TorchLM:
    tokenizer = bytes_tokenizer()
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    config = AutoConfig.for_model(model_type, vocab_size=tokenizer.size, **{**DIMS, **special, **changes})
    torch.manual_seed(0)
    try:
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    except ValueError:  # architectures with plain attention code only
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return TorchLM(name=model_type, model=model.eval(), tokenizer=tokenizer)


def plain(lm: TorchLM, requests: list[Request]) -> list[tuple[float, ...]]:
    """Each continuation by one full forward pass over context and continuation, without `torch_lm`."""
    answers = []
    for request in requests:
        values = []
        for continuation in request.continuations:
            before = [lm.tokenizer.eos_id, *lm.tokenizer.ids(request.context.rstrip())]
            after = lm.tokenizer.ids(request.context[len(request.context.rstrip()) :] + continuation)
            with torch.inference_mode():
                logprobs = lm.model(input_ids=torch.tensor([before + after])).logits[0].log_softmax(-1)
            picked = [float(logprobs[len(before) - 1 + i, after[i]]) for i in range(len(after))]
            values.append(sum(picked) if continuation else 0.0)
        answers.append(tuple(values))
    return answers


@pytest.mark.parametrize(
    ("sharing", "model_type", "changes"),
    [(sharing, *one) for sharing, family in ARCHITECTURES.items() for one in family],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sharing_is_proven_on_the_model_and_changes_no_answer(
    sharing: str, model_type: str, changes: dict[str, Any]
) -> None:
    lm = tiny(model_type, **changes)
    assert lm.sharing == sharing
    found = [[one.nats for one in answer] for answer in lm.loglikelihood(REQUESTS)]
    for answer, expected in zip(found, plain(lm, REQUESTS), strict=True):
        assert answer == pytest.approx(expected, abs=1e-4)


def test_a_mask_that_leaks_is_found_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(batch: Any, prefix: int) -> Any:
        positions_BQ, mask_BQK = real(batch, prefix)
        return positions_BQ, mask_BQK | True

    real = torch_lm._tree_mask
    monkeypatch.setattr(torch_lm, "_tree_mask", leaking)
    assert tiny("llama").sharing == "prefix"


def test_angles_that_depend_on_the_longest_text_are_computed_alone() -> None:
    """Rotary scaling of Phi-3: a batch's longest text would turn the angles of all."""
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [3.0] * 4, "rope_theta": 10000.0}
    lm = tiny("phi3", rope_parameters=rope, original_max_position_embeddings=48)
    lengths = [len(request.context) for request in REQUESTS]
    assert min(lengths) < 44 < 52 < max(lengths)
    found = [[one.nats for one in answer] for answer in lm.loglikelihood(REQUESTS)]
    for answer, expected in zip(found, plain(lm, REQUESTS), strict=True):
        assert answer == pytest.approx(expected, abs=1e-4)


def test_many_batches_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("llama")
    together = lm.loglikelihood(REQUESTS)
    monkeypatch.setattr(lm, "_batch_tokens", 1)
    monkeypatch.setattr(torch_lm, "TILE", (3, 50))
    for found, expected in zip(lm.loglikelihood(REQUESTS), together, strict=True):
        assert [one.nats for one in found] == pytest.approx([one.nats for one in expected], abs=1e-4)


def test_generation_with_a_cache_is_generation_without() -> None:
    lm = tiny("llama")
    pieces = list(lm.generate("Text: lovely", Sampling(max_tokens=10)))
    ids = [lm.tokenizer.eos_id, *lm.tokenizer.ids("Text: lovely")]
    for token in (token for piece in pieces for token in piece.tokens):
        with torch.inference_mode():
            logprobs = lm.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        assert token.id == int(logprobs.argmax())
        assert token.logprob == pytest.approx(float(logprobs.max()), abs=1e-4)
        ids.append(token.id)


def test_progress_reaches_the_end() -> None:
    told: list[tuple[int, int]] = []
    tiny("llama").loglikelihood(REQUESTS, lambda _what, done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
