"""The frozen values handed from room to room. Standard library only; sizes in bytes, times in seconds.

A record holds results and never a path of this machine or a time of day: what differs between two
honest runs of the same work (when, how long, how much memory) is in the `Stamp` beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, dataclass_transform

Nature = Literal["base", "instruct"]
ModelKind = Literal["decoder", "encoder", "image encoder", "recurrent", "hosted"]
Modality = Literal["text", "image"]
TaskKind = Literal["classify"]
Points = Literal["base", "instruct", "neither"]
Verdict = Literal["winner", "tie"]
Decides = Literal["tuned", "few-shot", "both"]
DuelOutcome = Literal["better", "worse", "tie within the margin", "not separated"]
DroppedAt = Literal["plan", "certificate", "items", "curve", "budget"]
Separation = Literal["better", "worse", "cannot be separated"]
Job = Literal["complete", "evaluate", "lora", "qlora", "full", "pretrain", "dpo", "serve"]
PlanPrecision = Literal["float32", "bfloat16", "float16", "mixed"]
"""Of a plan's weights; `mixed` is float32 with matrix products in bfloat16 (autocast)."""
Part = Literal["weights", "gradients", "optimizer", "activations", "kv_cache", "logits", "fragmentation", "runtime"]
RowFate = Literal["used", "cut", "split", "refused", "duplicate", "near-duplicate"]
BaselineKind = Literal["classical", "few-shot", "all weights", "from scratch", "encoder"]
DataShape = Literal["text", "prompt-completion", "messages", "sharegpt", "alpaca", "text-label", "preference", "kto"]
LoraVariant = Literal["lora", "rslora", "dora", "pissa"]
Pools = Literal["first", "last"]
"""Which token of a row a classification head reads: an encoder's first, a decoder's last."""
LORA_NAMES: dict[LoraVariant, str] = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA", "pissa": "PiSSA"}
R = TypeVar("R")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def record(cls: type[R]) -> type[R]:
    """A frozen, slotted, keyword-only dataclass.

    Its repr, equality and hash are written once for all: generated anew for each class, they were a third of what
    importing this module costs every command.
    """
    made: Any = dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)(cls)
    made.__repr__, made.__eq__, made.__hash__ = _repr, _equal, _hash
    return made  # type: ignore[no-any-return]


def _values(one: Any) -> tuple[Any, ...]:
    return tuple(getattr(one, each.name) for each in fields(one))


def _repr(one: Any) -> str:
    named = zip(fields(one), _values(one), strict=True)
    return f"{type(one).__qualname__}({', '.join(f'{each.name}={value!r}' for each, value in named)})"


def _equal(one: Any, other: object) -> bool:
    return _values(one) == _values(other) if type(other) is type(one) else NotImplemented


def _hash(one: Any) -> int:
    return hash(_values(one))


class Progress(Protocol):
    """Told of work done so far; the command line draws it with an ETA, tests ignore it."""

    def __call__(self, what: str, done: int, total: int, /) -> None: ...


def silent(_what: str, _done: int, _total: int, /) -> None:
    """The `Progress` that draws nothing."""


# --- what is made carries a stamp -----------------------------------------------------------------


@record
class Stamp:
    id: str
    """Hash of kind, inputs and settings; the same work has the same id everywhere."""
    kind: str
    version: str
    parents: tuple[str, ...]
    inputs: dict[str, Any]
    started: str
    seconds: float
    measured: dict[str, float] = field(default_factory=dict)
    """Costs that differ from run to run: peak memory, tokens a second."""


@dataclass(frozen=True, slots=True)
class Made(Generic[R]):
    """A record with the folder it was committed in."""

    record: R
    stamp: Stamp
    folder: Path

    @property
    def id(self) -> str:
        return self.stamp.id


# --- the machine and what is true about models ----------------------------------------------------


@record
class Device:
    kind: Literal["cpu", "cuda", "rocm", "metal"]
    name: str
    memory: int
    """Bytes of it that a process can have: free now, where it was probed."""
    origin: Literal["probed", "stated"] = "probed"
    bandwidth: float | None = None
    """Bytes a second of its memory; None is unknown."""
    flops: float | None = None
    """Operations a second of matrix products in 16 bits."""
    flops_float32: float | None = None


@record
class Machine:
    """`devices`: the processor first, where it is known; the last one is what a job runs on."""

    devices: tuple[Device, ...]
    cores: int
    ram: int
    disk_free: int | None
    """None for a machine that is not here."""


@record
class Source:
    url: str
    read_on: str
    """The day it was opened, as 2026-11-25."""
    words: str = ""
    """The words or figures relied on, short."""
    facts: tuple[str, ...] = ()
    """Fields of the card that rest on it; a field that no source names is shown as unknown."""


@record
class PublishedScore:
    """A benchmark's score as its source printed it; shares in percent."""

    task: str
    metric: str
    value: float
    shots: int | None = None
    url: str


@record
class Shape:
    """A transformer's dimensions, as far as bytes, operations and activations need them; parameters are counted from
    the config's tensors (`catalog.architectures`)."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    """Of a dense layer."""
    vocabulary: int
    tied: bool
    """Whether the output projection is the embedding table."""
    gated: bool = True
    """Whether the feed-forward has three maps (gate, up, down), or two."""
    parallel: bool = False
    """Whether attention and feed-forward read one norm, side by side."""
    window: int | None = None
    """Tokens that a layer with a sliding window sees."""
    windowed: int = 0
    """Layers that have it."""
    experts: int = 0
    experts_active: int = 0
    expert_feed_forward: int = 0
    shared_feed_forward: int = 0
    """Of the experts that every token takes, together."""
    dense_layers: int = 0
    """Layers without experts, in a model that has them."""
    cache_width: int | None = None
    """Values kept for a token in each layer where that is not keys and values, 2 x kv_heads x head_dim."""


@record
class ModelFacts:
    """What is known of a base model, whether it can be run here or not; None and empty are unknown."""

    id: str
    family: str
    kind: ModelKind
    nature: Nature
    location: str
    """`package:NAME` for a shipped model, `hub:OWNER/NAME`, `remote:PROVIDER/NAME` for one that is only hosted."""
    licence: str
    """SPDX, `LicenseRef-...` for another, or `unknown`."""
    sources: tuple[Source, ...]
    config: dict[str, Any] = field(default_factory=dict)
    """What its config.json says of its tensors, in the words of transformers."""
    published: str | None = None
    """Its size as its makers print it: `8B`, `124M`, `8,030,261,248`."""
    published_active: str | None = None
    """Likewise what one token passes through, where experts share the work."""
    precision: str | None = None
    context: int | None = None
    tokens_seen: int | None = None
    languages: tuple[str, ...] = ()
    modality: tuple[Modality, ...] = ("text",)
    released: str | None = None
    """2024-07-23, 2024-07 or 2024."""
    gated: bool | None = None
    """Whether its makers ask for a name or a promise before the download."""
    held_out: dict[str, float] = field(default_factory=dict)
    """Bits per byte on held-out text, under `model`, and what other ways cost on the same text, by their names."""
    revision: str | None = None
    sibling: str | None = None
    """The instruct model made of it, or the base that it was made of."""
    scores: tuple[PublishedScore, ...] = ()


@record
class ModelCard:
    """What has to be known of a model that is planned and run."""

    id: str
    family: str
    kind: ModelKind
    nature: Nature
    location: str
    """As in `ModelFacts`, or a folder."""
    licence: str
    parameters: int
    """Counted from the tensors that the config calls for."""
    active_parameters: int
    """That one token passes through: all, unless experts share the work."""
    shape: Shape
    config: dict[str, Any]
    """What its config.json says of its tensors."""
    precision: str
    context: int
    languages: tuple[str, ...]
    tokens_seen: int | None
    sources: tuple[Source, ...]
    curated: bool


# --- planning -------------------------------------------------------------------------------------


@record
class Ask:
    """What is to be run, as far as memory and time go by it."""

    job: Job
    context: int
    """The longest row, in tokens."""
    micro_tokens: int
    """Tokens computed at once: rows of a micro-batch, or rows packed into one."""
    batch: int = 1
    """Rows of an optimizer step, or answered side by side."""
    precision: PlanPrecision = "float32"
    rank: int = 0
    targets: tuple[str, ...] = ()
    """Linear maps with an adapter; empty for all."""
    directed: bool = False
    """Magnitudes are learned apart from directions (DoRA)."""
    quantization: str | None = None
    """Of the weights at rest: `nf4` of QLoRA, or a type of GGUF."""
    checkpointing: bool = False
    """Keep only what flows between layers, and compute the rest again."""
    attention: Literal["flash", "math"] = "flash"
    plain: bool = False
    """The step as transformers makes it by itself: rows padded side by side, logits of all positions at once."""
    devices: int = 1
    """That weights, gradients and optimizer are sharded over (FSDP2)."""
    offload: bool = False
    """Weights, gradients and optimizer wait in the memory of the processor."""
    tokens: int | None = None
    """Tokens of the whole job, for its time."""


@record
class Term:
    """One summand of a plan's memory, as a formula and with its numbers in it."""

    part: Part
    name: str
    formula: str
    filled: str
    bytes: int


@record
class Memory:
    """What is resident at the moment a job needs most. The parts add up to `total`."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    kv_cache: int
    runtime: int
    logits: int = 0
    fragmentation: int = 0

    @property
    def total(self) -> int:
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.kv_cache
            + self.logits
            + self.fragmentation
            + self.runtime
        )


@record
class Speed:
    """A roofline: what arithmetic and memory allow, times how much of that is reached."""

    tokens_per_second: float
    """Trained on, read or written, over all rows."""
    bound: Literal["arithmetic", "memory"]
    efficiency: float
    source: str
    """Where the efficiency was seen."""
    tokens: int
    """Of the whole job."""
    seconds: float


@record
class Way:
    """Another way to run the job: what changes, what it then needs, and its price."""

    change: str
    option: str
    """As words for the command line."""
    price: str
    need: int
    fits: bool


@record
class Plan:
    model: str
    job: Job
    precision: str
    context: int
    micro_batch: int
    memory: Memory
    budget: int
    disk: int
    disk_free: int | None
    fits: bool
    reasons: tuple[str, ...]
    ask: Ask | None = None
    device: str = ""
    moment: str = ""
    """When the job needs most."""
    accumulation: int = 1
    """Micro-batches of an optimizer step."""
    terms: tuple[Term, ...] = ()
    disk_terms: tuple[Term, ...] = ()
    speed: Speed | None = None
    ways: tuple[Way, ...] = ()
    notes: tuple[str, ...] = ()


@record
class Dry:
    """One step of the longest row, really made, against its plan."""

    plan: Plan
    predicted: int
    measured: int
    """Both above the state after imports."""
    need: int
    """The plan's total, corrected by what was measured."""
    fits: bool
    seconds: float
    tokens: int


@record
class Plans:
    plans: tuple[Plan, ...]


@record
class FileEntry:
    name: str
    size: int
    sha256: str


@record
class Weights:
    """A model on disk that has passed the airlock; the files are in the record's folder."""

    card: ModelCard
    commit: str
    """Hash over the sorted (name, sha256) of the files."""
    files: tuple[FileEntry, ...]
    precision: str
    untrained_rows: int
    """Embedding rows that were never trained, seen from their norms; special tokens of instruct siblings live there."""
    revision: str = ""
    """Commit of the hub's repository that the files are of; empty for a model from elsewhere."""


# --- tasks and their data -------------------------------------------------------------------------


@record
class Item:
    id: str
    text: str
    label: str


@record
class ChatTemplate:
    """A model's own chat template (Jinja), and the texts of the tokens that it names, as `bos_token`."""

    source: str
    tokens: dict[str, str]


@record
class Layout:
    """How an item becomes text for a base model: `prompt` holds `{text}`, the target is `" " + label`."""

    prompt: str
    separator: str
    """Between shots of a few-shot prompt; also what ends an untuned answer."""
    chat: ChatTemplate | None = None
    """What writes a conversation; `prompt` is then what the user says in it."""


@record
class Ledger:
    """Where every row of the data went: read = used + duplicates."""

    read: int
    used: int
    duplicates: int
    near_duplicates: int
    """Rows that stay, but only together on one side of the split."""
    duplicate_examples: tuple[str, ...]


@record
class Piece:
    """A stretch of a training text; its loss counts or does not. After a learned one EOS is learned too."""

    text: str
    learned: bool
    control: bool = False
    """Whether it is one control token, written by a chat template; where there is any, all ends are written so."""


@record
class Example:
    """A text to learn from. It ends in a learned piece, and no learned piece follows another."""

    id: str
    """Hash of its pieces."""
    pieces: tuple[Piece, ...]
    ends: bool = True
    """Whether the text ends with its last piece; a window of a longer text teaches no stop."""


@record
class Preference:
    """Two continuations of one prompt, of which `chosen` is the better; a text begins with its space."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    written: tuple[tuple[Piece, ...], ...] = ()
    """Both texts, chosen first, where a chat template writes them."""


@record
class Rated:
    """A continuation of a prompt, and whether it is wanted (KTO)."""

    id: str
    prompt: str
    completion: str
    desirable: bool
    written: tuple[tuple[Piece, ...], ...] = ()
    """The one text, where a chat template writes it."""


@record
class Classified:
    """A text as a classification head reads it, and its class."""

    id: str
    text: str
    label: str


@record
class Fate:
    """What became of some of the rows, and why; a row has one fate."""

    what: RowFate
    why: str
    rows: int
    examples: tuple[str, ...]
    """Up to three: where the row stands, and how it begins."""


@record
class RowLedger:
    """Where every row of a source went: `read` is the sum over the fates."""

    read: int
    fates: tuple[Fate, ...]

    def rows(self, *what: RowFate) -> int:
        return sum(fate.rows for fate in self.fates if fate.what in what)


@record
class Hint:
    """Text that looks like personal data or a secret. A hint: nothing is changed, and no value is kept (H071)."""

    kind: str
    rows: int
    examples: tuple[str, ...]
    """Up to three: where the row stands, and what was seen with all but its ends masked."""


@record
class Task:
    name: str
    version: str
    """Hash of all items, the split and the layout."""
    kind: TaskKind
    labels: tuple[str, ...]
    layout: Layout
    shots: int
    train: tuple[Item, ...]
    choose: tuple[Item, ...]
    """Held out of training; what candidates are compared on, so that the score on `test` is not picked."""
    test: tuple[Item, ...]
    ledger: Ledger


# --- scores and comparisons -----------------------------------------------------------------------


@record
class Interval:
    value: float
    low: float
    high: float
    n: int
    confidence: float
    method: str


@record
class How:
    """How a score was made; two scores compare only where these agree."""

    engine: str
    precision: str
    weights: str
    """The model's `Weights.commit`; empty where only an endpoint answers."""
    shots: int
    sampler: str
    """How shots are picked: `none`, `fixed`, `random`, `balanced` or `nearest`."""
    normalisation: str
    stops: tuple[str, ...]
    prompt_hash: str
    """Over the token ids of all prompts, in order of the items."""
    prompt: str
    """The first prompt, whole."""
    prompt_ids: tuple[int, ...]
    """Its token ids (H074)."""
    bos: int
    """How many start tokens it begins with."""
    cut: int = 0
    """Prompts that lost tokens on the left because they were longer than the model's context."""


@record
class ItemScore:
    item: str
    answer: str
    values: dict[str, float]
    """By metric; of a right or wrong answer, 1 or 0."""
    group: str = ""
    """Items that share a passage share a group; their errors are not independent."""

    @property
    def correct(self) -> bool:
        return self.values["accuracy"] == 1.0

    @property
    def bits(self) -> float:
        return self.values["bits"]


@record
class Scores:
    model: str
    task: str
    version: str
    """Hash of the task's items and of how they are asked."""
    split: str
    """Part of the task the items are of: `choose`, `test`, or `all`."""
    metrics: dict[str, Interval]
    """The main metric first."""
    majority: float
    """Accuracy of always giving the most frequent answer; of nothing, where answers are free text, it is 0."""
    items: tuple[ItemScore, ...]
    expected: int
    """Items the task has; a score over fewer is partial and ranks nothing (H080)."""
    how: How
    parts: dict[str, dict[str, Interval]] = field(default_factory=dict)
    """Metrics of the items in each language, where items name one, and at each depth of a long text."""

    @property
    def accuracy(self) -> Interval:
        return self.metrics["accuracy"]

    @property
    def bits(self) -> Interval:
        """Surprise of the right label among the labels: -log2 of its renormalised probability."""
        return self.metrics["bits"]


@record
class Comparison:
    """Two models on the same items: accuracy of `first` minus accuracy of `second`."""

    first: str
    second: str
    difference: Interval
    only_first: int
    only_second: int
    """Items that only one of the two got right; all the evidence there is about a difference."""
    p_value: float
    separated: bool


@record
class Flip:
    """An item two models were scored differently on."""

    item: str
    first: str
    """What the first model answered."""
    second: str
    delta: float
    """Value of the first minus value of the second."""


@record
class TaskComparison:
    """Two models on one task, by its main metric over the same items."""

    task: str
    version: str
    split: str
    metric: str
    first: Interval
    second: Interval
    difference: Interval
    """Mean of `first` minus mean of `second`; the interval is of this task alone, not adjusted for the others."""
    test: str
    p_value: float
    adjusted: float
    """The p-value after Holm, over the tasks compared."""
    detectable: float | None
    """The smallest true difference that is found four times in five; None where too few items differ for any."""
    verdict: Separation
    flips: tuple[Flip, ...]
    """The largest differences first."""
    notes: tuple[str, ...]
    """What differs in how the two were made, and does not forbid to compare them."""


@record
class NotCompared:
    task: str
    reason: str


@record
class Comparisons:
    """Two models on every task both were scored on: is the first better?"""

    first: str
    second: str
    confidence: float
    """That no difference at all is named where there is none."""
    tasks: tuple[TaskComparison, ...]
    skipped: tuple[NotCompared, ...]


@record
class NatureEvidence:
    """One thing seen in a checkpoint's files or behaviour, and how far it speaks for an instruct or a base model."""

    name: str
    seen: str
    points: Points
    log_odds: float
    """Nats it adds to the log-odds of instruct against base."""
    reason: str
    """Why it weighs what it weighs."""


@record
class NatureReport:
    """Base or instruct, from evidence."""

    model: str
    verdict: Literal["base", "instruct", "cannot tell"]
    confidence: float
    """Probability of the likelier of the two, when both are as likely before the evidence."""
    log_odds: float
    """Of instruct against base, in nats: the sum over the evidence."""
    layout: str
    """Of all layouts asked in, the one that speaks most for an instruct model."""
    evidence: tuple[NatureEvidence, ...]
    how: How


# --- choosing -------------------------------------------------------------------------------------


@record
class Question:
    """What is to be decided between candidates, and how surely."""

    task: str
    decides: Decides
    margin: float
    """The smallest difference that matters, as a share of items: 0.01 is one point."""
    confidence: float
    rungs: tuple[int, ...]
    """Training examples of the pilot tunings, ascending; the last rung decides."""
    target: int
    """Training examples of the tuning to come, which learning curves are drawn out to."""
    repeats: int
    """Tunings a finalist may get at most, each with another seed."""
    budget: int | None
    """Training examples that all pilots together may see."""
    seed: int


@record
class Rung:
    """A pilot tuning after so many training examples, and its score on items nothing was trained on."""

    examples: int
    accuracy: Interval
    bits: Interval


@record
class Forecast:
    """Where a learning curve leads: bits of surprise of the right label after `examples` training examples."""

    examples: int
    bits: Interval
    law: str
    """What was fitted: the rectified scaling law, or a straight line in logarithms where that did not hold."""


@record
class Cost:
    """What a candidate needs when it is used, from its shape."""

    quantization: str
    memory: int
    disk: int
    flops: float
    """Per answer, a prompt of the task's mean length and a label."""


@record
class Dropped:
    """Why a candidate is out."""

    at: DroppedAt
    when: str
    """What it had been given until then."""
    by: str
    """The candidate that beat it; empty where it left for reasons of its own."""
    reason: str


@record
class Spent:
    """What was paid: training examples seen by pilots, items answered, tunings begun."""

    examples: int
    evaluations: int
    tunings: int


@record
class Standing:
    """One candidate and everything that was measured of it."""

    model: str
    kind: Literal["base model", "classical"]
    parameters: int
    few_shot: Interval | None
    rungs: tuple[Rung, ...]
    score: Interval | None
    """Accuracy by what decides, over all its tunings; None where it left before."""
    seeds: tuple[float, ...]
    """Accuracy of each tuning at the last rung, by seed."""
    forecast: Forecast | None
    hint: float | None
    """LogME of its frozen features on the training rows, in nats an item: seen before anything is tuned."""
    costs: tuple[Cost, ...]
    frontier: bool
    """No other candidate scores as high for less memory."""
    dropped: Dropped | None
    spent: Spent


@record
class Duel:
    """The leader against one other: accuracy of `first` minus that of `second`, on the items both answered."""

    first: str
    second: str
    difference: float
    items: int
    on_items: Interval
    """Anytime-valid, about these tunings on future items."""
    pool: Interval
    """About these tunings on the whole pool of items at hand; without width when all of it was answered."""
    seed_error: float
    """How far the mean over tunings may be off because other seeds would give other tunings."""
    low: float
    high: float
    """About future tunings on future items: both errors together."""
    outcome: DuelOutcome


@record
class Choice:
    """The answer: one winner, or those that could not be told apart and the cheapest of them."""

    question: Question
    items: int
    """Items that candidates are compared on."""
    ranked: tuple[Standing, ...]
    """The best first; those that were dropped last."""
    duels: tuple[Duel, ...]
    """The leader against every other that was measured to the end, classical rivals too."""
    verdict: Verdict
    winner: str
    """The base model to go on with. Of those tied and within the margin of the leader by what was seen, the one with
    the fewest parameters; where nothing is proven and the lead may well be luck, the one with the best `hint`."""
    tied: tuple[str, ...]
    beaten_by: tuple[str, ...]
    """Classical rivals that score higher than the winner."""
    seed_sd: float
    """Standard deviation of accuracy from seed to seed, as seen here and in history."""
    spent: Spent
    exhaustive: Spent
    """What measuring every candidate at the last rung, with every seed, on every item would have taken."""
    rule: str


# --- proofs ---------------------------------------------------------------------------------------


@record
class Check:
    name: str
    value: float
    limit: float
    passed: bool
    how: str


@record
class Overlay:
    """One training row as the model sees it: (token text, whether its loss counts)."""

    item: str
    tokens: tuple[tuple[str, bool], ...]


@record
class Certificate:
    base: str
    data_hash: str
    """Hash of every token id and mask that training will see."""
    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    labels: dict[str, int]
    bos_id: int | None
    eos_id: int
    pad_id: int
    overlays: tuple[Overlay, ...]
    checks: tuple[Check, ...]
    shape: DataShape = "text-label"
    lengths: dict[str, int] = field(default_factory=dict)
    """Texts by tokens, in classes that double: `65-128`. A preference has two."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@record
class Proof:
    before: Scores
    after: Scores
    gain: Comparison
    general_bits_before: float
    general_bits_after: float
    checks: tuple[Check, ...]


@record
class Baseline:
    """What answers the same test items without the tuned base model, and how far that one is ahead."""

    name: str
    kind: BaselineKind
    accuracy: Interval
    items: tuple[ItemScore, ...]
    ahead: Comparison
    """The tuned model, first, against this."""
    how: str


@record
class Learned:
    """Accuracy on the test items after training on so many of the rows, by method."""

    rows: int
    accuracy: dict[str, Interval]


@record
class Baselines:
    tuned: str
    """The method that is compared with all others."""
    found: tuple[Baseline, ...]
    curve: tuple[Learned, ...]
    """By rows, ascending; the last point has all of them."""
    skipped: tuple[str, ...]
    """What was not trained, and why."""


@record
class Surprise:
    """How surprising the same texts are before and after a tuning."""

    unit: Literal["nats per supervised token", "bits per byte"]
    texts: int
    size: int
    """Supervised tokens, or bytes."""
    before: float
    after: float
    change: Interval
    """After minus before, over texts."""


@record
class Answered:
    """One held-out question, and both answers to it."""

    item: str
    asked: str
    expected: str
    before: str
    after: str
    right_before: bool
    right_after: bool


@record
class Judged:
    """Right or wrong on the same held-out items, before and after a tuning."""

    metric: Literal["accuracy", "exact match", "preferred answer likelier"]
    how: str
    before: Interval
    after: Interval
    gain: Comparison
    """The tuned model minus its base."""
    majority: float
    """Accuracy of always giving the most frequent answer; 0 where answers are free text."""
    items: tuple[Answered, ...]


@record
class Continued:
    """What a model wrote when it took the likeliest token each time."""

    text: str
    finish: Literal["stop", "length"]
    """Whether it ended by itself, at EOS, or was cut."""


@record
class Sample:
    asked: str
    expected: str
    before: Continued
    after: Continued


@record
class Measured:
    """A tuned model against its base."""

    held: Surprise | None
    """On rows that were not learned; None without any."""
    judged: Judged | None
    general: Surprise
    tasks: Comparisons | None
    """The tuned model first, on tasks it was not tuned for."""
    samples: tuple[Sample, ...]


@record
class Tuned:
    """A tuned model ready to be used: its folder holds the adapter or the model, and its card."""

    base: str
    base_commit: str
    method: str
    made: str
    """Id of the adapter or checkpoint."""
    sha256: str
    layout: Layout
    bos: bool
    stop_ids: tuple[int, ...]
    measured: Measured
    files: tuple[str, ...]


# --- training -------------------------------------------------------------------------------------


@record
class TrainSettings:
    steps: int
    batch_tokens: int
    """Tokens an optimizer step sees at most, over all its micro-batches."""
    micro_tokens: int
    learning_rate: float
    warmup: int
    weight_decay: float
    clip: float
    seed: int
    precision: Literal["float32", "bfloat16"] = "float32"
    final_learning_rate: float = 0.0
    save_every: int = 50
    betas: tuple[float, float] = (0.9, 0.95)
    recompute: bool = False
    """Whether a layer's activations are computed again for its gradient instead of kept."""
    beta: float | None = None
    """Of DPO and KTO, reward for a nat of distance from the reference; None where no answer is preferred."""
    validate_tokens: int = 0
    """Tokens seen from one look at the validation rows to the next; 0: no look."""
    patience: int = 0
    """Looks without a lower loss after which training stops; 0: never."""
    ema: float = 0.0
    """Decay of an exponential moving average of what is trained, which is then what is written; 0: none."""
    replay: float = 0.0
    """Share of general text in the tokens of each step, and in its loss."""
    optimizer: Literal["adamw", "adamw-8bit", "muon"] = "adamw"
    decay: Literal["cosine", "linear"] = "cosine"
    """Shape of the way from the peak to `final_learning_rate`."""
    decay_from: int = 0
    """Step at which that way begins, where it does not begin after the warm-up; until there the rate stays as it is."""
    slow_from: int = 0
    """Step from which that rate falls with the root of the steps: a run whose end is not yet known. 0 for never."""


@record
class ValidationPoint:
    step: int
    tokens: int
    """Seen in training by then."""
    held: float
    """Nats per supervised token of the validation rows."""
    trained: float | None = None
    """The same of the rows trained on since the look before; None for the base itself."""


@record
class Validation:
    """A run, watched on rows that it did not train on."""

    data_hash: str
    """Hash of those rows as the model sees them."""
    rows: int
    curve: tuple[ValidationPoint, ...]
    """The base itself first."""
    written: int
    """The step with the lowest loss, whose weights are written."""
    stopped: bool
    """Whether training ended early, because the loss fell no more."""


@record
class Trial:
    """One run of a sweep, over a share of the steps."""

    rung: int
    rank: int | None
    """None where all weights are trained."""
    learning_rate: float
    steps: int
    held: float
    """The lowest validation loss, in nats per supervised token."""
    kept: bool
    """Whether it went on."""


@record
class Separated:
    """A trial that reached the last rung of a sweep and did not win."""

    rank: int | None
    learning_rate: float
    worse_by: Interval
    """Nats per supervised token more than the winner has, over the same validation rows."""

    @property
    def separated(self) -> bool:
        return self.worse_by.low > 0


@record
class Sweep:
    trials: tuple[Trial, ...]
    """Rung by rung, the best first; the first of the last rung is the winner."""
    others: tuple[Separated, ...]

    @property
    def winner(self) -> Trial:
        return next(trial for trial in reversed(self.trials) if trial.kept)


@record
class LoraSettings:
    rank: int
    alpha: float
    targets: tuple[str, ...]
    variant: LoraVariant = "lora"
    quantization: Literal["none", "nf4"] = "none"
    """Of the base's maps while the adapter is trained: what comes after holds the base as it is."""
    tokens: tuple[int, ...] = ()
    """Whose embeddings are trained too: control tokens of a chat template that never were."""


@record
class Head:
    """A classification head: a row's class is read off one token of it, and not written."""

    labels: tuple[str, ...]
    """By number."""
    pad_id: int
    """What fills a batch; transformers reads the last token that is another one."""
    pools: Pools = "last"


@record
class Adapter:
    base: str
    base_commit: str
    lora: LoraSettings
    train: TrainSettings
    data_hash: str
    layout: Layout
    bos: bool
    stop_ids: tuple[int, ...]
    trainable: int
    tokens: int
    flops: float
    first_loss: float
    last_loss: float
    """Nats per supervised token, or the loss per pair or rated answer; first and last step."""
    sha256: str
    parent: str = ""
    """The sha256 of the adapter that this one continues."""
    head: Head | None = None
    """None where answers are written."""
    validation: Validation | None = None
    replayed: int = 0
    """Tokens of general text among `tokens`."""


@record
class Origin:
    """A part of a corpus: what it is, where it was taken from, and under which licence."""

    holds: str
    url: str
    licence: str
    read_on: str
    """The day the licence was read, as 2026-11-25."""


@record
class Corpus:
    """Files and folders to learn from, those held out, and what each may be used under."""

    paths: tuple[str, ...]
    suffixes: tuple[str, ...]
    exclude: tuple[str, ...]
    held_out: tuple[str, ...]
    """Read from nowhere else: what is held out is never learned from, also where it lies inside `paths`."""
    max_bytes: int
    held_out_bytes: int
    sources: tuple[Origin, ...]
    document_bytes: int = 2**40
    """At most, of each document: more authors in as many bytes."""
    limits: dict[str, int] = field(default_factory=dict)
    """Bytes at most of some of `paths`; the rest share `max_bytes` equally."""


@record
class PretrainSettings:
    """A decoder of the Llama family, or an encoder of ModernBERT's, made from scratch."""

    name: str
    licence: str
    languages: tuple[str, ...]
    corpus: Corpus
    vocabulary: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    context: int
    train: TrainSettings
    validate_every: int
    kind: Literal["decoder", "encoder"] = "decoder"
    masked: float = 0.0
    """Share of an encoder's tokens that are to be foreseen."""
    cautions: tuple[str, ...] = ()
    """What else whoever uses the model has to know of the corpus, for its card."""
    window: int = 0
    """Tokens that are seen at once before step `window_until`: short windows cost less attention. 0 for the context."""
    window_until: int = 0


@record
class HeldOut:
    """What a model can do on held-out text."""

    bits_per_byte: float | None = None
    """Of a decoder, as are the two below."""
    cloze: float | None = None
    """Share of held-out sentences whose last word is what the model would have written."""
    copied: float | None = None
    """Mean probability of the tokens of a random sequence when it comes a second time: learning from a context alone,
    without which examples in a prompt cannot help (Olsson et al. 2022, arXiv:2209.11895)."""
    masked: float | None = None
    """Nats per hidden token of an encoder, which sees both sides of it: not to be compared with bits per byte."""
    foreseen: float | None = None
    """Share of those tokens that it holds likeliest."""


@record
class CurvePoint(HeldOut):
    step: int
    tokens: int


@record
class Memorisation:
    """How much of what it learned a model gives back word for word, beside text that it never saw."""

    windows: int
    """Of learned and of held-out text, that many each."""
    prompt: int
    """Tokens that are shown; the tokens behind them are to be written, greedily."""
    continued: int
    learned: float
    """Share of the windows whose `continued` tokens all come back."""
    held_out: float
    learned_nats: float
    """Per token of the windows."""
    held_out_nats: float


@record
class Tuning:
    """What a model was tuned from and on, all of its weights."""

    base: str
    base_commit: str
    data_hash: str
    layout: Layout
    bos: bool
    stop_ids: tuple[int, ...]
    first_loss: float
    last_loss: float
    """Nats per supervised token, or the loss per pair or rated answer; first and last step."""
    head: Head | None = None
    """None where answers are written."""
    validation: Validation | None = None
    replayed: int = 0
    """Tokens of general text among those seen."""


@record
class Checkpoint:
    """A whole model made here: pretrained on a corpus, or tuned from a base."""

    name: str
    card: ModelCard
    train: TrainSettings
    tokens: int
    flops: float
    sha256: str
    corpus: tuple[str, ...] = ()
    documents: int = 0
    corpus_bytes: int = 0
    corpus_tokens: int = 0
    curve: tuple[CurvePoint, ...] = ()
    baselines: dict[str, float] = field(default_factory=dict)
    """Bits per byte of uniform bytes, `xz -6` and others on the same held-out text; of an encoder, nats per hidden
    token."""
    held_out: HeldOut | None = None
    """Of the weights as they are written, after rounding; the curve is of those in training."""
    memorisation: Memorisation | None = None
    tuning: Tuning | None = None


# --- what is shipped ------------------------------------------------------------------------------


@record
class Artifact:
    format: Literal["safetensors", "gguf"]
    quantization: str
    files: tuple[FileEntry, ...]
    size: int
    checks: tuple[Check, ...]


@record
class Converted:
    base: str
    adapter: str
    artifacts: tuple[Artifact, ...]
    skipped: tuple[str, ...]
    """Checks that could not run here, and why."""


@record
class Release:
    name: str
    base: str
    licence: str
    duties: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    checks: tuple[Check, ...]
    accuracy: Interval
    files: tuple[str, ...]


# --- a whole walk ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Built:
    """Everything a walk made: what a report is written from."""

    task: Task
    plans: Plans
    choice: Made[Choice]
    certificate: Made[Certificate]
    adapter: Made[Adapter]
    proof: Made[Proof]
    baselines: Made[Baselines]
    converted: Made[Converted]
    release: Made[Release]
