"""The stages of the walk. Each is `store.make` around one room's function: `inputs` holds everything that can change
the result, so a changed recipe re-runs what it touches and what follows from it, and nothing else."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from basewright import checks, machine
from basewright.catalog import cards
from basewright.data import task as tasks
from basewright.errors import BasewrightError, DataError, UsageError
from basewright.plan import fit, memory
from basewright.recipe import Recipe
from basewright.recipe import memory as stated_memory
from basewright.records import (
    Adapter,
    Certificate,
    Choice,
    Converted,
    Layout,
    LoraSettings,
    Made,
    ModelCard,
    Plans,
    Progress,
    Proof,
    Release,
    Scores,
    Task,
    TrainSettings,
    Weights,
)
from basewright.store import Store, Work
from basewright.text import layout as layouts

FIX_PROOF = (
    "give it more rows or examples, or accept it in the recipe ([prove] or [tune]), then run the same command again"
)
STAGES = ("read", "plan", "pull", "choose", "certify", "tune", "prove", "convert", "release")
PARITY_TEXTS = 24
"""Prompts of the task that conversions are compared on."""
R = TypeVar("R")


class Watch(Protocol):
    """Follows the walk: the command line prints it, tests collect it."""

    def progress(self, stage: str) -> AbstractContextManager[Progress]: ...
    def done(self, stage: str, note: str, cached: bool, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk of a recipe. `root` is what the recipe's relative paths start from."""

    recipe: Recipe
    root: Path
    store: Store
    watch: Watch
    fresh: set[str] = field(default_factory=set)
    """Ids that this walk made itself; all others were found."""

    # --- facts ---

    def read(self) -> Task:
        section = self.recipe.task
        with self._stage("read") as say:
            test = section.test if isinstance(section.test, float) else self.root / section.test
            task = tasks.make(
                self.recipe.name,
                self.root / section.data,
                choose=section.choose,
                test=test,
                layout=Layout(prompt=section.prompt, separator=section.separator),
                shots=section.shots,
            )
            say(
                f"{task.ledger.read} rows, {task.ledger.duplicates} duplicates; {len(task.labels)} labels; "
                f"{len(task.train)} to train, {len(task.choose)} to choose on, {len(task.test)} to test"
            )
        return task

    def plan(self) -> Plans:
        tune, candidates = self.recipe.tune, self.recipe.candidates
        with self._stage("plan") as say:
            if len(set(candidates.models)) != len(candidates.models):
                raise UsageError("[candidates].models names a model twice", fix="name each candidate once")
            here = machine.probe(_existing(self.store.root))
            plans = tuple(
                memory.make(
                    self._card(name),
                    here,
                    job="lora",
                    context=self._card(name).context,
                    micro_tokens=tune.micro_tokens,
                    rank=tune.rank,
                    targets=tuple(tune.targets),
                    budget=stated_memory(self.recipe.limits.memory),
                )
                for name in candidates.models
            )
            fitting = fit.require(Plans(plans=plans))
            fit.prepare(max(fitting.plans, key=lambda plan: plan.memory.total))
            left_out = [plan.model for plan in plans if plan not in fitting.plans]
            most = max(plan.memory.total for plan in fitting.plans)
            say(
                f"{len(fitting.plans)} of {len(plans)} candidates fit: at most {most / 2**20:,.0f} MiB of "
                f"{fitting.plans[0].budget / 2**20:,.0f}" + (f"; left out: {', '.join(left_out)}" if left_out else "")
            )
        return fitting

    def pull(self, plans: Plans) -> dict[str, Made[Weights]]:
        from basewright.hub import airlock, pull

        with self._stage("pull") as say:
            bases = {}
            for plan in plans.plans:
                card = self._card(plan.model)
                files = airlock.inspect(pull.locate(card))
                inputs = {"card": replace(card, location=""), "files": files}  # where it lay does not matter
                bases[plan.model] = self._make("pull", "weights", inputs, Weights, _puller(card), ())
            size = sum(entry.size for base in bases.values() for entry in base.record.files)
            say(f"{len(bases)} models, {size / 2**20:.1f} MiB through the airlock", *bases.values())
        return bases

    # --- evidence ---

    def choose(self, task: Task, plans: Plans, bases: Mapping[str, Made[Weights]]) -> Made[Choice]:
        from basewright.choose import best

        confidence = self.recipe.limits.confidence
        with self._stage("choose") as say:
            evidence = []
            for plan in plans.plans:
                base = bases[plan.model]
                few_shot = self._scores(task, "choose", base, None)
                pilot = self._adapter(
                    "choose", task, base, self._certificate(task, base), self._pilot_lora(), self.recipe.choose.examples
                )
                evidence.append(
                    best.Evidence(
                        model=plan.model,
                        parameters=base.record.card.parameters,
                        few_shot=few_shot.record,
                        pilot=self._scores(task, "choose", base, pilot).record,
                        pilot_examples=self.recipe.choose.examples,
                    )
                )
            choice = self._make(
                "choose",
                "choice",
                {"evidence": evidence, "confidence": confidence},
                Choice,
                lambda _, __: best.best(task.name, evidence, confidence),
                tuple(base.id for base in bases.values()),
            )
            best.require_winner(choice.record, self.recipe.choose.on_tie)
            say(_verdict(choice.record), choice)
        return choice

    def certify(self, task: Task, base: Made[Weights]) -> Made[Certificate]:
        with self._stage("certify") as say:
            made = self._certificate(task, base)
            record = made.record
            say(
                f"{record.rows} rows, {record.supervised_tokens} supervised tokens, {len(record.checks)} checks passed",
                made,
            )
        return made

    def tune(self, task: Task, base: Made[Weights], certificate: Made[Certificate]) -> Made[Adapter]:
        tune = self.recipe.tune
        with self._stage("tune") as say:
            lora = LoraSettings(rank=tune.rank, alpha=2.0 * tune.rank, targets=tuple(tune.targets))
            made = self._adapter("tune", task, base, certificate, lora, tune.examples)
            record = made.record
            say(
                f"{base.record.card.id}, LoRA rank {tune.rank}: {record.train.steps} steps, "
                f"loss {record.first_loss:.2f} → {record.last_loss:.2f}",
                made,
            )
        return made

    def prove(self, task: Task, base: Made[Weights], adapter: Made[Adapter]) -> Made[Proof]:
        from basewright.prove import after

        section = self.recipe.prove
        texts = after.general_texts(self.root / section.general if section.general else None)
        with self._stage("prove") as say:
            before, tuned = self._scores(task, "test", base, None), self._scores(task, "test", base, adapter)
            made = self._make(
                "prove",
                "proof",
                {"texts": texts, "forgetting": section.forgetting, "confidence": self.recipe.limits.confidence},
                Proof,
                lambda _, progress: after.prove(
                    before.record,
                    tuned.record,
                    _open(base, None),
                    _open(base, adapter),
                    texts,
                    allowed_forgetting=section.forgetting,
                    confidence=self.recipe.limits.confidence,
                    progress=progress,
                ),
                (before.id, tuned.id),
            )
            checks.require(made.record.checks, fix=FIX_PROOF)
            gain = made.record.gain.difference
            say(
                f"accuracy {before.record.accuracy.value:.1%} → {tuned.record.accuracy.value:.1%} on {gain.n} test "
                f"items (gain {gain.low:+.1%} to {gain.high:+.1%}); general text "
                f"{made.record.general_bits_before:.2f} → {made.record.general_bits_after:.2f} bits/byte",
                made,
            )
        return made

    # --- what is shipped ---

    def convert(self, task: Task, base: Made[Weights], adapter: Made[Adapter]) -> Made[Converted]:
        formats = tuple(self.recipe.ship.formats)
        texts = tuple(layouts.prompt(task.layout, item.text) for item in task.test[:PARITY_TEXTS])
        with self._stage("convert") as say:
            from basewright.convert import stage

            made = self._make(
                "convert",
                "converted",
                {"formats": formats, "texts": texts, "llama_cpp": importlib.util.find_spec("llama_cpp") is not None},
                Converted,
                lambda work, progress: stage.convert(base, adapter, formats, texts, work, progress),
                (base.id, adapter.id),
            )
            shapes = ", ".join(f"{a.format} {a.quantization} {a.size / 2**20:.1f} MiB" for a in made.record.artifacts)
            say("; ".join([shapes, *(f"skipped: {reason}" for reason in made.record.skipped)]), made)
        return made

    def release(
        self,
        task: Task,
        base: Made[Weights],
        certificate: Made[Certificate],
        adapter: Made[Adapter],
        proof: Made[Proof],
        choice: Made[Choice],
        converted: Made[Converted],
    ) -> Made[Release]:
        with self._stage("release") as say:
            from basewright.release import stage

            made = self._make(
                "release",
                "release",
                {"name": self.recipe.name, "task": task.version},
                Release,
                lambda work, _: stage.release(
                    self.recipe.name, base, adapter, proof, certificate, choice, converted, task, work
                ),
                (base.id, adapter.id, proof.id, certificate.id, choice.id, converted.id),
            )
            say(f"{len(made.record.files)} files, licence {made.record.licence}", made)
        return made

    # --- pieces that several stages share ---

    def _scores(
        self, task: Task, split: Literal["choose", "test"], base: Made[Weights], adapter: Made[Adapter] | None
    ) -> Made[Scores]:
        """The base few-shot, or the tuned model on the bare prompt."""
        from basewright.evaluate import classify

        name = base.record.card.id if adapter is None else f"{base.record.card.id} tuned"
        confidence = self.recipe.limits.confidence
        return self._make(
            "choose" if split == "choose" else "prove",
            "scores",
            {"task": task.name, "version": task.version, "split": split, "confidence": confidence},
            Scores,
            lambda _, progress: classify.run(
                _open(base, adapter),
                task,
                split,
                model=name,
                few_shot=adapter is None,
                weights=base.record.commit,
                confidence=confidence,
                progress=lambda what, done, total: progress(f"{what}, {name}", done, total),
            ),
            (base.id,) if adapter is None else (base.id, adapter.id),
        )

    def _certificate(self, task: Task, base: Made[Weights]) -> Made[Certificate]:
        """Certified before the first training step of any kind; a failed certificate stops the walk here."""
        from basewright.prove import certificate

        with _named("certify"):
            made = self._make(
                "certify",
                "certificate",
                {"task": task.version, "micro_tokens": self.recipe.tune.micro_tokens},
                Certificate,
                lambda _, __: certificate.certify(base, task, task.train, self.recipe.tune.micro_tokens),
                (base.id,),
            )
            checks.require(made.record.checks, fix="correct the rows that are named, then run the same command again")
        return made

    def _pilot_lora(self) -> LoraSettings:
        rank = self.recipe.choose.rank
        return LoraSettings(rank=rank, alpha=2.0 * rank, targets=tuple(self.recipe.tune.targets))

    def _adapter(
        self,
        stage: str,
        task: Task,
        base: Made[Weights],
        certificate: Made[Certificate],
        lora: LoraSettings,
        examples: int,
    ) -> Made[Adapter]:
        from basewright.text.tokenizer import open_tokenizer
        from basewright.train import tune

        knobs = self.recipe.tune
        rows = tune.examples(task.train, task.layout, open_tokenizer(base.folder / "model"))
        steps = tune.steps_for(rows, examples, knobs.micro_tokens, knobs.batch_tokens, knobs.seed)
        settings = TrainSettings(
            steps=steps,
            batch_tokens=knobs.batch_tokens,
            micro_tokens=knobs.micro_tokens,
            learning_rate=knobs.learning_rate,
            warmup=max(1, steps // 20),
            weight_decay=0.0,
            clip=1.0,
            seed=knobs.seed,
        )
        return self._make(
            stage,
            "adapter",
            {"task": task.version, "lora": lora, "train": settings},
            Adapter,
            lambda work, progress: tune.tune(
                base,
                certificate.record,
                task.train,
                task.layout,
                lora,
                settings,
                work,
                lambda what, done, total: progress(f"{what}, {base.record.card.id}", done, total),
            ),
            (base.id, certificate.id),
        )

    def _make(
        self,
        stage: str,
        kind: str,
        inputs: Mapping[str, Any],
        cls: type[R],
        maker: Callable[[Work, Progress], R],
        parents: tuple[str, ...],
    ) -> Made[R]:
        with self.watch.progress(stage) as progress:
            made, found = self.store.make(kind, inputs, cls, lambda work: maker(work, progress), parents=parents)
        if not found:
            self.fresh.add(made.id)
        return made

    def _card(self, name: str) -> ModelCard:
        card = cards.get(name, folder=self.root)
        stated = self.recipe.candidates.licence
        return replace(card, licence=stated) if stated and card.licence == "unknown" else card

    @contextmanager
    def _stage(self, stage: str) -> Iterator[Callable[..., None]]:
        clock = time.monotonic()

        def say(note: str, *made: Made[Any]) -> None:
            cached = bool(made) and not any(one.id in self.fresh for one in made)
            self.watch.done(stage, note, cached, time.monotonic() - clock)

        with _named(stage):
            yield say


@contextmanager
def _named(stage: str) -> Iterator[None]:
    """Errors say at which stage the walk stopped; the innermost stage wins."""
    try:
        yield
    except BasewrightError as error:
        error.stage = error.stage or stage
        raise
    except UnicodeDecodeError as error:
        named = DataError(f"a text file is not UTF-8: {error}", fix="save it as UTF-8")
        named.stage = stage
        raise named from error


def _open(base: Made[Weights], adapter: Made[Adapter] | None) -> Any:
    """The engine over a base, with its adapter if there is one."""
    from basewright.engine import torch_lm

    folder = base.folder / "model"
    if adapter is None:
        return torch_lm.open_lm(folder, base.record.card.id)
    return torch_lm.open_tuned(folder, adapter.folder / "adapter", f"{base.record.card.id} tuned")


def _puller(card: ModelCard) -> Callable[[Work, Progress], Weights]:
    from basewright.hub import pull

    return lambda work, _: pull.pull(card, work)


def _verdict(choice: Choice) -> str:
    scores = ", ".join(f"{s.model} {s.pilot.value:.1%} (few-shot {s.few_shot.value:.1%})" for s in choice.ranked)
    if choice.verdict == "winner":
        others = len(choice.ranked) - 1
        how = (
            f"separated from {others} other{'s' if others > 1 else ''} at {choice.confidence:.0%}"
            if others
            else "the only candidate"
        )
        return f"{choice.winner} wins, {how}: after pilots {scores}"
    return f"cannot separate {' and '.join(choice.tied)}, taking the cheapest, {choice.winner}: after pilots {scores}"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
