"""`basewright plan`: whether a job fits a machine, why, how long it takes, and what else would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from basewright.cli import show
from basewright.records import Job, PlanPrecision

if TYPE_CHECKING:
    from basewright.records import ModelCard, Plan

JOBS = get_args(Job)
PRECISIONS = get_args(PlanPrecision)


@click.command()
@click.argument("model", required=False)
@click.option("--job", type=click.Choice(JOBS), default="lora", show_default=True)
@click.option("--machine", "name", default="this", show_default=True, help="A device, as h200, rtx-4090 or m3-24gb.")
@click.option("--context", type=click.IntRange(1), help="Tokens of the longest row [default: 2048, or all it takes].")
@click.option("--batch", type=click.IntRange(1), help="Rows of an optimizer step, or answered side by side.")
@click.option("--micro-batch", type=click.IntRange(1), help="Rows computed at once; a step accumulates them.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="[default: float32 on a CPU, else 16 bits]")
@click.option("--rank", type=click.IntRange(1), help="Of the adapter [default: 16].")
@click.option("--targets", default="", help="Linear maps with an adapter, with commas between [default: all].")
@click.option("--quantization", help="Of served weights: f16, q8_0 or q4_k_m.")
@click.option("--checkpointing", is_flag=True, help="Keep only what flows between layers.")
@click.option("--attention", type=click.Choice(["flash", "math"]), default="flash", show_default=True)
@click.option("--plain", is_flag=True, help="The step as transformers makes it: the logits of all positions at once.")
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, help="Sharded over so many (FSDP2).")
@click.option("--offload", is_flag=True, help="Weights wait in the memory of the processor.")
@click.option("--tokens", type=click.IntRange(1), help="Of the whole job, for its time.")
@click.option("--memory", help="What it may take, as 8GiB [default: all that is free].")
@click.option("--measure", is_flag=True, help="Make one step of the longest row, and compare.")
@show.json_option
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    job: Job,
    name: str,
    context: int | None,
    batch: int | None,
    micro_batch: int | None,
    precision: PlanPrecision | None,
    rank: int | None,
    targets: str,
    quantization: str | None,
    checkpointing: bool,
    attention: str,
    plain: bool,
    devices: int,
    offload: bool,
    tokens: int | None,
    memory: str | None,
    measure: bool,
    as_json: bool,
) -> None:
    """Say what JOB needs of MODEL on a machine, term by term. Exit code 69 says that it does not fit.

    \b
    basewright plan foundling-prose
    basewright plan llama-3-8b --job qlora --machine rtx-4090
    """
    from basewright.catalog import cards
    from basewright.plan import asking, words
    from basewright.plan import make as plans

    if model is None:
        show.result(_welcome(), {"jobs": JOBS}, as_json)
        show.hint("\nNext      basewright plan foundling-prose --job lora")
        return
    card = cards.get(model)
    machine = asking.machine_of(name, Path())
    ask = asking.ask(
        card,
        asking.device_of(machine),
        job,
        context=context,
        batch=batch,
        micro_batch=micro_batch,
        precision=precision,
        rank=rank,
        targets=tuple(word.strip() for word in targets.split(",") if word.strip()),
        quantization=quantization,
        checkpointing=checkpointing,
        attention=attention,
        plain=plain,
        shards=devices,
        offload=offload,
        tokens=tokens,
    )
    plan = plans.make(card, machine, ask, asking.size_of(memory) if memory else None)
    if measure:
        _measured(card, plan, as_json)
        return
    show.result(words.explained(plan), plan, as_json)
    _refuse(plan, _said(ctx))
    show.hint(f"\nNext      {_next(card, plan)}")


def _welcome() -> str:
    return (
        "basewright plan MODEL --job JOB [--machine DEVICE]\n\n"
        f"  jobs      {', '.join(JOBS)}\n"
        "  machines  this (as it is now), or a device of the table: h200, rtx-4090, m3-24gb …\n"
        "  models    any of the catalog, or a folder with a config.json"
    )


def _said(ctx: click.Context) -> str:
    """The options of this command line that another way does not change, as they would be typed again."""
    said = []
    for option in ctx.command.params:
        value = ctx.params[option.name or ""]
        typed = ctx.get_parameter_source(option.name or "") == click.core.ParameterSource.COMMANDLINE
        if isinstance(option, click.Option) and typed and option.name not in ("as_json", "measure"):
            said.append(option.opts[0] if option.is_flag else f"{option.opts[0]} {value}")
    return " ".join(said)


def _refuse(plan: Plan, said: str) -> None:
    from basewright.errors import DoesNotFit

    if plan.fits:
        return
    fitting = next((way for way in plan.ways if way.fits), None)
    fix = "take a smaller model: basewright catalog --fits lists them"
    if fitting:
        words = dict(_pairs(said)) | dict(_pairs(fitting.option))
        fix = " ".join(["basewright plan", plan.model, *[f"{name} {value}".strip() for name, value in words.items()]])
    raise DoesNotFit("; ".join(plan.reasons), fix=fix)


def _pairs(options: str) -> list[tuple[str, str]]:
    """(option, value) of a command line; flags have none."""
    found = [part.split(maxsplit=1) for part in options.split("--") if part.strip()]
    return [(f"--{words[0]}", words[1].strip() if len(words) > 1 else "") for words in found]


def _measured(card: ModelCard, plan: Plan, as_json: bool) -> None:
    """A dry run in a process of its own, with a model that has passed the airlock."""
    from basewright.hub import airlock, pull
    from basewright.plan import words
    from basewright.train import dry

    folder = pull.locate(card)
    airlock.inspect(folder)
    found = dry.run(plan, folder)
    show.result(words.compared(found), found, as_json)
    show.hint("\nNext      basewright build RECIPE.toml plans again before it tunes")


def _next(card: ModelCard, plan: Plan) -> str:
    if card.location.startswith("hub:"):
        return f"basewright pull {card.location.removeprefix('hub:')}"
    if plan.job in ("complete", "evaluate", "serve"):
        return f"basewright complete {plan.model} 'Once upon a time'"
    return f"basewright plan {plan.model} --job {plan.job} --measure   one step, really made"
