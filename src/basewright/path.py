"""The walk on one page: what is handed from stage to stage. Each stage is in `stages`, cached by what went in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

    def speeds(self) -> dict[str, float]:
        """Answers a second of each candidate, measured when it was asked."""
        named = "answers_per_second "
        measured = self.choice.stamp.measured
        return {key.removeprefix(named): speed for key, speed in measured.items() if key.startswith(named)}


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
    converted = walk.convert(task, base, adapter)
    release = walk.release(task, base, certificate, adapter, proof, choice, converted)
    return Built(task, plans, choice, certificate, adapter, proof, converted, release)
