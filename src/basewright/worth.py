"""The stage `baselines`: what else answers the test items, and how many rows the base model was worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from basewright import headed, machine, store
from basewright.catalog.architectures import targets
from basewright.choose import rivals
from basewright.choose.rivals import Rival
from basewright.errors import Refused
from basewright.evaluate import classify
from basewright.making import Maker, naming, pilots
from basewright.plan import fit
from basewright.recipe import memory
from basewright.records import (
    Adapter,
    Ask,
    Baseline,
    BaselineKind,
    Baselines,
    Certificate,
    Interval,
    Learned,
    Made,
    Progress,
    Scores,
    Task,
    TrainSettings,
    Weights,
)
from basewright.stats import intervals
from basewright.store import Work

SHARES = (0.25, 0.5)
"""Of the training rows, that the curve is measured at beside all of them."""
FEW_SHOT, TUNED, TFIDF = "few-shot", "tuned", "TF-IDF + logistic regression"
WHOLE, SCRATCH = "all weights", "from random weights"
BEGUN = {WHOLE: False, SCRATCH: True}
"""Whether each begins anew: what sets them apart is what the base has read, and nothing else."""
Rates = Mapping[str, TrainSettings]
"""Of each of `BEGUN` how it is trained on all rows; empty where it is not."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Measures everything else on the items that the tuned model was tested on, `after`; `before` is few-shot."""

    maker: Maker
    task: Task
    base: Made[Weights]
    certificate: Made[Certificate]
    adapter: Made[Adapter]
    before: Made[Scores]
    after: Made[Scores]

    def measure(self) -> Made[Baselines]:
        recipe = self.maker.recipe
        inputs = {
            "task": self.task.version,
            "baselines": recipe.baselines.model_dump(),
            "classical": recipe.candidates.classical,
        }
        parents = (self.base.id, self.adapter.id, self.before.id, self.after.id)
        return self.maker.make("baselines", "baselines", inputs, Baselines, self._made, parents)

    def _made(self, _: Work, progress: Progress) -> Baselines:
        found = [self._scored(FEW_SHOT, "few-shot", self.before.record, "the base as it is, asked with examples")]
        if self.maker.recipe.candidates.classical:
            found += [self._classical(one) for one in self._rivals(self.task, progress)]
        unfit = self._unfit()
        trained = {} if unfit else {name: self._settled(anew) for name, anew in BEGUN.items()}
        found += [self._whole(name, settings) for name, settings in trained.items()]
        encoder, refused = self._encoder()
        return Baselines(
            tuned=TUNED,
            found=tuple(sorted([*found, *encoder], key=lambda one: -one.accuracy.value)),
            curve=tuple(self._curve(trained, found)) if self.maker.recipe.baselines.curve else (),
            skipped=tuple(why for why in (unfit, refused) if why),
        )

    # --- one baseline ---

    def _scored(self, name: str, kind: BaselineKind, scores: Scores, how: str) -> Baseline:
        return Baseline(
            name=name,
            kind=kind,
            accuracy=scores.accuracy,
            items=scores.items,
            ahead=classify.same_items(self.after.record, scores, self.maker.recipe.limits.confidence),
            how=how,
        )

    def _classical(self, rival: Rival) -> Baseline:
        right = intervals.proportion(sum(one.correct for one in rival.items), len(rival.items), self._confidence)
        scores = replace(self.after.record, model=rival.name, items=rival.items, metrics={"accuracy": right})
        return self._scored(rival.name, "classical", scores, rival.how)

    def _rivals(self, task: Task, progress: Progress) -> Iterator[Rival]:
        yield rivals.majority(task, task.test)
        yield rivals.tfidf(task, task.test, naming(progress, "TF-IDF"))
        told = naming(progress, self.base.record.card.id)
        texts = [item.text for item in (*task.train, *task.test)]
        read = rivals.features(self.base.folder / "model", texts, told)
        yield rivals.probe(task, task.test, read[: len(task.train)], read[len(task.train) :], told)

    # --- all weights ---

    def _unfit(self) -> str:
        """Why not all weights are trained, or nothing."""
        if not self.maker.recipe.baselines.all_weights:
            return "training all weights: the recipe says so"
        recipe, card = self.maker.recipe, self.base.record.card
        ask = Ask(
            job="full",
            context=card.context,
            micro_tokens=recipe.tune.micro_tokens,
            batch=max(1, recipe.tune.batch_tokens // card.context),
            targets=targets(card.config, recipe.tune.targets),
        )
        plan = fit.of_recipe(card, machine.probe(self.maker.store.root), ask, memory(recipe.limits.memory))
        return "" if plan.fits else f"training all weights: {plan.reasons[-1]}"

    def _settled(self, anew: bool) -> TrainSettings:
        """As the adapter was trained, at the rate that a third of the steps found best."""
        train = self.adapter.record.train

        def bits(settings: TrainSettings) -> float:
            model = self.maker.all_weights(self.task, self.base, self.certificate, settings, anew=anew)
            return self.maker.scores_of(self.task, "choose", model).record.bits.value

        return replace(train, learning_rate=min(pilots(train), key=bits).learning_rate)

    def _whole(self, name: str, settings: TrainSettings) -> Baseline:
        kind: BaselineKind = "from scratch" if BEGUN[name] else "all weights"
        how = f"the same architecture, {settings.steps} steps, rate {settings.learning_rate:g}"
        return self._scored(name, kind, self._asked(self.task, name, self.certificate, settings), how)

    def _asked(self, task: Task, name: str, certificate: Made[Certificate], settings: TrainSettings) -> Scores:
        model = self.maker.all_weights(task, self.base, certificate, settings, anew=BEGUN[name])
        return self.maker.scores_of(task, "test", model).record

    # --- an encoder ---

    def _encoder(self) -> tuple[list[Baseline], str]:
        """The encoder that the recipe names, all of it tuned with a head; or why there is none."""
        name = self.maker.recipe.baselines.encoder
        if name is None:
            return [], ""
        try:
            scores, settings = headed.scored(
                self.maker, self.task, self.maker.weights("baselines", self.maker.card(name))
            )
        except Refused as error:
            return [], f"{name} with a classification head: {error.message}"
        how = f"all weights, {settings.steps} steps, rate {settings.learning_rate:g}, a classification head"
        return [self._scored(name, "encoder", scores, how)], ""

    # --- the curve ---

    def _curve(self, trained: Rates, found: list[Baseline]) -> Iterator[Learned]:
        """Tuned, all weights (as `trained` on all rows) and TF-IDF on nested parts of the rows, each seen as often."""
        for share in SHARES:
            part = _part(self.task, share)
            yield Learned(rows=len(part.train), accuracy=dict(self._at(part, share, trained)))
        whole = {one.name: one.accuracy for one in found if one.name in (*trained, TFIDF)}
        yield Learned(rows=len(self.task.train), accuracy={TUNED: self.after.record.accuracy, **whole})

    def _at(self, part: Task, share: float, trained: Rates) -> Iterator[tuple[str, Interval]]:
        knobs = self.maker.recipe.tune
        certificate = self.maker.certificate(part, self.base)
        adapter = self.maker.adapter(
            "baselines",
            part,
            self.base,
            certificate,
            knobs.rank,
            max(1, round(share * knobs.examples)),
            method=knobs.method,
        )
        yield TUNED, self.maker.scores(part, self.base, adapter).record.accuracy
        for name, settings in trained.items():
            shorter = replace(settings, steps=adapter.record.train.steps, warmup=adapter.record.train.warmup)
            yield name, self._asked(part, name, certificate, shorter).accuracy
        if self.maker.recipe.candidates.classical:
            yield TFIDF, self._classical(rivals.tfidf(part, part.test)).accuracy

    @property
    def _confidence(self) -> float:
        return self.maker.recipe.limits.confidence


def _part(task: Task, share: float) -> Task:
    """The task with so much of its training rows, drawn by their ids: smaller parts lie within larger ones."""
    drawn = sorted(task.train, key=lambda item: store.digest(item.id))
    kept = {item.id for item in drawn[: max(1, round(share * len(drawn)))]}
    train = tuple(item for item in task.train if item.id in kept)
    return replace(task, train=train, version=store.digest([task.version, sorted(kept)])[:16])
