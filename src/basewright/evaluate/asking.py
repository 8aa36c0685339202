"""Questions with their shots in front, and all of a task's questions put to a model at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basewright.engine.lm import LM, Request, Sampling, check_length
from basewright.evaluate.question import Answer, Ask, Question
from basewright.evaluate.spec import GenerationSpec, PerplexitySpec, PromptedSpec, TaskSpec
from basewright.records import Progress
from basewright.text import encode


@dataclass(frozen=True, slots=True)
class Prompted:
    """A question as a model sees it: a context for each of its asks."""

    question: Question
    contexts: tuple[str, ...]
    cut: bool = False
    """Whether something was taken off on the left."""


def prompted(lm: LM, spec: TaskSpec, question: Question, shots: Sequence[Question]) -> Prompted:
    """Put shots in front, fewer where they do not fit and the task says `cut`. Raises `DataError` where it does not."""
    solved = [shot.solved for shot in shots]
    whole = _contexts(spec, question.asks, solved)
    if isinstance(spec, GenerationSpec) and spec.overflow == "refuse":
        check_length(_length(lm, spec, question.asks[0], whole[0]), lm.context)
    if not isinstance(spec, PromptedSpec) or spec.overflow == "refuse" or _fits(lm, spec, question, whole):
        return Prompted(question, whole)  # the engine refuses what it cannot see whole
    for kept in range(len(solved) - 1, -1, -1):
        contexts = _contexts(spec, question.asks, solved[len(solved) - kept :])
        if _fits(lm, spec, question, contexts):
            return Prompted(question, contexts, cut=True)
    bare = _contexts(spec, question.asks, [])
    cut = tuple(_cut(lm, spec, ask, context) for ask, context in zip(question.asks, bare, strict=True))
    return Prompted(question, cut, cut=True)


def ask(lm: LM, spec: TaskSpec, asked: Sequence[Prompted], progress: Progress) -> list[Answer]:
    """The answers, in order. All go to the engine in one call, so that it can share what prompts begin with."""
    if isinstance(spec, PerplexitySpec):
        rolled = lm.rolling([one.contexts[0] for one in asked], progress)
        return [Answer(likelihoods=((likelihood,),)) for likelihood in rolled]
    if isinstance(spec, GenerationSpec):
        return _generate(lm, spec, asked, progress)
    requests = [
        Request(context, ask.continuations)
        for one in asked
        for ask, context in zip(one.question.asks, one.contexts, strict=True)
    ]
    found = iter(lm.loglikelihood(requests, progress))
    return [Answer(likelihoods=tuple(next(found) for _ in one.contexts)) for one in asked]


def _generate(lm: LM, spec: GenerationSpec, asked: Sequence[Prompted], progress: Progress) -> list[Answer]:
    sampling = Sampling(max_tokens=spec.max_tokens, stops=tuple(spec.stops))
    prompts = [encode.prompt(lm.tokenizer, one.contexts[0]) for one in asked]
    found = dict(lm.complete(prompts, [sampling] * len(prompts), progress))
    return [Answer(text=found[place].text) for place in range(len(asked))]


def _contexts(spec: TaskSpec, asks: Sequence[Ask], solved: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(spec, PromptedSpec):
        return tuple(one.prompt for one in asks)
    return tuple(one.prompt if one.bare else spec.separator.join([*solved, one.prompt]) for one in asks)


# --- what the model can see -----------------------------------------------------------------------


def _fits(lm: LM, spec: PromptedSpec, question: Question, contexts: Sequence[str]) -> bool:
    return all(
        _length(lm, spec, one, context) <= lm.context for one, context in zip(question.asks, contexts, strict=True)
    )


def _length(lm: LM, spec: PromptedSpec, ask: Ask, context: str) -> int:
    """Tokens the model must see for all that may follow a context; the last one is predicted, not seen."""
    if isinstance(spec, GenerationSpec):
        return len(encode.prompt(lm.tokenizer, context)) + spec.max_tokens
    return max(sum(map(len, encode.pair(lm.tokenizer, context, text))) for text in ask.continuations) - 1


def _cut(lm: LM, spec: PromptedSpec, ask: Ask, context: str) -> str:
    """The longest end of a context that fits, cut where a token begins; raises `DataError` where nothing is left."""
    excess = _length(lm, spec, ask, context) - lm.context
    if excess <= 0:
        return context
    starts = [begin for begin, _ in lm.tokenizer.backend.encode(context, add_special_tokens=False).offsets]
    for begin in dict.fromkeys(starts[excess:]):  # the rest alone may come out as more tokens than it was
        if _length(lm, spec, ask, context[begin:]) <= lm.context:
            return context[begin:]
    check_length(lm.context + excess, lm.context)
    raise AssertionError
