"""The plain file of an evaluation task: its keys, their defaults, and one-line errors that name the nearest key."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from basewright.errors import DataError, UsageError, nearest
from basewright.evaluate import template

Positive = Annotated[int, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=2)]
Normal = Literal["case", "punctuation", "articles", "thousands", "ending", "spaces"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TaskSpec(Section):
    """What every kind of task states."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    kind: str
    data: str
    """A file beside this one: .jsonl, .json or .csv, or one of these with .gz."""
    columns: dict[str, Text | Annotated[list[Text], Field(min_length=2)]] = {}
    """Field → the column it is read from, or the columns that make a list. A column is a field of its own name too."""


class DepthSection(Section):
    """The same question with its `evidence` at several depths of a long text, which is the field `haystack`."""

    depths: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)]
    filler: str
    """A text file beside this one, repeated where it is too short."""
    words: Positive = 1000
    """Length of the filler; in words, so that every model is asked the same."""


class PromptedSpec(TaskSpec):
    """What is asked with a prompt: `{field}` is a place for a field of the row."""

    prompt: str
    answer: str = " {answer}"
    """What follows the prompt, of every possible answer and in shots."""
    separator: Text = "\n\n"
    shots: Annotated[int, Field(ge=0, le=64)] = 0
    sampler: Literal["fixed", "random", "balanced", "nearest"] = "fixed"
    shots_data: str | None = None
    """Where shots are from; without, from the other rows of `data`."""
    seed: Annotated[int, Field(ge=0)] = 0
    orders: Annotated[int, Field(ge=1, le=24)] = 1
    """In how many orders the shots are shown; the score is the mean."""
    overflow: Literal["refuse", "cut"] = "refuse"
    """What is done with a prompt longer than the context: whole shots go first, then tokens on the left."""
    depth: DepthSection | None = None


class ChoiceSpec(PromptedSpec):
    """Fields: `answer` (place from 0, letter or text) and `choices`; or `contexts`, one `{context}` for each choice."""

    kind: Literal["choice"]
    choices: Texts | None = None
    """The same for every row."""
    normalisation: Literal["sum", "characters", "bytes", "tokens", "unconditional"] = "bytes"
    """Which accuracy is the main one; all are reported."""
    unconditional: str = "Answer:"
    """The prompt without the question that a choice's own likelihood is measured after."""


class ClassifySpec(PromptedSpec):
    """Field: `label`."""

    kind: Literal["classify"]
    labels: dict[str, Text] = {}
    """Label → its words; without, the labels of the data as they are."""


class GenerationSpec(PromptedSpec):
    """The model writes the answer. Field: `answer`, a text or a list of texts any of which is right."""

    stops: Annotated[list[Text], Field(max_length=8)] = []
    """Where the answer ends; without, at the separator of shots."""
    max_tokens: Positive = 64


class GenerateSpec(GenerationSpec):
    kind: Literal["generate"]
    normalise: list[Normal] = ["spaces"]
    """What makes no difference between an answer and a right one."""
    extract: str | None = None
    """A pattern that finds the answer in what was written: its first group, or all of it."""
    take: Literal["first", "last"] = "first"
    """Which match."""
    gold: str | None = None
    """A pattern that finds the right answer in the field `answer`; shots show the whole field."""


class SpanSpec(GenerationSpec):
    kind: Literal["span"]


class RatingSpec(PromptedSpec):
    """Field: `rating`, a number of the scale."""

    kind: Literal["rating"]
    scale: Annotated[list[int], Field(min_length=2)]
    words: Texts | None = None
    """How each number is written; without, as a numeral."""
    decision: Literal["likeliest", "expected"] = "likeliest"


class PerplexitySpec(TaskSpec):
    """Field: `text`, a document."""

    kind: Literal["perplexity"]


SPECS: dict[str, type[TaskSpec]] = {
    "choice": ChoiceSpec,
    "classify": ClassifySpec,
    "generate": GenerateSpec,
    "span": SpanSpec,
    "rating": RatingSpec,
    "perplexity": PerplexitySpec,
}
GOLDS = {"classify": "label", "rating": "rating"}
"""The field with the right answer, where it is not `answer`."""


def read(path: Path) -> TaskSpec:
    """Load a task's file. Raises `UsageError` for an unknown key or a value out of range, `DataError` for no TOML."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}", fix="give the path of a task") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not TOML: {error}", fix="correct that line") from error
    return parse(raw, path.name)


def parse(raw: dict[str, Any], name: str) -> TaskSpec:
    """The settings of a task; `name` is that of the file, for errors. Raises `UsageError`."""
    kind = raw.get("kind")
    if kind is None:
        raise UsageError(f"{name} lacks kind; {nearest('', SPECS)}", fix=f"add kind to {name}")
    model = SPECS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise UsageError(f"{name} has kind {kind!r}; {nearest(str(kind), SPECS)}", fix=f"correct kind in {name}")
    try:
        spec = model.model_validate(raw)
    except ValidationError as error:
        raise _one_line(name, model, error.errors()[0]) from error
    fault = next((found for check in (_prompt, _shots, _patterns, _options) if (found := check(spec))), None)
    if fault:
        raise UsageError(f"{name}: {fault}", fix=f"correct it in {name}")
    if isinstance(spec, GenerationSpec) and not spec.stops:
        return spec.model_copy(update={"stops": [spec.separator]})
    return spec


def _prompt(spec: TaskSpec) -> str | None:
    if not isinstance(spec, PromptedSpec):
        return None
    asked = template.places(spec.prompt)
    if not asked:
        return "the prompt has no {place} for a field"
    if spec.prompt != spec.prompt.rstrip():  # the space before an answer belongs to the answer's first token
        return "the prompt ends in white space"
    if shown := {"answer", GOLDS.get(spec.kind, "answer")} & set(asked):
        return f"the prompt shows the right answer, {{{min(shown)}}}"
    if not spec.answer.strip():
        return "the answer is empty"
    if spec.depth and "haystack" not in asked:
        return "the prompt has no place {haystack} for the long text"
    return None


def _shots(spec: TaskSpec) -> str | None:
    if not isinstance(spec, PromptedSpec):
        return None
    if spec.orders > math.factorial(spec.shots):
        return f"{spec.shots} shots have not {spec.orders} orders"
    if spec.sampler == "balanced" and isinstance(spec, GenerationSpec):
        return "balanced shots need labels, which free text has not"
    return None


def _patterns(spec: TaskSpec) -> str | None:
    for key in ("extract", "gold") if isinstance(spec, GenerateSpec) else ():
        try:
            re.compile(getattr(spec, key) or "")
        except re.error as error:
            return f"{key} is no regular expression: {error}"
    return None


def _options(spec: TaskSpec) -> str | None:
    if isinstance(spec, RatingSpec):
        if spec.scale != sorted(set(spec.scale)):
            return "scale does not rise"
        if spec.words and len(spec.words) != len(spec.scale):
            return f"words has {len(spec.words)} entries and scale {len(spec.scale)}"
    if isinstance(spec, ClassifySpec) and len(spec.labels) == 1:
        return "labels has one label only; there is nothing to tell apart"
    return None


def _one_line(name: str, model: type[BaseModel], fault: Any) -> UsageError:
    where = [str(part) for part in fault["loc"] if "[" not in str(part)]  # without the branches of a union
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        known = _section(model, where[:-1]).model_fields
        return UsageError(
            f"{name} has an unknown key {key}; {nearest(where[-1], known)}", fix=f"correct {key} in {name}"
        )
    if fault["type"] == "missing":
        return UsageError(f"{name} lacks {key}", fix=f"add {key} to {name}")
    return UsageError(f"{name}: {key}: {fault['msg'].lower()}", fix=f"correct {key} in {name}")


def _section(model: type[BaseModel], where: list[str]) -> type[BaseModel]:
    for part in where:
        inner = model.model_fields[part].annotation
        model = next(one for one in (inner, *get_args(inner)) if isinstance(one, type) and issubclass(one, BaseModel))
    return model
