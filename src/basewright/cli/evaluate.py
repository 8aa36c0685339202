"""`basewright evaluate`: scores with intervals, on own tasks and on lm-evaluation-harness's benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show
from basewright.errors import UsageError

if TYPE_CHECKING:
    from basewright.engine.recall import RecalledLM
    from basewright.evaluate.explain import Change
    from basewright.records import How, Interval, Made, Scores
    from basewright.serve.artifact import Engine, Opened
    from basewright.store import Store

ANSWERS = "answers"
"""The folder of answers that are never computed again, beside the results."""
SHOWN_IDS = 24


@click.command()
@click.argument("model")
@click.argument("tasks", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--benchmarks", help="Names of lm-evaluation-harness's tasks or groups, with commas between.")
@click.option(
    "--definitions",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder of benchmark definitions of your own, as lm-evaluation-harness takes them.",
)
@click.option("--download", is_flag=True, help="Let benchmarks fetch datasets that are not on this machine.")
@click.option("--shots", type=click.IntRange(0), help="Solved examples in a benchmark's prompts, instead of its own.")
@click.option("--limit", type=click.IntRange(1), help="Score so many items of each task; marked partial.")
@click.option("--engine", type=click.Choice(["torch", "llama_cpp", "vllm"]), default="torch", show_default=True)
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True
)
@click.option("--endpoint", help="An OpenAI-style address that answers for MODEL, such as http://127.0.0.1:8000/v1.")
@click.option(
    "--tokenizer",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the endpoint's tokenizer.",
)
@click.option("--explain", is_flag=True, help="Also ask in other ways, and show how far each score moves.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True)
@show.runs_option
@show.json_option
def command(
    model: str,
    tasks: tuple[Path, ...],
    benchmarks: str | None,
    definitions: Path | None,
    download: bool,
    shots: int | None,
    limit: int | None,
    engine: Engine,
    precision: str,
    endpoint: str | None,
    tokenizer: Path | None,
    explain: bool,
    confidence: float,
    runs: Path,
    as_json: bool,
) -> None:
    """Score MODEL on TASKS (TOML files) and benchmarks. What was answered before is not computed again.

    \b
    basewright evaluate foundling-prose examples/tasks/tools.toml
    basewright evaluate foundling-prose --benchmarks lambada_openai --definitions my-tasks
    """
    from basewright.engine.recall import RecalledLM
    from basewright.evaluate import explain as explaining
    from basewright.evaluate import run as own
    from basewright.evaluate import task as own_tasks

    names = [name.strip() for name in (benchmarks or "").split(",") if name.strip()]
    if not tasks and not names:
        raise UsageError("there is nothing to score on", fix="name a task's TOML file, or --benchmarks")
    if download:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "0"
    loaded = [own_tasks.load(path) for path in tasks]
    store = show.open_store(runs)
    opened = _endpoint(endpoint, model, tokenizer) if endpoint else _artifact(model, store, engine, precision)
    lm = RecalledLM(opened.lm, opened.weights, store.root / ANSWERS)
    found, changes = [], {}
    for task in loaded:
        with show.progress(task.spec.name) as line:
            scores = own.run(lm, task, weights=opened.weights, confidence=confidence, limit=limit, progress=line)
            found.append(_keep(store, scores))
            if explain:
                changes[task.spec.name] = explaining.explain(
                    lm, task, confidence=confidence, limit=limit, progress=line
                )
    if names:
        found += _benchmarks(lm, names, opened.weights, shots, limit, definitions, confidence, store)
    plain = {"scores": [made.record for made in found], "ids": [made.id for made in found], "changes": changes}
    show.result(_text([made.record for made in found], changes), plain, as_json)
    show.hint(
        f"\n{lm.computed} answers computed, the others known. "
        f"basewright compare {opened.name} ANOTHER compares with a model scored on the same."
    )


def _artifact(model: str, store: Store, engine: Engine, precision: str) -> Opened:
    from basewright.serve.artifact import find, open_artifact

    return open_artifact(find(model, store), engine, precision, store)


def _endpoint(url: str, model: str, tokenizer: Path | None) -> Opened:
    from basewright.engine.remote import endpoint as remote
    from basewright.serve.artifact import Opened

    if tokenizer is None:
        raise UsageError(
            "an endpoint is asked in token ids", fix="--tokenizer FOLDER, the one that holds the model's tokenizer.json"
        )
    return Opened(remote.open_lm(url, model, tokenizer, model), model, f"{url} {model}")


def _benchmarks(
    lm: RecalledLM,
    names: Sequence[str],
    weights: str,
    shots: int | None,
    limit: int | None,
    definitions: Path | None,
    confidence: float,
    store: Store,
) -> list[Made[Scores]]:
    from basewright.evaluate.harness import run as harness

    with show.progress("benchmarks") as line:
        done = harness.run(
            lm,
            names,
            shots=shots,
            limit=limit,
            include=definitions,
            weights=weights,
            confidence=confidence,
            progress=line,
        )
    return [_keep(store, scores) for scores in done.scores]


def _keep(store: Store, scores: Scores) -> Made[Scores]:
    """In the store, under what was scored and how it came out: `compare` finds it there."""
    from basewright.records import Scores
    from basewright.store import digest

    about = {"model": scores.model, "task": scores.task, "version": scores.version, "how": scores.how}
    inputs = {**about, "result": digest([scores.metrics, scores.items])}
    return store.make("scores", inputs, Scores, lambda _: scores)[0]


# --- what people read -----------------------------------------------------------------------------


def _text(found: Sequence[Scores], changes: dict[str, list[Change]]) -> str:
    rows = [row for scores in found for row in _rows(scores)]
    parts = [show.table(rows, ("task", "metric", "score", "interval", "items", ""))]
    for name, changed in changes.items():
        parts.append(f"{name}, asked in other ways:\n" + show.table([_change(one) for one in changed], MOVED))
    parts.append(f"How, of {found[0].task}:\n" + how(found[0].how))
    return "\n\n".join(parts)


def _rows(scores: Scores) -> Iterator[tuple[str, ...]]:
    """The metrics of a task, and the main one of its parts."""
    notes = []
    if len(scores.items) < scores.expected:
        notes.append(f"PARTIAL: {len(scores.items)} of {scores.expected}")
    if scores.majority:
        notes.append(f"most frequent answer {scores.majority:.4f}")
    name, note = scores.task, "; ".join(notes)
    for metric, interval in scores.metrics.items():
        yield (name, *_figures(metric, interval), note)
        name = note = ""
    for part, metrics in scores.parts.items():
        yield (f"  {part}", *_figures(*next(iter(metrics.items()))), "")


def _figures(name: str, interval: Interval) -> tuple[str, str, str, str]:
    bounds = "-" if interval.high - interval.low > 1e300 else f"{interval.low:.4f} to {interval.high:.4f}"
    return name, f"{interval.value:.4f}", f"{bounds} ({interval.method})", str(interval.n)


MOVED = ("asked", "score", "moves by", "")


def _change(change: Change) -> tuple[str, str, str, str]:
    if change.score is None:
        return change.what, "-", "-", change.note
    moved = change.difference
    by = "" if moved is None else f"{moved.value:+.4f} [{moved.low:+.4f}, {moved.high:+.4f}]"
    return change.what, f"{change.score.value:.4f}", by, change.note


def how(made: How) -> str:
    """Everything that decides a score, and the first prompt with its white space made visible."""
    ids = " ".join(map(str, made.prompt_ids[:SHOWN_IDS])) + (" …" if len(made.prompt_ids) > SHOWN_IDS else "")
    facts = [
        ("engine", f"{made.engine}, {made.precision}"),
        ("weights", made.weights[:16]),
        ("shots", f"{made.shots} ({made.sampler})"),
        ("normalisation", made.normalisation),
        ("stops", " ".join(map(repr, made.stops)) or "none"),
        ("start tokens", str(made.bos)),
        ("cut prompts", str(made.cut)),
        ("prompts", f"hash {made.prompt_hash}; the first has {len(made.prompt_ids)} tokens: {ids}"),
    ]
    prompt = "\n".join(f"  | {line}" for line in made.prompt.replace(" ", "·").replace("\t", "→").split("\n"))
    return show.table([(f"  {name}", value) for name, value in facts], ("", "")).lstrip("\n") + "\n" + prompt
