"""The candidates of a walk, asked: what has to be tuned is tuned, and no answer is computed twice."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from basewright.engine.recall import RecalledLM
from basewright.evaluate import classify
from basewright.making import Maker, naming, open_lm
from basewright.records import Certificate, Item, ItemScore, Made, Task, Weights
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.tokenizer import Tokenizer, open_tokenizer

ANSWERS = "answers"
Form = tuple[str, int, int]
"""A model, the training examples of its pilot (0: as it is, asked few-shot), and the pilot's seed."""


@dataclass(slots=True)
class Panel:
    """Implements `choose.best.Panel` over the models of `bases`, on the items of the task's `choose` part."""

    maker: Maker
    task: Task
    bases: Mapping[str, Made[Weights]]
    certificates: Mapping[str, Made[Certificate]]
    rank: int
    open_at_once: int
    """Models held in memory; the one that was not asked for longest makes room."""
    opened: OrderedDict[Form, RecalledLM] = field(default_factory=OrderedDict)
    computed: dict[str, int] = field(default_factory=dict)
    """Label log-likelihoods that an engine computed here, by model; recalled ones are not in it."""
    seconds: dict[str, float] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)

    def answer(self, model: str, examples: int, seed: int, places: Sequence[int]) -> Sequence[ItemScore]:
        """The answers of `model` after a pilot of so many examples (0: few-shot, as it is), in order of `places`."""
        lm = self._lm(model, examples, seed)
        items = [self.task.choose[place] for place in places]
        clock, before = time.monotonic(), lm.computed
        with self.maker.watch.progress("choose") as progress:
            found = classify.ask(lm, self.task, items, few_shot=examples == 0, progress=naming(progress, lm.name))
        computed = lm.computed - before
        self.computed[model] = self.computed.get(model, 0) + computed
        if computed == len(items) * len(self.task.labels):  # nothing was recalled: a fair time
            self.seconds[model] = self.seconds.get(model, 0.0) + time.monotonic() - clock
            self.answered[model] = self.answered.get(model, 0) + len(items)
        return found

    def speeds(self) -> dict[str, float]:
        """Answers a second of each model, where they were computed here."""
        return {model: self.answered[model] / spent for model, spent in self.seconds.items() if spent > 0}

    def _lm(self, model: str, examples: int, seed: int) -> RecalledLM:
        form = (model, examples, seed)
        if form not in self.opened:
            while len(self.opened) >= self.open_at_once:
                self.opened.popitem(last=False)
            self.opened[form] = self._open(form)
        self.opened.move_to_end(form)
        return self.opened[form]

    def _open(self, form: Form) -> RecalledLM:
        model, examples, seed = form
        base = self.bases[model]
        adapter = None
        if examples:
            adapter = self.maker.adapter("choose", self.task, base, self.certificates[model], self.rank, examples, seed)
        weights = base.record.commit + (f" {adapter.record.sha256}" if adapter else "")
        lm: Any = open_lm(base, adapter)
        return RecalledLM(lm, weights, self.maker.store.root / ANSWERS)


def longest(task: Task, tokenizer: Tokenizer, few_shot: bool) -> int:
    """Tokens of the longest prompt and label among the items to choose and to test on."""
    items: Sequence[Item] = (*task.choose, *task.test)
    prompts = classify.prompts(task, items, few_shot)
    label = max(len(tokenizer.ids(layouts.target(label))) for label in task.labels)
    return max(len(encode.prompt(tokenizer, text)) for text in prompts) + label


def mean_prompt(task: Task, base: Made[Weights]) -> tuple[int, int]:
    """(tokens of a bare prompt, tokens of a label), on average over the items to choose on."""
    tokenizer = open_tokenizer(base.folder / "model")
    prompts = [len(encode.prompt(tokenizer, text)) for text in classify.prompts(task, task.choose, few_shot=False)]
    labels = [len(tokenizer.ids(layouts.target(label))) for label in task.labels]
    return round(sum(prompts) / len(prompts)), max(1, round(sum(labels) / len(labels)))
