"""The plain file: its keys, their defaults, and one-line errors that name the nearest known key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from basewright.errors import DataError, UsageError, nearest
from basewright.records import Corpus, Decides, LoraVariant, Origin, PretrainSettings, TrainSettings

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=0.9)]
M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TaskSection(Section):
    data: str
    text: str = "text"
    """Its column, or key, that holds the text; `label` likewise."""
    label: str = "label"
    kind: Literal["classify"] = "classify"
    choose: Share = 0.25
    """Share of the rows that candidates are compared on."""
    test: Share | str = 0.25
    """Share of the rows, or a file, that nothing is chosen on."""
    prompt: str = "Text: {text}\nLabel:"
    separator: str = "\n\n"
    shots: Annotated[int, Field(ge=0, le=64)] = 8


class CandidatesSection(Section):
    models: Annotated[list[str], Field(max_length=64)] = []
    fits: bool = False
    """Also every base model of the catalog that can be run and is on this machine; those that do not fit are left out
    with the reason."""
    pull: bool = False
    """Whether candidates that fit and are not on this machine are downloaded; with `fits`, the whole catalog's."""
    licences: list[str] = []
    """Only models under one of these; empty for any."""
    classical: bool = True
    """Whether TF-IDF and a linear probe answer the same items, so that it shows when a small thing does."""
    licence: str | None = None
    """Stated for local folders that name none."""


class LimitsSection(Section):
    memory: str = "auto"
    examples: Positive | None = None
    """Training examples that all pilots together may see; as many as it takes where none is stated."""
    price_per_hour: Annotated[float, Field(gt=0)] | None = None
    """Of this machine, in any currency: turns the time of an answer into its cost."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class ChooseSection(Section):
    decides: Decides = "tuned"
    """The score after pilot tunings, the few-shot score of the models as they are, or both."""
    margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """The smallest difference that matters, as a share of items."""
    examples: Positive = 600
    """Training examples of the last pilot on the ladder; the ones before see 200, 400, 800 and so on."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 3
    """Tunings a finalist may get, each with another seed."""
    rank: Positive = 8
    history: bool = False
    """Whether past choices in the same store say what to measure first; no confidence rests on it."""
    on_tie: Literal["stop", "cheapest"] = "stop"


class TuneSection(Section):
    method: LoraVariant = "lora"
    """How the winner is adapted; pilots are plain LoRA."""
    examples: Positive = 3000
    """Training examples seen in all, over as many passes as that takes."""
    rank: Positive = 16
    targets: list[str] = []
    """The linear maps that get an adapter; all of them, if none is named."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3
    micro_tokens: Positive = 2048
    batch_tokens: Positive = 2048
    seed: Annotated[int, Field(ge=0)] = 0


class ProveSection(Section):
    forgetting: Annotated[float, Field(ge=0)] = 0.1
    """Accepted rise in bits per byte on general text, as a fraction."""
    general: str | None = None


class BaselinesSection(Section):
    all_weights: bool = True
    """Whether every weight is also trained, from the winner and from random weights, for as many steps."""
    encoder: str | None = None
    """A model that every label is also learned by with a classification head on it: an encoder, by name or folder."""
    curve: bool = False
    """Whether all of them are trained again on a quarter and on half of the rows: what the base was worth in rows."""


class ShipSection(Section):
    formats: list[str] = ["gguf:f16", "gguf:q8_0"]


class Recipe(Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    task: TaskSection
    candidates: CandidatesSection
    limits: LimitsSection = LimitsSection()
    choose: ChooseSection = ChooseSection()
    tune: TuneSection = TuneSection()
    prove: ProveSection = ProveSection()
    baselines: BaselinesSection = BaselinesSection()
    ship: ShipSection = ShipSection()


class OriginSection(Section):
    holds: str
    url: str
    licence: str


class CorpusSection(Section):
    paths: Annotated[list[str], Field(min_length=1)]
    """Files and folders; `{stdlib}` is the interpreter's own standard library."""
    suffixes: list[str] = [".txt", ".md", ".rst", ".py"]
    exclude: list[str] = []
    held_out: Annotated[list[str], Field(min_length=1)]
    max_bytes: Positive
    document_bytes: Positive = 2**40
    limits: dict[str, Positive] = {}
    """Bytes at most of some of `paths`, by the path."""
    held_out_bytes: Positive = 400_000
    sources: list[OriginSection] = []
    sources_read_on: str = ""


class ModelSection(Section):
    kind: Literal["decoder", "encoder"] = "decoder"
    vocabulary: Annotated[int, Field(ge=300, le=2**17)]
    layers: Positive
    width: Positive
    heads: Positive
    kv_heads: Positive | None = None
    """As many as heads, if not stated; an encoder has no fewer."""
    feed_forward: Positive
    context: Positive


class ScheduleSection(Section):
    steps: Positive
    batch_tokens: Positive
    micro_tokens: Positive
    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    final_learning_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    clip: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    masked: Share = 0.3
    """Of an encoder's tokens, those to be foreseen."""
    precision: Literal["float32", "bfloat16"] = "float32"
    optimizer: Literal["adamw", "muon"] = "adamw"
    decay: Literal["cosine", "linear"] = "cosine"
    decay_from: Annotated[int, Field(ge=0)] = 0
    slow_from: Annotated[int, Field(ge=0)] = 0
    window: Annotated[int, Field(ge=0)] = 0
    """Tokens seen at once in the first `window_until` steps; 0 for the whole context."""
    window_until: Annotated[int, Field(ge=0)] = 0
    save_every: Positive = 100
    validate_every: Positive = 200


class PretrainRecipe(Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    licence: str
    languages: list[str] = ["en"]
    cautions: list[str] = []
    """What else whoever uses the model has to know of the corpus: sentences for its card."""
    corpus: CorpusSection
    model: ModelSection
    train: ScheduleSection


def read(path: Path) -> Recipe:
    """Load a recipe. Raises `UsageError` for an unknown key or a value out of range, `DataError` for no TOML."""
    recipe = parse(path, Recipe)
    memory(recipe.limits.memory)
    return recipe


def read_pretrain(path: Path) -> PretrainSettings:
    """Load a pretraining recipe. Raises like `read`, and for a shape that cannot be."""
    recipe = parse(path, PretrainRecipe)
    model, train, corpus = recipe.model, recipe.train, recipe.corpus
    encoder, kv_heads = model.kind == "encoder", model.kv_heads or model.heads
    if model.width % model.heads or model.heads % kv_heads or (encoder and kv_heads != model.heads):
        raise UsageError(
            f"{path.name}: width must be a multiple of heads, and heads of kv_heads (of an encoder, as many)",
            fix=f"correct [model] in {path.name}",
        )
    for limited in corpus.limits:
        if limited not in corpus.paths:
            raise UsageError(
                f"{path.name}: [corpus.limits] has {limited}; {nearest(limited, corpus.paths)}",
                fix=f"write it as in [corpus].paths of {path.name}",
            )
    if model.context > train.micro_tokens:
        raise UsageError(
            f"{path.name}: micro_tokens {train.micro_tokens} is less than the context", fix="raise [train].micro_tokens"
        )
    own = ("validate_every", "window", "window_until")
    return PretrainSettings(
        name=recipe.name,
        licence=recipe.licence,
        languages=tuple(recipe.languages),
        cautions=tuple(recipe.cautions),
        corpus=Corpus(
            paths=tuple(corpus.paths),
            suffixes=tuple(corpus.suffixes),
            exclude=tuple(corpus.exclude),
            held_out=tuple(corpus.held_out),
            max_bytes=corpus.max_bytes,
            document_bytes=corpus.document_bytes,
            limits=corpus.limits,
            held_out_bytes=corpus.held_out_bytes,
            sources=tuple(Origin(**one.model_dump(), read_on=corpus.sources_read_on) for one in corpus.sources),
        ),
        **model.model_dump() | {"kv_heads": kv_heads},
        masked=train.masked if encoder else 0.0,
        train=TrainSettings(**train.model_dump(exclude={*own, "masked"})),
        **train.model_dump(include=set(own)),
    )


def parse(path: Path, model: type[M]) -> M:
    """A TOML file as `model`, with every fault as one line."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}", fix="give the path of a recipe") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not TOML: {error}", fix="correct that line") from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _one_line(path.name, model, error.errors()[0]) from error


def memory(stated: str) -> int | None:
    """Bytes of a limit such as "4 GiB"; None for "auto". Raises `UsageError`."""
    if stated == "auto":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MiB|GiB|MB|GB)", stated)
    if not match:
        raise UsageError(f"[limits].memory is {stated!r}", fix='write it as "auto" or like "4 GiB"')
    unit = {"MiB": 2**20, "GiB": 2**30, "MB": 10**6, "GB": 10**9}[match[2]]
    return int(float(match[1]) * unit)


def _one_line(name: str, model: type[BaseModel], fault: Any) -> UsageError:
    where = [str(part) for part in fault["loc"]]
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
        assert isinstance(inner, type)
        model = inner
    return model
