"""How long a job takes: a roofline from arithmetic and bytes, times the share of it that was seen reached."""

from __future__ import annotations

from basewright.plan import memory
from basewright.plan.model import Model
from basewright.records import Ask, Device, Speed

LLAMA_3 = (0.40, "38 to 43 % reached by Llama 3's pretraining on H100 (arXiv:2407.21783, §3.3.2)")
OWN = (0.60, "0.54 to 0.71 reached by LoRA steps of 25 and 110 M parameters on one core (docs/tuning.md)")
GPT_FAST = (
    0.60,
    "69 % reached by compiled Llama 7B on A100, 17 % before (pytorch.org/blog/accelerating-generative-ai-2)",
)
ANSWER = 256
"""Tokens of an answer, where nothing else is said."""
ROWS = 1000
"""Rows of a job of tuning or evaluation, where nothing else is said."""
CHINCHILLA = 20
"""Tokens for each parameter that pretraining is planned with (Hoffmann et al. 2022, table 3)."""


def speed(model: Model, ask: Ask, device: Device) -> Speed | None:
    """None where the device's arithmetic or bandwidth is not known."""
    tokens = ask.tokens or _tokens(model, ask)
    peak = device.flops if ask.precision != "float32" and device.kind != "cpu" else device.flops_float32
    writes = ask.job in ("complete", "serve")
    if peak is None or device.bandwidth is None:
        return None
    efficiency, source = OWN if device.kind == "cpu" else GPT_FAST if writes else LLAMA_3
    work = flops_a_token(model, ask) / (peak * ask.devices)
    moved = _bytes_a_token(model, ask) / (device.bandwidth * ask.devices)
    seconds = max(work, moved) / efficiency
    return Speed(
        tokens_per_second=1 / seconds,
        bound="arithmetic" if work >= moved else "memory",
        efficiency=efficiency,
        source=source,
        tokens=tokens,
        seconds=tokens * seconds,
    )


def _tokens(model: Model, ask: Ask) -> int:
    if ask.job == "pretrain":
        return CHINCHILLA * model.parameters
    return ANSWER * ask.batch if ask.job in ("complete", "serve") else ROWS * ask.context


def flops_a_token(model: Model, ask: Ask) -> float:
    """Two for each parameter that multiplies a token (Kaplan et al. 2020, §2.1), and attention's two products over
    half the context; as often as the job goes through the model."""
    shape = model.shape
    looked_up = 0 if shape.tied else model.table
    pairs = ask.context / 2 if model.card.kind == "decoder" else ask.context
    forward = 2.0 * (model.card.active_parameters - looked_up) + 4.0 * shape.layers * model.queries * pairs
    return forward * passes(ask)


def passes(ask: Ask) -> float:
    """Times the arithmetic of a forward pass: gradients of activations cost one more, those of weights another."""
    if ask.job not in memory.TRAINING:
        return 1.0
    trained = 3.0 if ask.job in memory.WHOLE else 2.0
    reference = 1.0 if ask.job == "dpo" else 0.0
    return (trained + reference + (1.0 if ask.checkpointing else 0.0)) * (2.0 if ask.job == "dpo" else 1.0)


def _bytes_a_token(model: Model, ask: Ask) -> float:
    """Weights are read once for all tokens that are computed together; a token that is written also reads its cache."""
    bits = memory.BITS["nf4"] if ask.job == "qlora" else memory.BITS.get(ask.quantization or "", 0)
    size = bits / 8 or memory.SIZES[ask.precision]
    if ask.job in ("complete", "serve"):
        read = min(model.parameters, model.card.active_parameters * ask.batch) * size / ask.batch
        return (
            read + memory.kv_cache(model, ask.context, 1, 2 if ask.quantization else memory.SIZES[ask.precision]).bytes
        )
    return model.parameters * size * passes(ask) / ask.micro_tokens
