"""The stages of the walk. Each is `store.make` around one room's function: `inputs` holds everything that can change
the result, so a changed recipe re-runs what it touches and what follows from it, and nothing else."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from basewright import checks
from basewright.catalog.architectures import targets
from basewright.choosing import Chooser
from basewright.convert.architectures import KNOWN
from basewright.data import task as tasks
from basewright.making import Maker, named, naming, open_lm
from basewright.plan import asking, fit
from basewright.recipe import memory as stated_memory
from basewright.records import (
    LORA_NAMES,
    Adapter,
    Ask,
    Baselines,
    Certificate,
    Choice,
    Converted,
    Layout,
    Machine,
    Made,
    ModelCard,
    Plan,
    Plans,
    Proof,
    Release,
    Task,
    Weights,
)
from basewright.text import layout as layouts
from basewright.worth import Worth

FIX_PROOF = (
    "give it more rows or examples, or accept it in the recipe ([prove] or [tune]), then run the same command again"
)
STAGES = ("read", "plan", "pull", "choose", "certify", "tune", "prove", "baselines", "convert", "release")
PARITY_TEXTS = 24
"""Prompts of the task that conversions are compared on."""


@dataclass(frozen=True, slots=True)
class Walk(Maker):
    """One walk of a recipe, stage by stage."""

    # --- facts ---

    def read(self) -> Task:
        section = self.recipe.task
        with self.stage("read") as say:
            test = section.test if isinstance(section.test, float) else self.root / section.test
            task = tasks.make(
                self.recipe.name,
                self.root / section.data,
                columns=(section.text, section.label),
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
        """Every candidate's plan, those that cannot take part with the reason."""
        with self.stage("plan") as say:
            here = asking.machine_of(asking.HERE, self.store.root)
            plans = Plans(plans=tuple(self._planned(card, here) for card in self.candidates().values()))
            fitting = fit.require(plans)
            fit.prepare(max(fitting.plans, key=lambda plan: plan.memory.total))
            left_out = [plan.model for plan in plans.plans if not plan.fits]
            most = max(plan.memory.total for plan in fitting.plans)
            say(
                f"{len(fitting.plans)} of {len(plans.plans)} candidates fit: at most {most / 2**20:,.0f} MiB of "
                f"{fitting.plans[0].budget / 2**20:,.0f}" + (f"; left out: {', '.join(left_out)}" if left_out else "")
            )
        return plans

    def _planned(self, card: ModelCard, here: Machine) -> Plan:
        tune, licences = self.recipe.tune, self.recipe.candidates.licences
        ask = Ask(
            job="lora",
            context=card.context,
            micro_tokens=tune.micro_tokens,
            batch=max(1, tune.batch_tokens // card.context),
            rank=tune.rank,
            targets=targets(card.config, tune.targets),
            directed=tune.method == "dora",
        )
        plan = fit.of_recipe(card, here, ask, stated_memory(self.recipe.limits.memory))
        if licences and card.licence not in licences:
            reason = f"its licence, {card.licence}, is not among {', '.join(licences)}: add it to [candidates].licences"
            plan = replace(plan, fits=False, reasons=(*plan.reasons, reason))
        if self.recipe.ship.formats and card.config["model_type"] not in KNOWN:
            reason = f"GGUF is written for {', '.join(KNOWN)} models only: set [ship].formats = [] to ship it without"
            plan = replace(plan, fits=False, reasons=(*plan.reasons, reason))
        return plan

    def pull(self, plans: Plans) -> dict[str, Made[Weights]]:
        with self.stage("pull") as say:
            fitting = fit.require(plans).plans
            if self.recipe.candidates.pull:
                self._fetch([plan.model for plan in fitting])
            cards = self.candidates()
            bases = {plan.model: self.weights("pull", cards[plan.model]) for plan in fitting}
            size = sum(entry.size for base in bases.values() for entry in base.record.files)
            say(f"{len(bases)} models, {size / 2**20:.1f} MiB through the airlock", *bases.values())
        return bases

    def _fetch(self, models: Sequence[str]) -> None:
        """From their hubs, those that are not here yet; the recipe asked for it."""
        from basewright.hub import pull, pulling, reference
        from basewright.hub.remote import Ask, Bytes
        from basewright.hub.wire import Wire

        cards = self.candidates()
        for card in (cards[model] for model in models):
            if card.location.startswith("hub:") and not pull.is_here(card, self.store):
                with self.watch.progress("pull") as progress:
                    work = Bytes(self.store, Wire.from_environment(), naming(progress, card.id))
                    pulling.pull(reference.parse(card.location), Ask(), work)

    # --- evidence ---

    def choose(self, task: Task, plans: Plans, bases: Mapping[str, Made[Weights]]) -> Made[Choice]:
        from basewright.choose import words

        with self.stage("choose") as say:
            made = Chooser(self, task, plans, bases).choose()
            say(" ".join(words.verdict(made.record)), made)
        return made

    def require_winner(self, choice: Made[Choice]) -> None:
        """A tie stops a build, unless the recipe goes on with the cheapest. Raises `CannotSeparate`."""
        from basewright.choose import best

        with named("choose"):
            best.require_winner(choice.record, self.recipe.choose.on_tie)

    def certify(self, task: Task, base: Made[Weights]) -> Made[Certificate]:
        with self.stage("certify") as say:
            made = self.certificate(task, base)
            record = made.record
            say(
                f"{record.rows} rows, {record.supervised_tokens} supervised tokens, {len(record.checks)} checks passed",
                made,
            )
        return made

    def tune(self, task: Task, base: Made[Weights], certificate: Made[Certificate]) -> Made[Adapter]:
        tune = self.recipe.tune
        with self.stage("tune") as say:
            made = self.adapter("tune", task, base, certificate, tune.rank, tune.examples, method=tune.method)
            record = made.record
            say(
                f"{base.record.card.id}, {LORA_NAMES[tune.method]} rank {tune.rank}: {record.train.steps} steps, "
                f"loss {record.first_loss:.2f} → {record.last_loss:.2f}",
                made,
            )
        return made

    def prove(self, task: Task, base: Made[Weights], adapter: Made[Adapter]) -> Made[Proof]:
        from basewright.prove import after

        section = self.recipe.prove
        texts = after.general_texts(self.root / section.general if section.general else None)
        with self.stage("prove") as say:
            before, tuned = self.scores(task, base, None), self.scores(task, base, adapter)
            made = self.make(
                "prove",
                "proof",
                {"texts": texts, "forgetting": section.forgetting, "confidence": self.recipe.limits.confidence},
                Proof,
                lambda _, progress: after.prove(
                    before.record,
                    tuned.record,
                    open_lm(base, None),
                    open_lm(base, adapter),
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

    def baselines(
        self, task: Task, base: Made[Weights], certificate: Made[Certificate], adapter: Made[Adapter]
    ) -> Made[Baselines]:
        """What else answers the test items; nothing stops here, whoever wins."""
        before, after = self.scores(task, base, None), self.scores(task, base, adapter)
        with self.stage("baselines") as say:
            made = Worth(self, task, base, certificate, adapter, before, after).measure()
            said = [f"{one.name} {one.accuracy.value:.1%}" for one in made.record.found]
            say("; ".join([f"tuned {after.record.accuracy.value:.1%}", *said, *made.record.skipped]), made)
        return made

    # --- what is shipped ---

    def convert(self, task: Task, base: Made[Weights], adapter: Made[Adapter]) -> Made[Converted]:
        formats = tuple(self.recipe.ship.formats)
        texts = tuple(layouts.prompt(task.layout, item.text) for item in task.test[:PARITY_TEXTS])
        with self.stage("convert") as say:
            from basewright.convert import stage

            made = self.make(
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
        with self.stage("release") as say:
            from basewright.release import stage

            made = self.make(
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
