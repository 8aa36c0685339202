"""Choosing on live models: the chooser's answer and cost against tuning every candidate fully, with three seeds.

    python -m benchmarks.choose.live FOLDER [TASK ...]

Candidates are the Foundlings and stories260K, a model others trained; the tasks are those of `live_tasks`. Work lies in
FOLDER and is found again there, so that a run that was stopped continues. About ten minutes a task on two cores.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from tests.convert.stories260k import stories260k

from basewright import path, recipe
from basewright.errors import BasewrightError
from basewright.making import Maker
from basewright.panel import Panel
from basewright.records import Choice, Dropped, Made, Progress, Task, Weights, record, silent
from basewright.stages import Walk
from basewright.store import Store
from benchmarks.choose import live_tasks

SEEDS = 3
FULL = 2000
"""Training examples of a full tuning, which the pilots are to foretell."""
PILOT = 800
LIMITS = {"4 GiB": ("4 GiB", None), "4 GiB, 2,800 examples": ("4 GiB", 2800), "480 MiB": ("480 MiB", None)}
"""Memory, and training examples that all pilots together may see: two ladders. 480 MiB hold stories260K only."""
RECIPE = """
name = "{task}"
[task]
data = "{task}.jsonl"
prompt = {prompt}
choose = 0.25
test = 0.3
shots = 0
[candidates]
models = ["foundling-prose", "foundling-code", "./stories260K"]
licence = "MIT"
[limits]
memory = "{memory}"
{budget}
[choose]
examples = {pilot}
rank = 8
[tune]
examples = {full}
rank = 8
micro_tokens = 512
batch_tokens = 256
learning_rate = 5e-3
"""


class Quiet:
    def progress(self, stage: str) -> AbstractContextManager[Progress]:
        return nullcontext(silent)

    def done(self, stage: str, note: str, cached: bool, seconds: float) -> None:
        print(f"  {stage} {seconds:.0f}s {note}", file=sys.stderr, flush=True)


@record
class Row:
    task: str
    limit: str
    best: str
    """The highest mean accuracy on `test` after full tunings."""
    full: dict[str, float]
    """That accuracy, by candidate."""
    choice: Choice
    classical: str

    @property
    def regret(self) -> float:
        return self.full[self.best] - self.full[self.choice.winner]


def measure(folder: Path, names: list[str]) -> list[Row]:
    """Every task under every limit. Raises as the walk does."""
    live_tasks.make(folder)
    if not (folder / "stories260K").is_dir():
        stories260k(folder / "stories260K")
    rows = []
    for name in names:
        for limit in LIMITS:
            print(name, limit, file=sys.stderr, flush=True)
            rows.append(row(folder, name, limit))
            print(line(rows[-1]), flush=True)
    return rows


def row(folder: Path, name: str, limit: str) -> Row:
    memory, budget = LIMITS[limit]
    source = folder / f"{name}.toml"
    prompt = '"' + live_tasks.SOURCES[name].prompt.replace("\n", "\\n") + '"'
    stated = f"examples = {budget}" if budget else ""
    text = RECIPE.format(task=name, prompt=prompt, memory=memory, budget=stated, pilot=PILOT, full=FULL)
    source.write_text(text, "utf-8")
    store = Store(folder / "runs")
    chosen = path.choose(recipe.read(source), folder, store, Quiet())
    full = exhaustive(Walk(recipe.read(source), folder, store, Quiet()), chosen.choice.record)
    choice = chosen.choice.record
    classical = [one for one in choice.ranked if one.kind == "classical" and one.score]
    strongest = max(classical, key=lambda one: one.score.value if one.score else 0.0)
    assert strongest.score is not None
    return Row(
        task=name,
        limit=limit,
        best=max(full, key=full.__getitem__),
        full=full,
        choice=choice,
        classical=f"{strongest.model} {100 * strongest.score.value:.1f}",
    )


def exhaustive(walk: Walk, choice: Choice) -> dict[str, float]:
    """Mean accuracy on the test items over `SEEDS` full tunings of each candidate that can take part."""
    task = walk.read()
    plans = walk.plan()
    bases = walk.pull(plans)
    able = [one.model for one in choice.ranked if one.kind == "base model" and _able(one.dropped)]
    panel = _panel(walk, replace(task, choose=task.test), bases, able)
    places = range(len(task.test))
    return {
        model: fmean(one.correct for seed in range(SEEDS) for one in panel.answer(model, FULL, seed, places))
        for model in able
    }


def _able(dropped: Dropped | None) -> bool:
    return dropped is None or dropped.at not in ("plan", "certificate")


def _panel(maker: Maker, task: Task, bases: dict[str, Made[Weights]], able: list[str]) -> Panel:
    certificates = {model: maker.certificate(task, bases[model]) for model in able}
    return Panel(
        maker=maker,
        task=task,
        bases=bases,
        certificates=certificates,
        rank=8,
        open_at_once=2,
    )


def line(one: Row) -> str:
    """A row of the table in docs/choose.md."""
    choice, models = one.choice, len(one.full)
    outcome = "winner" if choice.verdict == "winner" else f"tie of {len(choice.tied)}"
    outcome = outcome if models > 1 else "the only one that fits"
    spent, all_examples = choice.spent, models * SEEDS * FULL
    full = ", ".join(f"{name.removeprefix('foundling-')} {100 * value:.1f}" for name, value in one.full.items())
    return (
        f"| {one.task} | {one.limit} | {full} | {choice.winner} ({outcome}) | {100 * one.regret:.1f} | "
        f"{spent.examples:,} of {all_examples:,} ({spent.examples / all_examples:.0%}) | {one.classical} |"
    )


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        measure(folder, sys.argv[2:] or ["banking12", "cuad10", "pubmedqa", "safety", "contract-clauses"])
    except BasewrightError as error:
        sys.exit(f"{error.message}\n{error.fix}")


if __name__ == "__main__":
    main()
