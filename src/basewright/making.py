"""What several stages of a walk share: each piece is `store.make` around one room's function."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from basewright import checks
from basewright.catalog import cards
from basewright.catalog.allowed import SUPPORTED
from basewright.catalog.architectures import targets
from basewright.errors import BasewrightError, DataError, UsageError
from basewright.recipe import Recipe
from basewright.records import (
    Adapter,
    Certificate,
    Checkpoint,
    LoraSettings,
    LoraVariant,
    Made,
    ModelCard,
    Progress,
    Scores,
    Task,
    TrainSettings,
    Weights,
)
from basewright.store import Store, Work

R = TypeVar("R")
RATES = (3e-4, 1e-3, 3e-3)
"""Learning rates that training all weights chooses from, on the items to choose on, after a third of the steps: what is
good for an adapter is not good for it."""


class Watch(Protocol):
    """Follows the walk: the command line prints it, tests collect it."""

    def progress(self, stage: str) -> AbstractContextManager[Progress]: ...
    def done(self, stage: str, note: str, cached: bool, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the pieces of one recipe's walk. `root` is what the recipe's relative paths start from."""

    recipe: Recipe
    root: Path
    store: Store
    watch: Watch
    fresh: set[str] = field(default_factory=set)
    """Ids that this walk made itself; all others were found."""

    def make(
        self,
        stage: str,
        kind: str,
        inputs: Mapping[str, Any],
        cls: type[R],
        maker: Callable[[Work, Progress], R],
        parents: tuple[str, ...],
    ) -> Made[R]:
        """The result of `maker` for these inputs, found or made, with its progress shown under `stage`."""
        with self.watch.progress(stage) as progress:
            made, found = self.store.make(kind, inputs, cls, lambda work: maker(work, progress), parents=parents)
        if not found:
            self.fresh.add(made.id)
        return made

    def weights(self, stage: str, card: ModelCard) -> Made[Weights]:
        """A model's files, which are here, through the airlock."""
        from basewright.hub import pull

        inputs, taken = pull.request(card, self.store)
        return self.make(stage, "weights", inputs, Weights, lambda work, _: taken(work), ())

    def scores(self, task: Task, base: Made[Weights], adapter: Made[Adapter] | None) -> Made[Scores]:
        """On `test`: the base few-shot, or the tuned model on the bare prompt."""
        from basewright.evaluate import classify

        name = base.record.card.id if adapter is None else f"{base.record.card.id} tuned"
        return self.make(
            "prove",
            "scores",
            self._asked(task, "test"),
            Scores,
            lambda _, progress: classify.run(
                open_lm(base, adapter),
                task,
                "test",
                model=name,
                few_shot=adapter is None,
                weights=base.record.commit,
                confidence=self.recipe.limits.confidence,
                progress=naming(progress, name),
            ),
            (base.id,) if adapter is None else (base.id, adapter.id),
        )

    def scores_of(self, task: Task, split: Literal["choose", "test"], model: Made[Checkpoint]) -> Made[Scores]:
        """Of a whole model that was trained here, on the bare prompt."""
        from basewright.engine import torch_lm
        from basewright.evaluate import classify

        name = model.record.name
        return self.make(
            "baselines",
            "scores",
            self._asked(task, split),
            Scores,
            lambda _, progress: classify.run(
                torch_lm.open_lm(model.folder, name),
                task,
                split,
                model=name,
                few_shot=False,
                weights=model.record.sha256,
                confidence=self.recipe.limits.confidence,
                progress=naming(progress, name),
            ),
            (model.id,),
        )

    def _asked(self, task: Task, split: str) -> dict[str, Any]:
        confidence = self.recipe.limits.confidence
        return {"task": task.name, "version": task.version, "split": split, "confidence": confidence}

    def certificate(self, task: Task, base: Made[Weights]) -> Made[Certificate]:
        """Certified before the first training step of any kind. Raises `Refused` where a check failed."""
        from basewright.prove import certificate

        with named("certify"):
            made = self.make(
                "certify",
                "certificate",
                {"task": task.version, "micro_tokens": self.recipe.tune.micro_tokens},
                Certificate,
                lambda _, __: certificate.certify(base, task, task.train, self.recipe.tune.micro_tokens),
                (base.id,),
            )
            checks.require(made.record.checks, fix="correct the rows that are named, then run the same command again")
        return made

    def adapter(
        self,
        stage: str,
        task: Task,
        base: Made[Weights],
        certificate: Made[Certificate],
        rank: int,
        examples: int,
        seed: int = 0,
        method: LoraVariant = "lora",
    ) -> Made[Adapter]:
        """A LoRA tuning that sees at least `examples` training examples; `seed` is added to the recipe's."""
        from basewright.text.tokenizer import open_tokenizer
        from basewright.train import tune

        knobs = self.recipe.tune
        lora = LoraSettings(
            rank=rank, alpha=2.0 * rank, targets=targets(base.record.card.config, knobs.targets), variant=method
        )
        rows = tune.examples(task.train, task.layout, open_tokenizer(base.folder / "model"))
        lengths = tuple(len(row.ids) for row in rows)
        steps = tune.steps_for(lengths, examples, knobs.micro_tokens, knobs.batch_tokens, knobs.seed + seed)
        settings = TrainSettings(
            steps=steps,
            batch_tokens=knobs.batch_tokens,
            micro_tokens=knobs.micro_tokens,
            learning_rate=knobs.learning_rate,
            warmup=max(1, steps // 20),
            weight_decay=0.0,
            clip=1.0,
            seed=knobs.seed + seed,
        )
        return self.make(
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
                naming(progress, f"{base.record.card.id}, {examples} examples" + (f", seed {seed}" if seed else "")),
            ),
            (base.id, certificate.id),
        )

    def all_weights(
        self, task: Task, base: Made[Weights], certificate: Made[Certificate], settings: TrainSettings, *, anew: bool
    ) -> Made[Checkpoint]:
        """Every weight of the base trained on the task, from what the base has learned or `anew` from random ones."""
        from basewright.text.tokenizer import open_tokenizer
        from basewright.train import tune
        from basewright.train.objectives import NextToken

        def train(work: Work, progress: Progress) -> Checkpoint:
            rows = NextToken(tune.examples(task.train, task.layout, open_tokenizer(base.folder / "model")))
            begun = "random weights" if anew else base.record.card.id
            saying = naming(progress, f"all weights from {begun}, rate {settings.learning_rate:g}")
            return tune.full(base, certificate.record, rows, task.layout, settings, work, saying, anew=anew)

        inputs = {"task": task.version, "train": settings, "anew": anew}
        return self.make("baselines", "checkpoint", inputs, Checkpoint, train, (base.id, certificate.id))

    def card(self, name: str) -> ModelCard:
        from basewright.hub import pull

        card = pull.card_of(name, self.store) or self._seen(name) or cards.get(name, folder=self.root)
        stated = self.recipe.candidates.licence
        return replace(card, licence=stated) if stated and card.licence == "unknown" else card

    def _seen(self, name: str) -> ModelCard | None:
        """Of a repository that the catalog does not know, where the recipe lets candidates be downloaded: what its
        config says, so that it is planned before its weights are fetched."""
        from basewright.hub import look
        from basewright.hub.reference import REPO
        from basewright.hub.wire import Wire

        unknown = REPO.fullmatch(name) and not cards.named(name) and not (self.root / name).is_dir()
        if not (self.recipe.candidates.pull and unknown):
            return None
        return cards.card(look.facts(name, Wire.from_environment()), curated=False)

    def candidates(self) -> dict[str, ModelCard]:
        """The candidates named, and with `fits` every base model of the catalog that can take part, by id."""
        section = self.recipe.candidates
        found: dict[str, ModelCard] = {}
        for card in map(self.card, section.models):
            if card.id in found:
                raise UsageError(
                    f"[candidates].models names {card.id} twice", fix="name each candidate once; folders by other names"
                )
            if card.kind == "encoder":
                raise UsageError(
                    f"{card.id} is an encoder: it continues no text, and candidates are asked to write the label",
                    fix="name decoders in [candidates].models",
                )
            found[card.id] = card
        if section.fits:
            found = {card.id: card for card in cards.find() if self._can_take_part(card)} | found
        if not found:
            raise UsageError("[candidates] names no model", fix="list them in models, or set fits = true")
        return found

    def _can_take_part(self, card: ModelCard) -> bool:
        """A base model that the engine runs, and that is here or may be downloaded."""
        from basewright.hub import pull

        runs = card.nature == "base" and card.kind == "decoder" and card.config["model_type"] in SUPPORTED
        return runs and (self.recipe.candidates.pull or pull.is_here(card, self.store))

    @contextmanager
    def stage(self, stage: str) -> Iterator[Callable[..., None]]:
        """One stage; what is said in it goes to the watch, with the time it took and whether all of it was found."""
        clock = time.monotonic()

        def say(note: str, *made: Made[Any]) -> None:
            cached = bool(made) and not any(one.id in self.fresh for one in made)
            self.watch.done(stage, note, cached, time.monotonic() - clock)

        with named(stage):
            yield say


def pilots(train: TrainSettings) -> list[TrainSettings]:
    """A third of the steps at each of `RATES`."""
    steps = max(1, train.steps // 3)
    return [replace(train, steps=steps, warmup=max(1, steps // 20), learning_rate=rate) for rate in RATES]


@contextmanager
def named(stage: str) -> Iterator[None]:
    """Errors say at which stage the walk stopped; the innermost stage wins."""
    try:
        yield
    except BasewrightError as error:
        error.stage = error.stage or stage
        raise
    except UnicodeDecodeError as error:
        renamed = DataError(f"a text file is not UTF-8: {error}", fix="save it as UTF-8")
        renamed.stage = stage
        raise renamed from error


def naming(progress: Progress, name: str) -> Progress:
    """Progress that says whose work it is."""
    return lambda what, done, total: progress(f"{what}, {name}", done, total)


def open_lm(base: Made[Weights], adapter: Made[Adapter] | None) -> Any:
    """The engine over a base, with its adapter if there is one."""
    from basewright.engine import torch_lm

    folder = base.folder / "model"
    if adapter is None:
        return torch_lm.open_lm(folder, base.record.card.id)
    return torch_lm.open_tuned(folder, adapter.folder / "adapter", f"{base.record.card.id} tuned")
