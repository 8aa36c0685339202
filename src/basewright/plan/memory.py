"""The memory of a job in closed form, on a CPU in float32. Each term says its formula; nothing is measured here.

Checked against the peak of real runs by `benchmarks/plan_memory.py`. It is what a process needs that gives freed
memory back at once; where there is room, one that keeps it is faster (`plan.fit.prepare`). While a model is loaded
the pages of its file are resident too; they are not counted: the kernel takes them back before it runs out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from basewright.catalog.shape import linears, parameters_from_shape
from basewright.errors import UsageError, nearest
from basewright.records import Machine, Memory, ModelCard, Plan, Shape

Job = Literal["evaluate", "lora"]
MIB = 2**20
FLOAT = 4
"""Bytes of a value: every stored precision is computed in float32."""
STORED = {"float32": 4, "bfloat16": 2, "float16": 2}
CHUNK = 2048
"""Positions whose logits exist at a time in training (`train.losses.CHUNK`)."""
OWN_TOKENS = 64
"""Tokens that an evaluated row has of its own, beyond the prefix all rows share; shorter ones need more memory."""
RUNTIME = 430 * MIB
"""Resident before any weight: torch 2.13 (CPU), transformers 5.23, peft 0.21, scipy, pydantic, rich, and one step of
a model of 0.1 M parameters: 428 MiB by `python benchmarks/plan_memory.py runtime`."""


def make(
    card: ModelCard,
    machine: Machine,
    *,
    job: Job,
    context: int,
    micro_tokens: int,
    rank: int = 0,
    targets: tuple[str, ...] = (),
    budget: int | None = None,
) -> Plan:
    """Whether `job` fits: its parts in bytes, its budget (of the recipe, else the free memory), and the reasons.

    `context` is the longest row in tokens and `micro_tokens` what is computed at once: a packed row of training, a
    batch of evaluation. Raises `UsageError` for a target that names no linear map of the model.
    """
    limit = machine.ram if budget is None else budget
    need = partial(memory, card.shape, job, rank=rank, targets=targets)
    parts = need(context, micro_tokens)
    disk = _disk(card, job, rank, targets)
    reasons = [f"{job} needs {_mib(parts.total)} of {_mib(limit)}; {_largest(parts)}"]
    if parts.total > limit:
        reasons.append(_advice(need, job, context, micro_tokens, limit))
    if disk > machine.disk_free:
        reasons.append(f"{_mib(disk)} of disk are needed and {_mib(machine.disk_free)} are free: free some space")
    if context > card.context:
        reasons.append(f"rows of {context} tokens are longer than the model's context of {card.context}: shorten them")
    return Plan(
        model=card.id,
        job=job,
        precision="float32",
        context=context,
        micro_batch=rows_at_once(job, context, micro_tokens),
        memory=parts,
        budget=limit,
        disk=disk,
        disk_free=machine.disk_free,
        fits=len(reasons) == 1,
        reasons=tuple(reasons),
    )


def memory(
    shape: Shape, job: Job, context: int, micro_tokens: int, *, rank: int = 0, targets: tuple[str, ...] = ()
) -> Memory:
    """The parts of the peak, in bytes. A LoRA run adds its matrices, their gradients and AdamW's two moments."""
    weights = FLOAT * parameters_from_shape(shape)
    if job == "evaluate":
        return Memory(
            weights=weights,
            gradients=0,
            optimizer=0,
            activations=_evaluation(shape, context, micro_tokens),
            kv_cache=kv_cache(shape, context, rows_at_once(job, context, micro_tokens)),
            runtime=RUNTIME,
        )
    adapter = FLOAT * trainable(shape, rank, targets)
    return Memory(
        weights=weights + adapter,
        gradients=adapter,
        optimizer=2 * adapter,
        activations=_training(shape, micro_tokens, rank, targets),
        kv_cache=0,
        runtime=RUNTIME,
    )


# --- weights --------------------------------------------------------------------------------------


def trainable(shape: Shape, rank: int, targets: tuple[str, ...]) -> int:
    """Values of a LoRA adapter: rank x (inputs + outputs) of each target in each layer (Hu et al. 2021, §4.1)."""
    maps = linears(shape)
    for target in targets:
        if target not in maps:
            raise UsageError(
                f"the target {target!r} names no linear map of the model; {nearest(target, maps)}",
                fix=f"choose [tune].targets among {', '.join(maps)}",
            )
    return shape.layers * sum(rank * sum(maps[target]) for target in targets)


def kv_cache(shape: Shape, context: int, rows: int) -> int:
    """Keys and values: 2 x layers x kv_heads x head_dim x context x rows x 4 bytes."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * context * rows * FLOAT


# --- activations ----------------------------------------------------------------------------------


def rows_at_once(job: Job, context: int, micro_tokens: int) -> int:
    """Rows computed together. Evaluated rows share a prefix, which each of them holds a copy of in the cache."""
    return max(1, micro_tokens // (OWN_TOKENS if job == "evaluate" else context))


def _training(shape: Shape, tokens: int, rank: int, targets: tuple[str, ...]) -> int:
    """What autograd keeps of a packed row of N tokens, and the most that comes on top of it for a moment.

    Kept in each layer, in values a token, D width, F feed-forward, Q = heads x head_dim, K = kv_heads x head_dim
    (seen with `torch.autograd.graph.saved_tensors_hooks`): the two residuals, 2 D; queries, keys, values and the
    output of attention, 2 Q + 2 K; gate, its SiLU and up, 3 F; the inverse deviations of two norms and the
    log-sum-exp of each head, 2 + heads; for the adapters their inputs (one for q, k, v together, one for gate and
    up), and `rank` for each. Frozen maps keep no input. Once: cosines and sines, 2 x head_dim, and the last hidden
    states, 3 D (before the norm, after, and the supervised ones).

    On top comes the larger of: logits, their log-softmax and its gradient, 3 x vocabulary for a chunk of positions;
    or the gradients within one layer's feed-forward, 6 F.
    """
    layer = 2 * shape.width + 2 * _heads(shape) + 2 * _kv_heads(shape) + 3 * shape.feed_forward + 2 + shape.heads
    groups = ({"q_proj", "k_proj", "v_proj"}, {"o_proj"}, {"gate_proj", "up_proj"}, {"down_proj"})
    inputs = (shape.width, _heads(shape), shape.width, shape.feed_forward)
    layer += sum(size for group, size in zip(groups, inputs, strict=True) if group & set(targets))
    layer += rank * len(targets)
    kept = tokens * (shape.layers * layer + 2 * shape.head_dim + 3 * shape.width)
    logits = 3 * min(tokens, CHUNK) * shape.vocabulary
    return FLOAT * (kept + max(logits, 6 * tokens * shape.feed_forward))


def _evaluation(shape: Shape, context: int, micro_tokens: int) -> int:
    """The most that one layer, or the output, needs at a time; nothing is kept.

    The larger of: attention under a tree mask (keys and values repeated for all heads and once more while the cache
    grows, queries before and after rotation and the output, the mask as bool and as float); the feed-forward, 4 F and
    2 D a token; logits and log-softmax of one text as long as the context, 3 x vocabulary a token.
    """
    rows = rows_at_once("evaluate", context, micro_tokens)
    attention = 2 * rows * context * (_heads(shape) + _kv_heads(shape)) + micro_tokens * (
        3 * _heads(shape) + shape.width
    )
    mask = 5 * micro_tokens * context
    feed_forward = micro_tokens * (4 * shape.feed_forward + 2 * shape.width)
    logits = 3 * context * shape.vocabulary
    return max(FLOAT * attention + mask, FLOAT * feed_forward, FLOAT * logits)


def _heads(shape: Shape) -> int:
    return shape.heads * shape.head_dim


def _kv_heads(shape: Shape) -> int:
    return shape.kv_heads * shape.head_dim


# --- disk and reasons -----------------------------------------------------------------------------


def _disk(card: ModelCard, job: Job, rank: int, targets: tuple[str, ...]) -> int:
    """A copy of the weights as they are stored, and 5 % (`store.reserve`); a tuning run's two checkpoints and the one
    being written, each with the adapter and AdamW's two moments."""
    copy = parameters_from_shape(card.shape) * STORED[card.precision]
    checkpoints = 3 * 3 * FLOAT * trainable(card.shape, rank, targets) if job == "lora" else 0
    return int(1.05 * (copy + checkpoints))


def _largest(need: Memory) -> str:
    parts = {
        "the weights": need.weights,
        "gradients": need.gradients,
        "the optimizer": need.optimizer,
        "activations": need.activations,
        "the KV cache": need.kv_cache,
        "the libraries": need.runtime,
    }
    name = max(parts, key=lambda part: parts[part])
    return f"the largest part is {name} with {_mib(parts[name])}"


def _advice(need: Callable[[int, int], Memory], job: Job, context: int, micro_tokens: int, limit: int) -> str:
    """The first halving of the work done at once that fits: of packed rows in training, of the longest row else."""
    longest, at_once = context, micro_tokens
    while (at_once if job == "lora" else longest) >= 128:
        if job == "lora":
            at_once //= 2
            longest = min(longest, at_once)
        else:
            longest //= 2
        total = need(longest, at_once).total
        if total <= limit:
            ways = [f"[tune].micro_tokens = {at_once}"] if job == "lora" else []
            ways += [f"rows of at most {longest} tokens"] if longest < context else []
            return f"{' with '.join(ways)} would need {_mib(total)}"
    return "shorter rows would not fit either: take a smaller model, or more memory"


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"
