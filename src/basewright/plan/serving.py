"""What a tuned model needs when it is used: bytes and arithmetic, from its shape alone."""

from __future__ import annotations

from basewright.catalog.shape import linears, parameters_from_shape
from basewright.records import Cost, Shape

BITS = {"f16": 16.0, "q8_0": 8.5}
"""Bits a value of a matrix takes; q8_0 stores a float16 scale with every 32 values (ggml, `block_q8_0`)."""
CACHE = 2
"""Bytes of a cached key or value: float16, as llama.cpp keeps them."""


def costs(shape: Shape, prompt: int, answer: int) -> tuple[Cost, ...]:
    """For a prompt and an answer of so many tokens, at each quantization that `convert` writes."""
    return tuple(_cost(shape, name, prompt, answer) for name in BITS)


def flops(shape: Shape, prompt: int, answer: int) -> float:
    """Two for each value of each matrix and token (Kaplan et al. 2020, §2.1), and attention's two products,
    4 x layers x heads x head_dim for each pair of a token and one it sees. The embedding is looked up, not
    multiplied; the output projection is multiplied once for each token of the answer."""
    total = prompt + answer
    maps = shape.layers * sum(inputs * outputs for inputs, outputs in linears(shape).values())
    pairs = total * (total + 1) / 2
    attention = 4.0 * shape.layers * shape.heads * shape.head_dim * pairs
    return 2.0 * maps * total + attention + 2.0 * shape.width * shape.vocabulary * answer


def _cost(shape: Shape, quantization: str, prompt: int, answer: int) -> Cost:
    """Memory is the weights and the cache of one sequence; what the program itself takes is not counted."""
    weights = int(parameters_from_shape(shape) * BITS[quantization] / 8)
    cache = 2 * shape.layers * shape.kv_heads * shape.head_dim * (prompt + answer) * CACHE
    return Cost(quantization=quantization, memory=weights + cache, disk=weights, flops=flops(shape, prompt, answer))
