"""From what a person asks to a whole `Ask`, and from a device's name to a machine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

from basewright import machine
from basewright.catalog import devices
from basewright.errors import UsageError
from basewright.plan.memory import BITS, TRAINING, WHOLE
from basewright.records import Ask, Device, Job, Machine, ModelCard, PlanPrecision

HERE = "this"
CONTEXT = 2048
"""Tokens of a row, where nothing else is said and the model can take them."""
BATCH: dict[Job, int] = {"lora": 16, "qlora": 16, "full": 16, "pretrain": 64, "dpo": 8}
RANK = 16
EVALUATED = {"cpu": 512}
"""Tokens that the evaluating engine computes at once (`engine.torch_lm.BATCH_TOKENS`), and on a GPU."""
EVALUATED_GPU = 16_384
JOBS: tuple[Job, ...] = get_args(Job)


def machine_of(name: str, folder: Path, *, timed: bool = True) -> Machine:
    """This machine as it is now, `timed` with how fast it is, or one around a device of the table.

    Raises `UsageError` for an unknown name.
    """
    if name == HERE:
        here = machine.probe(folder)
        if not timed:
            return here
        cpu = here.devices[0]
        fast = replace(cpu, flops_float32=machine.arithmetic(here.cores), bandwidth=machine.copying())
        return replace(here, devices=(fast, *here.devices[1:]))
    facts = devices.device(name)
    stated = Device(
        kind=facts.kind,
        name=facts.name,
        memory=facts.usable,
        origin="stated",
        bandwidth=facts.bandwidth,
        flops=facts.flops,
        flops_float32=facts.flops_float32,
    )
    return Machine(devices=(stated,), cores=0, ram=facts.usable, disk_free=None)


def device_of(machine: Machine) -> Device:
    """What a job runs on: the last of the machine's devices."""
    return machine.devices[-1] if machine.devices else Device(kind="cpu", name="cpu", memory=machine.ram)


def ask(
    card: ModelCard,
    device: Device,
    job: Job,
    *,
    context: int | None = None,
    batch: int | None = None,
    micro_batch: int | None = None,
    precision: PlanPrecision | None = None,
    rank: int | None = None,
    targets: tuple[str, ...] = (),
    quantization: str | None = None,
    checkpointing: bool = False,
    attention: str = "flash",
    plain: bool = False,
    shards: int = 1,
    offload: bool = False,
    tokens: int | None = None,
) -> Ask:
    """The ask with a default for everything that was not said. Raises `UsageError` for what does not go together."""
    _check(card, job, quantization, rank, shards, offload)
    length = context or min(CONTEXT, card.context)
    rows = batch or BATCH.get(job, 1)
    at_once = min(micro_batch or 1, rows) * length
    if job == "evaluate" and not plain and card.kind == "decoder":
        at_once = EVALUATED.get(device.kind, EVALUATED_GPU)
    elif job not in TRAINING:
        rows = max(rows, micro_batch or 1)
        at_once = rows * length
    adapted = job in TRAINING and job not in WHOLE
    return Ask(
        job=job,
        context=length,
        micro_tokens=at_once,
        batch=rows,
        precision=precision or _precision(job, device),
        rank=(rank or RANK) if adapted else 0,
        targets=targets,
        quantization="nf4" if job == "qlora" else quantization,
        checkpointing=checkpointing,
        attention="math" if attention == "math" else "flash",
        plain=plain,
        devices=shards,
        offload=offload,
        tokens=tokens,
    )


def size_of(stated: str) -> int:
    """Bytes of a size such as 8GiB. Raises `UsageError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MiB|GiB|MB|GB)", stated.strip())
    if not found:
        raise UsageError(f"{stated!r} is no size", fix="write it like 8GiB or 500MB")
    return int(float(found[1]) * {"MiB": 2**20, "GiB": 2**30, "MB": 10**6, "GB": 10**9}[found[2]])


def _precision(job: Job, device: Device) -> PlanPrecision:
    """Float32 on a processor, as Basewright computes there; 16 bits elsewhere, with float32 weights for what trains
    all of them."""
    if device.kind == "cpu":
        return "float32"
    return "mixed" if job in WHOLE else "bfloat16"


def _check(card: ModelCard, job: Job, quantization: str | None, rank: int | None, shards: int, offload: bool) -> None:
    next_jobs = f"basewright plan {card.id} --job evaluate"
    if card.kind in ("image encoder", "recurrent", "hosted"):
        raise UsageError(
            f"{card.id} is of the kind {card.kind}, whose memory is not known here",
            fix=f"basewright catalog {card.id} says what is known of it",
        )
    if card.kind == "encoder" and job in ("complete", "serve", "dpo"):
        raise UsageError(f"{card.id} is an encoder: it does not write, so there is nothing to {job}", fix=next_jobs)
    if rank and (job in WHOLE or job not in TRAINING):
        raise UsageError(f"--rank is of an adapter, and {job} has none", fix=f"basewright plan {card.id} --job lora")
    if quantization and job != "serve":
        raise UsageError(
            f"--quantization is of served weights, and the job is {job}",
            fix=f"basewright plan {card.id} --job serve --quantization {quantization}",
        )
    if quantization and quantization not in BITS:
        raise UsageError(f"{quantization!r} is no known quantization", fix=f"choose among {', '.join(sorted(BITS))}")
    if (shards > 1 or offload) and job not in TRAINING:
        raise UsageError(f"--devices and --offload are of training, and the job is {job}", fix=next_jobs)
