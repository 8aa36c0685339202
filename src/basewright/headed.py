"""A model with a classification head, tuned on a task's labels and asked its test items: certified, trained, scored."""

from __future__ import annotations

from basewright.catalog import architectures
from basewright.engine import classifier
from basewright.evaluate import heads
from basewright.making import Maker, naming
from basewright.prove import certificate
from basewright.records import (
    Certificate,
    Checkpoint,
    Head,
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
from basewright.text.tokenizer import open_tokenizer
from basewright.train import effort, objectives, tune

STAGE = "baselines"
LAYOUT = Layout(prompt="{text}", separator="\n\n")


def scored(maker: Maker, task: Task, base: Made[Weights]) -> tuple[Scores, TrainSettings]:
    """All weights of `base` tuned with a head as `basewright tune --head --method full` would, and its scores.

    Raises `Refused` where the rows are not certified for it.
    """
    tokenizer, card = open_tokenizer(base.folder / "model"), base.record.card
    head = Head(
        labels=task.labels,
        pad_id=encode.padding(tokenizer),
        pools=architectures.pools(card.config, head=True) or "last",
    )
    objective = objectives.labelled(certificate.classified(task.train), tokenizer, head)
    settings = _settings(base, objective.lengths, maker.recipe.tune.seed)
    inputs = {"task": task.version, "head": head}

    def certify(_: Work, __: Progress) -> Certificate:
        return certificate.certify_head(base, task, head, card.context)

    certified = maker.make(STAGE, "certificate", inputs, Certificate, certify, (base.id,))
    certificate.require(certified.record)

    def train(work: Work, progress: Progress) -> Checkpoint:
        return tune.full(base, certified.record, objective, LAYOUT, settings, work, naming(progress, card.id))

    parents = (base.id, certified.id)
    model = maker.make(STAGE, "checkpoint", {**inputs, "train": settings}, Checkpoint, train, parents)
    return _asked(maker, task, model, certified.record).record, settings


def _asked(maker: Maker, task: Task, model: Made[Checkpoint], certified: Certificate) -> Made[Scores]:
    commonest = min(certified.labels, key=lambda label: (-certified.labels[label], label))
    name, confidence = model.record.card.id, maker.recipe.limits.confidence

    def ask(_: Work, progress: Progress) -> Scores:
        engine = classifier.open_classifier(model.folder, name, LAYOUT)
        saying = naming(progress, name)
        return heads.run(engine, task.test, task=task.name, commonest=commonest, confidence=confidence, progress=saying)

    return maker.make(STAGE, "scores", {"task": task.version, "confidence": confidence}, Scores, ask, (model.id,))


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
