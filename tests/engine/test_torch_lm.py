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


def tiny(model_type: str, **changes: Any) -> TorchLM:
    tokenizer = bytes_tokenizer()
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    dims: dict[str, Any] = {
        "vocab_size": tokenizer.size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4 if model_type in ("gpt_neox", "phi") else 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        **({"head_dim": 8} if model_type in ("gemma", "qwen3", "mistral", "llama") else {}),
        **({"sliding_window": None} if model_type == "mistral" else {}),
        **special,
        **changes,
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **dims), attn_implementation="sdpa")
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


SHARED: dict[str, tuple[str, dict[str, Any]]] = {"llama": ("llama", {})}


def test_many_batches_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("llama")
    together = lm.loglikelihood(REQUESTS)
    monkeypatch.setattr(torch_lm, "BATCH_TOKENS", 1)
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
