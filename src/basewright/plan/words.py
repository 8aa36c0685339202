"""A plan in words: every term with its formula and with its numbers, then time, and what else would do."""

from __future__ import annotations

import textwrap

from basewright.records import Dry, Plan, Term, Way

PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "logits": "logits",
    "kv_cache": "KV cache",
    "fragmentation": "fragmentation",
    "runtime": "runtime",
}
INDENT = " " * 15
WIDTH = 92


def explained(plan: Plan) -> str:
    """The whole plan."""
    verdict = "fits" if plan.fits else "does not fit"
    lines = [f"{plan.model} · {plan.job} on {plan.device}: {verdict}", *asked(plan), ""]
    for part, name in PARTS.items():
        terms = [term for term in plan.terms if term.part == part]
        if terms:
            lines.append(f"{name:<14} {size(sum(term.bytes for term in terms)):>10}")
            lines += [line for term in terms for line in _term(term)]
    lines += [
        f"{'total':<14} {size(plan.memory.total):>10}  of {size(plan.budget)}"
        + (f", when {plan.moment}" if plan.moment else ""),
        f"{'disk':<14} {size(plan.disk):>10}"
        + (f"  of {size(plan.disk_free)} free" if plan.disk_free is not None else ""),
        *[line for term in plan.disk_terms for line in _term(term)],
        "",
        *timed(plan),
        *_ways(plan),
        *[f"Note: {note}" for note in plan.notes],
    ]
    if not plan.fits:
        lines += ["", *[f"- {reason}" for reason in plan.reasons]]
    return "\n".join(lines)


def asked(plan: Plan) -> list[str]:
    """What the plan is for."""
    ask = plan.ask
    if ask is None:
        return []
    words = [f"{plan.context:,} tokens", f"{plan.micro_batch} rows at once", plan.precision]
    if plan.accumulation > 1:
        words.append(f"{plan.accumulation} micro-batches a step")
    words += [f"rank {ask.rank}"] if ask.rank else []
    words += [ask.quantization] if ask.quantization else []
    words += [f"{ask.attention} attention"]
    words += ["checkpointing"] if ask.checkpointing else []
    words += [f"{ask.devices} devices"] if ask.devices > 1 else []
    words += ["offload"] if ask.offload else []
    return [" · ".join(words)]


def _term(term: Term) -> list[str]:
    lines = textwrap.wrap(f"{term.name}: {term.formula}", WIDTH, subsequent_indent="  ")
    lines += textwrap.wrap(f"= {term.filled}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    head = f"{INDENT}{size(term.bytes):>10}  "
    return [head + lines[0], *[f"{INDENT}{'':>10}  {line}" for line in lines[1:]]]


def timed(plan: Plan) -> list[str]:
    """The roofline in a sentence."""
    speed = plan.speed
    if speed is None:
        return ["time           unknown: the arithmetic or bandwidth of this device is not known"]
    rate = f"{speed.tokens_per_second:,.0f} tokens/s, bound by {speed.bound}"
    return [
        f"time           {clock(speed.seconds)} for {speed.tokens:,} tokens: {rate}",
        f"{INDENT}an estimate: {speed.efficiency:.0%} of the device's peak; {speed.source}",
    ]


def _ways(plan: Plan) -> list[str]:
    if not plan.ways:
        return []
    return ["", "What fits" if plan.fits else "Other ways", *[_way(way, plan.budget) for way in plan.ways]]


def _way(way: Way, budget: int) -> str:
    mark = "fits" if way.fits else f"{size(way.need - budget)} too much"
    return f"  {size(way.need):>10}  {way.change} ({mark})\n{'':14}{way.option}\n{'':14}price: {way.price}"


def compared(dry: Dry) -> str:
    """A dry run beside its plan."""
    off = dry.predicted / dry.measured - 1
    return (
        f"measured       {size(dry.measured):>10}  above the state after imports, in one step of the longest row\n"
        f"predicted      {size(dry.predicted):>10}  ({off:+.1%})\n"
        f"corrected      {size(dry.need):>10}  of {size(dry.plan.budget)}: {'fits' if dry.fits else 'does not fit'}\n"
        f"speed          {dry.tokens / dry.seconds:>10,.0f}  tokens/s in that step"
    )


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def clock(seconds: float) -> str:
    """Seconds in the unit a person would say."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} seconds"
