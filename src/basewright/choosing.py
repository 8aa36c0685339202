"""The stage `choose`: a recipe and its models become a question, candidates and a panel; `choose.best` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from basewright.errors import Refused
from basewright.making import Maker, naming
from basewright.panel import Panel, longest, mean_prompt
from basewright.plan import serving
from basewright.records import Certificate, Choice, Dropped, Made, Plan, Plans, Progress, Question, Task, Weights
from basewright.store import Work
from basewright.text.tokenizer import open_tokenizer

if TYPE_CHECKING:
    from basewright.choose import best
    from basewright.choose.rivals import Rival

FIRST_RUNG = 200
"""Training examples of the smallest pilot."""


@dataclass(frozen=True)
class Chooser:
    """Chooses among `plans`, of which those that fit have their weights in `bases`."""

    maker: Maker
    task: Task
    plans: Plans
    bases: Mapping[str, Made[Weights]]

    def choose(self) -> Made[Choice]:
        recipe = self.maker.recipe
        knobs = recipe.tune.model_dump(exclude={"method", "examples", "rank"})
        inputs = {
            "question": self.question,
            "task": self.task.version,
            "pilots": {**knobs, "rank": recipe.choose.rank},
            "classical": recipe.candidates.classical,
            "dropped": self.unfit,
            "prior": self.prior,
        }
        parents = tuple(base.id for base in self.bases.values())
        return self.maker.make("choose", "choice", inputs, Choice, self._decide, parents)

    @cached_property
    def question(self) -> Question:
        recipe = self.maker.recipe
        tuned = recipe.choose.decides != "few-shot"
        return Question(
            task=self.task.name,
            decides=recipe.choose.decides,
            margin=recipe.choose.margin,
            confidence=recipe.limits.confidence,
            rungs=rungs(recipe.choose.examples) if tuned else (),
            target=recipe.tune.examples,
            repeats=recipe.choose.repeats if tuned else 1,
            budget=recipe.limits.examples,
            seed=recipe.tune.seed,
        )

    @cached_property
    def prior(self) -> dict[str, float]:
        """What past choices of other tasks in this store and published scores let expect, if the recipe asks: then the
        work, and a little of the answer, depends on what was run before."""
        if not self.maker.recipe.choose.history:
            return {}
        from basewright.catalog import cards
        from basewright.choose import history

        past = history.past_runs(self.maker.store)
        others = {name: row for name, row in past.items() if not name.startswith(f"{self.task.name}, ")}
        others |= history.published(cards.facts())
        expected = history.prior(others, list(self.bases), {}) if others else {}
        return {model: mean for model, (mean, _) in expected.items()}

    @cached_property
    def certificates(self) -> dict[str, Made[Certificate] | Refused]:
        """Of each base the certificate of its training rows, or why there is none. Raises `Refused` where none has."""
        if not self.question.rungs:
            return {}
        found: dict[str, Made[Certificate] | Refused] = {}
        for model, base in self.bases.items():
            try:
                found[model] = self.maker.certificate(self.task, base)
            except Refused as error:
                found[model] = error
        refused = [one for one in found.values() if isinstance(one, Refused)]
        if refused and len(refused) == len(found):
            raise refused[0]
        return found

    @cached_property
    def unfit(self) -> dict[str, Dropped]:
        """The candidates that cannot take part."""
        left = {plan.model: _unplanned(plan) for plan in self.plans.plans if not plan.fits}
        for model, base in self.bases.items():
            one = self.certificates.get(model)
            if isinstance(one, Refused):
                left[model] = Dropped(at="certificate", when="before its first pilot", by="", reason=one.message)
            elif reason := self._too_long(base):
                left[model] = Dropped(at="plan", when="before its first answer", by="", reason=reason)
        return left

    def _too_long(self, base: Made[Weights]) -> str:
        few_shot = self.question.decides != "tuned"
        need = longest(self.task, open_tokenizer(base.folder / "model"), few_shot)
        context = base.record.card.context
        return f"its longest prompt has {need} tokens, its context {context}" if need > context else ""

    def _decide(self, work: Work, progress: Progress) -> Choice:
        from basewright.choose import best

        certified = {model: one for model, one in self.certificates.items() if isinstance(one, Made)}
        panel = Panel(
            maker=self.maker,
            task=self.task,
            bases=self.bases,
            certificates=certified,
            rank=self.maker.recipe.choose.rank,
            open_at_once=self._open_at_once(),
        )
        rivals, hints = self._classical(progress)
        choice = best.decide(
            self.question, len(self.task.choose), self._candidates(), rivals, panel, prior=self.prior, hints=hints
        )
        work.measured |= {f"answers_per_second {model}": speed for model, speed in panel.speeds().items()}
        return choice

    def _candidates(self) -> list[best.Candidate]:
        from basewright.choose import best

        found = []
        for model, card in self.maker.candidates().items():
            base, dropped = self.bases.get(model), self.unfit.get(model)
            costs = serving.costs(card, *mean_prompt(self.task, base)) if base else ()
            found.append(best.Candidate(model=model, parameters=card.parameters, costs=costs, dropped=dropped))
        return found

    def _classical(self, progress: Progress) -> tuple[list[Rival], dict[str, float]]:
        """Classical methods on the same items, and LogME of each base that takes part, whose features a probe reads."""
        from basewright.choose import rivals

        if not self.maker.recipe.candidates.classical:
            return [], {}
        train, items = self.task.train, self.task.choose
        words = rivals.tfidf(self.task, items, naming(progress, "TF-IDF"))
        found, hints = [rivals.majority(self.task, items), words], {}
        for model, base in self.bases.items():
            if model not in self.unfit:
                texts = [item.text for item in (*train, *items)]
                told = naming(progress, model)
                features = rivals.features(base.folder / "model", texts, told)
                probe = rivals.probe(self.task, items, features[: len(train)], features[len(train) :], told)
                found.append(replace(probe, name=f"{probe.name} of {model}"))
                hints[model] = rivals.logme(features[: len(train)], [item.label for item in train])
        return found, hints

    def _open_at_once(self) -> int:
        """As many models as fit into the memory beside each other, by the largest plan; at least one."""
        plans = [plan for plan in self.plans.plans if plan.fits]
        largest = max(plan.memory.total - plan.memory.runtime for plan in plans)
        return max(1, int((plans[0].budget - plans[0].memory.runtime) // (2 * largest)))


def rungs(examples: int) -> tuple[int, ...]:
    """200, 400, 800 and so on as long as the last rung, `examples`, is at least half as many again."""
    steps = []
    step = FIRST_RUNG
    while step * 3 // 2 <= examples:
        steps.append(step)
        step *= 2
    return (*steps, examples)


def _unplanned(plan: Plan) -> Dropped:
    """Without the memory of this machine at this moment: the same question has the same answer."""
    need = plan.memory.total
    reason = (
        plan.reasons[-1] if need <= plan.budget else f"{plan.job} needs {need / 2**20:,.0f} MiB, more than there is"
    )
    return Dropped(at="plan", when="before it was fetched", by="", reason=reason)
