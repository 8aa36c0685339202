"""What a tuned model needs when it is used: bytes and arithmetic, from its shape alone."""

from __future__ import annotations

from basewright.plan import memory
from basewright.plan.model import Model
from basewright.records import Cost, ModelCard

WRITTEN = ("f16", "q8_0")
"""The types of GGUF that `convert` writes."""
CACHE = 2
"""Bytes of a cached key or value: float16, as llama.cpp keeps them."""


def costs(card: ModelCard, prompt: int, answer: int) -> tuple[Cost, ...]:
    """For a prompt and an answer of so many tokens, at each quantization that `convert` writes."""
    model = Model.of(card)
    return tuple(_cost(model, name, prompt, answer) for name in WRITTEN)


def flops(model: Model, prompt: int, answer: int) -> float:
    """Two for each value of each matrix and token (Kaplan et al. 2020, §2.1), and attention's two products,
    4 x layers x heads x head_dim for each pair of a token and one it sees. The embedding is looked up, not
    multiplied; the output projection is multiplied once for each token of the answer."""
    total = prompt + answer
    tables = model.table * (1 if model.shape.tied else 2)
    pairs = total * (total + 1) / 2
    attention = 4.0 * model.shape.layers * model.queries * pairs
    return 2.0 * (model.card.active_parameters - tables) * total + attention + 2.0 * model.table * answer


def _cost(model: Model, quantization: str, prompt: int, answer: int) -> Cost:
    """Memory is the weights and the cache of one sequence; what the program itself takes is not counted."""
    weights = int(model.parameters * memory.BITS[quantization] / 8)
    cache = memory.kv_cache(model, prompt + answer, 1, CACHE).bytes
    return Cost(quantization=quantization, memory=weights + cache, disk=weights, flops=flops(model, prompt, answer))
