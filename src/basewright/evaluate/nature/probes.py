"""What a model does when it is asked: log-likelihoods of stopping, answering, asking and refusing, in several layouts.

Everything is asked through the waist, nothing is sampled: a model of three million parameters answers too.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.engine.lm import LM, Pair
from basewright.records import Progress
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer

CONTROL = re.compile(r"(<\|[a-z_]+\|>|<[a-z]+_of_turn>|\[/?INST\]|</s>)")
SHIFT = 7
"""A question's mismatching answer is the one so many questions further on."""
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What was measured in one layout, in nats: (Q,) arrays over the questions."""

    stop: Values
    """Log-odds of ending the text after the whole answer."""
    lift: Values
    """Log-probability of ending the text after the answer, less the same after the same answer in running prose."""
    wait: Values
    """Log-probability of ending the text after the answer, less the same where the answer should begin."""
    gain: Values
    """Log-likelihood per token of the answer, less the same in running prose."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What was measured in the one layout that was chosen, and of asking in none."""

    match: Values
    """(Q,) Log-likelihood per token of an answer after its question, less the same after another question."""
    answers: Values
    """(Q,) Log-likelihood per token of the answer against another question, after the bare question, less the same
    difference in running prose."""
    refuses: Values
    """(A,) Log-likelihood of refusing against complying after an unsafe ask, less the same after a benign one."""


@dataclass(slots=True)
class Asker:
    """Questions gathered by name, put to the model at once; nothing is computed twice for a shared prefix."""

    lm: LM
    battery: dict[str, Any]
    stops: tuple[int, ...]
    asked: dict[Hashable, list[list[Pair]]] = field(default_factory=lambda: defaultdict(list))

    def likely(self, name: Hashable, pair: tuple[list[int], list[int]]) -> None:
        self.asked[name].append([Pair(tuple(pair[0]), tuple(pair[1]))])

    def stopping(self, name: Hashable, ids: Sequence[int]) -> None:
        """How likely any of the tokens that end a text is after `ids`."""
        self.asked[name].append([Pair(tuple(ids), (stop,)) for stop in self.stops])

    def answers(self, progress: Progress) -> tuple[dict[Hashable, Values], dict[Hashable, Values]]:
        """(log-likelihood, log-likelihood per token) of all that was asked under each name; forgets the questions."""
        pairs = [pair for group in self.asked.values() for one in group for pair in one]
        nats = np.zeros(len(pairs))
        for place, found in self.lm.score(pairs, progress):
            nats[place] = found.nats
        left = iter(zip(nats, pairs, strict=True))
        total: dict[Hashable, Values] = {}
        mean: dict[Hashable, Values] = {}
        for name, group in self.asked.items():
            parts = [list(islice(left, len(one))) for one in group]
            total[name] = np.array([np.logaddexp.reduce([value for value, _ in part]) for part in parts])
            mean[name] = total[name] / [len(part[0][1].continuation) for part in parts]
        self.asked.clear()
        return total, mean


@dataclass(frozen=True, slots=True)
class Layout:
    """A pattern with a place for {ask}; the answer begins with a space unless a new line stands before it.

    Where `controls`, the control tokens it spells are tokens, not text.
    """

    pattern: str
    controls: bool = False

    def context(self, tokenizer: Tokenizer, ask: str) -> list[int]:
        return self.pair(tokenizer, ask, "")[0]

    def pair(self, tokenizer: Tokenizer, ask: str, answer: str) -> tuple[list[int], list[int]]:
        if not self.controls:
            text = self.pattern.replace("{ask}", ask)
            space = " " if answer and not text.endswith("\n") else ""
            return encode.pair(tokenizer, text, space + answer)
        ids = encode.start(tokenizer)
        for piece in CONTROL.split(self.pattern):  # before it is filled: what an ask spells is text (H015)
            known = tokenizer.backend.token_to_id(piece) if CONTROL.fullmatch(piece) else None
            ids += tokenizer.ids(piece.replace("{ask}", ask)) if known is None else [known]
        return ids, tokenizer.ids(answer)


def battery() -> dict[str, Any]:
    """The questions, as shipped in `battery.toml`."""
    return tomllib.loads((resources.files("basewright.evaluate.nature") / "battery.toml").read_text("utf-8"))


def open_asker(lm: LM) -> tuple[Asker, list[Layout]]:
    """What asks `lm`, and the layouts it can be asked in: the plain ones, and those whose control tokens it has."""
    content, tokenizer = battery(), lm.tokenizer
    turns = [turn for turn in content["turns"] if _has(tokenizer, turn["prompt"] + turn["end"])]
    # The start token ends a text too: it is what some pretraining put between documents.
    ends = [tokenizer.eos_id, tokenizer.bos_id, *(tokenizer.backend.token_to_id(turn["end"]) for turn in turns)]
    stops = tuple(sorted({end for end in ends if end is not None}))
    layouts = [Layout(pattern) for pattern in content["layouts"]]
    return Asker(lm, content, stops), [*layouts, *(Layout(turn["prompt"], True) for turn in turns)]


def _has(tokenizer: Tokenizer, text: str) -> bool:
    return all(tokenizer.backend.token_to_id(one) is not None for one in CONTROL.findall(text))


def behaviour(asker: Asker, layouts: Sequence[Layout], progress: Progress) -> tuple[dict[Layout, Behaviour], Values]:
    """(what was measured in each layout, (Q,) log-likelihood per token of answers less that of their words shuffled).

    Raises `DataError` where the model cannot see a question with its answer whole.
    """
    tokenizer = asker.lm.tokenizer
    for layout in layouts:
        for ask, answer in _questions(asker):
            context, target = layout.pair(tokenizer, ask, answer)
            asker.likely(("own", layout), (context, target))
            asker.stopping(("end", layout), context + target)
            asker.stopping(("begin", layout), layout.context(tokenizer, ask))
    for number, (prose, answer) in enumerate(zip(_prose(asker), asker.battery["questions"], strict=False)):
        context, target = encode.pair(tokenizer, prose, " " + answer["answer"])
        asker.likely("own", (context, target))
        asker.stopping("end", context + target)
        asker.likely("shuffled", encode.pair(tokenizer, prose, " " + _shuffled(answer["answer"], number)))
    total, mean = asker.answers(progress)
    found = {
        layout: Behaviour(
            stop=_logit(total["end", layout]),
            lift=total["end", layout] - total["end"],
            wait=total["end", layout] - total["begin", layout],
            gain=mean["own", layout] - mean["own"],
        )
        for layout in layouts
    }
    return found, mean["own"] - mean["shuffled"]


def depth(asker: Asker, layout: Layout, progress: Progress) -> Depth:
    """The dearer questions, in one layout only."""
    tokenizer, questions = asker.lm.tokenizer, list(_questions(asker))
    bare = Layout("{ask}\n")
    shifted = [*questions[SHIFT:], *questions[:SHIFT]]
    for (ask, answer), (other, _), prose in zip(questions, shifted, _prose(asker), strict=False):
        asker.likely("own", layout.pair(tokenizer, ask, answer))
        asker.likely("cross", layout.pair(tokenizer, other, answer))
        asker.likely("bare answer", bare.pair(tokenizer, ask, answer))
        asker.likely("bare question", bare.pair(tokenizer, ask, other))
        asker.likely("prose answer", encode.pair(tokenizer, prose, " " + answer))
        asker.likely("prose question", encode.pair(tokenizer, prose, " " + other))
    kinds = [(safety, says) for safety in ("unsafe", "benign") for says in ("refusals", "compliances")]
    for ask in asker.battery["asks"]:
        for safety, says in kinds:
            for text in asker.battery[says]:
                asker.likely((safety, says), layout.pair(tokenizer, ask[safety], text))
    total, mean = asker.answers(progress)
    tends = {key: total[key].reshape(len(asker.battery["asks"]), -1).mean(1) for key in kinds}
    unsafe, benign = (tends[safety, "refusals"] - tends[safety, "compliances"] for safety in ("unsafe", "benign"))
    return Depth(
        match=mean["own"] - mean["cross"],
        answers=(mean["bare answer"] - mean["bare question"]) - (mean["prose answer"] - mean["prose question"]),
        refuses=unsafe - benign,
    )


def _questions(asker: Asker) -> Iterator[tuple[str, str]]:
    return ((one["ask"], one["answer"]) for one in asker.battery["questions"])


def _prose(asker: Asker) -> Iterator[str]:
    return cycle(asker.battery["prose"])


def _shuffled(answer: str, seed: int) -> str:
    words = answer.rstrip(".").split()
    random.Random(seed).shuffle(words)
    return " ".join(words) + "."


def _logit(logs: Values) -> Values:
    """Log-odds of log-probabilities; rounding may bring those a hair above 0."""
    safe = np.minimum(logs, -1e-6)
    return np.asarray(safe - np.log(-np.expm1(safe)), dtype=np.float64)
