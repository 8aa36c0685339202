"""An item as it is asked, what a model answers, and how a kind of task makes the one and judges the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from basewright.engine.lm import Likelihood
from basewright.evaluate.items import Row
from basewright.evaluate.spec import TaskSpec
from basewright.records import Interval

S = TypeVar("S", bound=TaskSpec)


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt and the texts that might continue it; none where the model writes the answer itself."""

    prompt: str
    continuations: tuple[str, ...] = ()
    bare: bool = False
    """Asked without shots."""


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    asks: tuple[Ask, ...]
    solved: str = ""
    """Prompt and right answer, as a shot shows them."""
    options: tuple[str, ...] = ()
    """What can be answered, in words."""
    gold: int = 0
    """The place of the right option."""
    golds: tuple[str, ...] = ()
    """Texts any of which is right, where the model writes the answer itself."""
    label: str = ""
    """What shots are balanced by; empty where answers are free text."""
    key: str = ""
    """Normalised text of the prompt: questions with the same key never see one another as shots (H078)."""
    group: str = ""
    parts: tuple[str, ...] = ()
    """What results are split by: a language, a depth."""


@dataclass(frozen=True, slots=True)
class Answer:
    """For each ask, the likelihood of each continuation; or the text that was written."""

    likelihoods: tuple[tuple[Likelihood, ...], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    question: Question
    answer: str
    values: dict[str, float]
    """By metric; of a right or wrong answer, 1 or 0."""
    choice: int = 0
    """The place of the option that was chosen."""


Runs = Sequence[Sequence[Judged]]
"""The same questions in the same order, once for each order of the shots."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """A kind of task: one module in `kinds` ends with one of these."""

    question: Callable[[S, Row], Question]
    """Raises `DataError` for a row that is no such question."""
    judge: Callable[[S, Question, Answer], Judged]
    metrics: Callable[[S, Runs, float], dict[str, Interval]]
    """(settings, runs, confidence) → the metrics, the main one first."""
    normalisation: Callable[[S], str]
    """What is compared, in words, for `How`."""
    settle: Callable[[S, Sequence[Row]], S] = lambda spec, _rows: spec
    """Settings that only all rows together decide."""
