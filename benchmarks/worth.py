"""What a base model was worth on tasks of others: every baseline on the same test rows, and the curve over rows.

    python -m benchmarks.worth                         banking77 (77 intents) and CUAD (10 types of clauses)
    python -m benchmarks.worth cuad --base foundling-code

Each task is an ordinary recipe, built in `runs/worth`; killed and run again it continues. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from basewright import path, store
from basewright.cli import show
from basewright.recipe import read
from basewright.records import Baseline, Built, Interval
from basewright.report import words
from basewright.store import Store
from benchmarks.choose import live_tasks

TASKS = {"banking77": "banking77", "cuad": "cuad10"}
RECIPE = """
name = "{name}"
[task]
data = "{name}.jsonl"
prompt = "{prompt}"
choose = 0.15
test = 0.25
shots = 3
[candidates]
models = ["{base}"]
[choose]
decides = "few-shot"             # one candidate: nothing is to be tuned for a choice
[tune]
examples = {examples}
micro_tokens = 1024
batch_tokens = 512
[prove]
forgetting = 5.0
[baselines]
curve = true
{encoder}
[ship]
formats = []
"""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worth")
    parser.add_argument("tasks", nargs="*", help="default: all")
    parser.add_argument("--base", default="foundling-prose")
    parser.add_argument("--encoder", default="foundling-encoder", help="empty for none")
    parser.add_argument("--examples", type=int, default=6000)
    given = parser.parse_args(arguments)
    for task in given.tasks or TASKS:
        built = build(task, given.base, given.encoder, given.examples)
        print("\n".join(told(task, built)), flush=True)


def build(task: str, base: str, encoder: str, examples: int) -> Built:
    folder = Path("runs/worth")
    folder.mkdir(parents=True, exist_ok=True)
    source = live_tasks.make(folder)[TASKS[task]]
    name = f"{task}-{base}"
    source.rename(folder / f"{name}.jsonl")
    named = f'encoder = "{encoder}"' if encoder else ""
    prompt = live_tasks.SOURCES[TASKS[task]].prompt.replace("\n", "\\n")
    recipe = folder / f"{name}.toml"
    text = RECIPE.format(name=name, prompt=prompt, base=base, examples=examples, encoder=named)
    store.write(recipe, text.encode())
    return path.build(read(recipe), folder, Store(folder.absolute() / "made"), show.Printed(quiet=False))


def told(task: str, built: Built) -> Iterator[str]:
    base, proof, found = built.choice.record.winner, built.proof.record, built.baselines.record
    rows = (
        f"{len(built.task.train):,} training rows, {len(built.task.labels)} labels, {len(built.task.test):,} test rows"
    )
    yield f"\n### {task}, {base}: {rows}\n"
    yield "| method | test rows right | the tuned base is ahead by | McNemar p |"
    yield "|---|---:|---:|---:|"
    yield f"| {base}, LoRA, tuned to write the label | {_share(proof.after.accuracy)} | | |"
    yield from (_row(one) for one in found.found)
    yield f"\n| training rows | {' | '.join(found.curve[-1].accuracy)} |"
    yield f"|---:|{'---:|' * len(found.curve[-1].accuracy)}"
    for point in found.curve:
        yield f"| {point.rows:,} | {' | '.join(_share(point.accuracy[name]) for name in found.curve[-1].accuracy)} |"
    yield ""
    yield from words.worth(built)
    yield from (f"Not measured: {why}" for why in found.skipped)


def _row(one: Baseline) -> str:
    gap = one.ahead.difference
    ahead = f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    return f"| {one.name} | {_share(one.accuracy)} | {ahead} | {one.ahead.p_value:.2g} |"


def _share(it: Interval) -> str:
    return f"{100 * it.value:.1f} % ({100 * it.low:.1f} to {100 * it.high:.1f})"


if __name__ == "__main__":
    main(sys.argv[1:])
