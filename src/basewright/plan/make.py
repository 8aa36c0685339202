"""A plan: whether a job fits a machine, why, how long it takes, and what else would do."""

from __future__ import annotations

from basewright.plan import asking, memory, speed
from basewright.plan import ways as other
from basewright.plan.memory import MIB, TRAINING, WHOLE
from basewright.plan.model import Model
from basewright.records import Ask, Device, Machine, Memory, ModelCard, Plan, Term, Way

STORED = {"float32": 4, "bfloat16": 2, "float16": 2}
NAMES = {
    "weights": "the weights",
    "gradients": "gradients",
    "optimizer": "the optimizer",
    "activations": "activations",
    "kv_cache": "the KV cache",
    "logits": "logits",
    "fragmentation": "fragmentation",
    "runtime": "the libraries",
}


def make(card: ModelCard, machine: Machine, ask: Ask, budget: int | None = None) -> Plan:
    """Whether `ask` fits: its parts in bytes, its budget (of the recipe, else the free memory), and the reasons.

    Raises `UsageError` for a target that names no linear map of the model.
    """
    model, device = Model.of(card), asking.device_of(machine)
    limit = budget if budget is not None else machine.ram if device.kind == "cpu" else device.memory
    needed = memory.need(model, ask, device.kind)
    found = other.ways(model, ask, device, limit, card.context)
    disk = _disk(model, ask)
    reasons = [f"{ask.job} needs {mib(needed.memory.total)} of {mib(limit)}; {largest(needed.memory)}"]
    if needed.memory.total > limit:
        reasons.append(_advice(found))
    if machine.disk_free is not None and sum(term.bytes for term in disk) > machine.disk_free:
        size = mib(sum(term.bytes for term in disk))
        reasons.append(f"{size} of disk are needed and {mib(machine.disk_free)} are free: free some space")
    if ask.context > card.context:
        reasons.append(
            f"rows of {ask.context} tokens are longer than the model's context of {card.context}: shorten them"
        )
    return Plan(
        model=card.id,
        job=ask.job,
        precision=ask.precision,
        context=ask.context,
        micro_batch=memory.rows_at_once(ask),
        memory=needed.memory,
        budget=limit,
        disk=sum(term.bytes for term in disk),
        disk_free=machine.disk_free,
        fits=len(reasons) == 1,
        reasons=tuple(reasons),
        ask=ask,
        device=device.name,
        moment=needed.moment,
        accumulation=memory.accumulation(ask),
        terms=needed.terms,
        disk_terms=disk,
        speed=speed.speed(model, ask, device),
        ways=found,
        notes=tuple(_notes(model, ask, device)),
    )


def _disk(model: Model, ask: Ask) -> tuple[Term, ...]:
    """A copy of the weights as they are stored, and 5 % (`store.reserve`); of a training run two checkpoints and the
    one being written, each with what is trained and AdamW's two moments."""
    bits = memory.BITS.get(ask.quantization or "")
    stored = bits / 8 if bits and ask.job == "serve" else STORED.get(model.card.precision, 4)
    terms = [
        memory.product("weights", "weights as stored, and 5 %", parameters=model.parameters, bytes=stored, room=1.05)
    ]
    if ask.job in TRAINING:
        size, values = memory.step_bytes(ask), memory.trainable(model, ask)
        name = "three checkpoints, and 5 %"
        terms.append(
            memory.product("optimizer", name, three=3, trained_and_moments=3, values=values, bytes=size, room=1.05)
        )
    return tuple(terms)


def _notes(model: Model, ask: Ask, device: Device) -> list[str]:
    notes = []
    if not model.traits.measured:
        family = model.card.config.get("model_type")
        notes.append(f"what layers of {family} keep was not watched: they are taken to be like others of their shape")
    if device.kind != "cpu":
        notes.append("peaks were measured on CPUs only; context, workspace and fragmentation of a GPU are stated")
    if model.shape.experts and ask.rank:
        notes.append(
            "adapters sit on attention only: a layer's experts are one tensor, which PEFT's targets do not name"
        )
    if model.shape.experts and ask.job == "qlora":
        notes.append("stacked experts stay in their precision: bitsandbytes quantizes linear maps")
    if ask.job in WHOLE and ask.precision == "bfloat16":
        notes.append("AdamW's moments are bfloat16 too, as torch makes them for such weights")
    return notes


def largest(parts: Memory) -> str:
    name = max(NAMES, key=lambda part: getattr(parts, part))
    return f"the largest part is {NAMES[name]} with {mib(getattr(parts, name))}"


def _advice(found: tuple[Way, ...]) -> str:
    fitting = next((way for way in found if way.fits), None)
    if fitting:
        return f"{fitting.change} would need {mib(fitting.need)}: {fitting.option}"
    return "no way to run it here fits: take a smaller model, or more memory"


def mib(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"
