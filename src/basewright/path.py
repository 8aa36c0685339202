"""The walk on one page: what is handed from stage to stage. Each stage is in `stages`, cached by what went in."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from basewright import store
from basewright.making import Watch
from basewright.recipe import Recipe
from basewright.records import Built, Choice, Made, Plans, Task
from basewright.stages import Walk
from basewright.store import Store


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is made on the way to a choice."""

    task: Task
    plans: Plans
    choice: Made[Choice]


def choose(recipe: Recipe, root: Path, store: Store, watch: Watch) -> Chosen:
    """Walk a recipe as far as the choice. A tie is an answer."""
    walk = Walk(recipe, root, store, watch)
    task = walk.read()
    plans = walk.plan()
    return Chosen(task, plans, walk.choose(task, plans, walk.pull(plans)))


def build(recipe: Recipe, root: Path, store: Store, watch: Watch) -> Built:
    """Walk a recipe from candidates to a release. `root` is what its relative paths start from.

    Stops at the first stage that cannot be proven: the error names the stage, the reason and the next command.
    """
    walk = Walk(recipe, root, store, watch)
    task = walk.read()
    plans = walk.plan()
    bases = walk.pull(plans)
    choice = walk.choose(task, plans, bases)
    walk.require_winner(choice)
    base = bases[choice.record.winner]
    certificate = walk.certify(task, base)
    adapter = walk.tune(task, base, certificate)
    proof = walk.prove(task, base, adapter)
    baselines = walk.baselines(task, base, certificate, adapter)
    converted = walk.convert(task, base, adapter)
    release = walk.release(task, base, certificate, adapter, proof, choice, converted)
    return Built(task, plans, choice, certificate, adapter, proof, baselines, converted, release)


def report(built: Built, recipe: Recipe, command: str, where: Path) -> Path:
    """Write the report of a walk beside its results, in `where`; `command` is what makes it again."""
    from basewright.report import page

    written = where / f"{recipe.name}-report.html"
    html = page.render(
        built,
        command=command,
        measured=speeds(built.choice),
        price_per_hour=recipe.limits.price_per_hour,
        versions=versions(),
    )
    store.write(written, html.encode())
    return written


def speeds(choice: Made[Choice]) -> dict[str, float]:
    """Answers a second of each candidate, measured when it was asked."""
    named = "answers_per_second "
    return {key.removeprefix(named): speed for key, speed in choice.stamp.measured.items() if key.startswith(named)}


def versions() -> dict[str, str]:
    """Of Python and the libraries that numbers depend on."""
    names = ("basewright", "torch", "transformers", "tokenizers", "peft", "numpy", "scikit-learn")
    return {"Python": platform.python_version()} | {name: metadata.version(name) for name in names}
