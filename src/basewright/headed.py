"""A model with a classification head, tuned on a task's labels and asked its test items: certified, trained, scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from basewright.catalog import architectures
from basewright.engine import classifier
from basewright.evaluate import heads
from basewright.making import Maker, naming, pilots
from basewright.prove import certificate
from basewright.records import (
    Certificate,
    Checkpoint,
    Head,
    Item,
    Layout,
    Made,
    Progress,
    Scores,
    Task,
    TrainSettings,
    Weights,
)
from basewright.store import Work
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import effort, objectives, tune
from basewright.train.objectives import Labelled

STAGE = "baselines"
LAYOUT = Layout(prompt="{text}", separator="\n\n")


def scored(maker: Maker, task: Task, base: Made[Weights]) -> tuple[Scores, TrainSettings]:
    """All weights of `base` tuned with a head, as `basewright tune --head --method full` would but for a learning rate
    of its own, and its scores on the test items.

    Raises `Refused` where the rows are not certified for it.
    """
    one = _Headed(maker, task, base)
    certificate.require(one.certified.record)
    train = _settings(base, one.objective.lengths, maker.recipe.tune.seed)
    best = min(pilots(train), key=lambda pilot: one.asked(pilot, task.choose).bits.value)
    settings = replace(train, learning_rate=best.learning_rate)
    return one.asked(settings, task.test), settings


@dataclass(frozen=True)
class _Headed:
    maker: Maker
    task: Task
    base: Made[Weights]

    @cached_property
    def head(self) -> Head:
        pools = architectures.pools(self.base.record.card.config, head=True) or "last"
        return Head(labels=self.task.labels, pad_id=encode.padding(self.tokenizer), pools=pools)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return open_tokenizer(self.base.folder / "model")

    @cached_property
    def objective(self) -> Labelled:
        return objectives.labelled(certificate.classified(self.task.train), self.tokenizer, self.head)

    @property
    def inputs(self) -> dict[str, Any]:
        return {"task": self.task.version, "head": self.head}

    @cached_property
    def certified(self) -> Made[Certificate]:
        def certify(_: Work, __: Progress) -> Certificate:
            return certificate.certify_head(self.base, self.task, self.head, self.base.record.card.context)

        return self.maker.make(STAGE, "certificate", self.inputs, Certificate, certify, (self.base.id,))

    def asked(self, settings: TrainSettings, items: Sequence[Item]) -> Scores:
        model, learned = self._trained(settings), self.certified.record.labels
        name, confidence = model.record.card.id, self.maker.recipe.limits.confidence

        def ask(_: Work, progress: Progress) -> Scores:
            engine, saying = classifier.open_classifier(model.folder, name, LAYOUT), naming(progress, name)
            return heads.run(
                engine, items, task=self.task.name, learned=learned, confidence=confidence, progress=saying
            )

        inputs = {"items": [item.id for item in items], "confidence": confidence}
        return self.maker.make(STAGE, "scores", inputs, Scores, ask, (model.id,)).record

    def _trained(self, settings: TrainSettings) -> Made[Checkpoint]:
        def train(work: Work, progress: Progress) -> Checkpoint:
            saying = naming(progress, f"{self.base.record.card.id}, rate {settings.learning_rate:g}")
            return tune.full(self.base, self.certified.record, self.objective, LAYOUT, settings, work, saying)

        parents = (self.base.id, self.certified.id)
        return self.maker.make(STAGE, "checkpoint", {**self.inputs, "train": settings}, Checkpoint, train, parents)


def _settings(base: Made[Weights], lengths: tuple[int, ...], seed: int) -> TrainSettings:
    card = base.record.card
    found = effort.derive(
        "full",
        "standard",
        lengths,
        width=card.shape.width,
        stored=base.record.precision,
        maps=architectures.targets(card.config),
        given=effort.Given(seed=seed),
        head=True,
    )
    return found.train
