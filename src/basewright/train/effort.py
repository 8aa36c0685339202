"""One dial, from the size of the data and the model to every setting of a tuning; each value with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args

import torch

from basewright.errors import UsageError, nearest
from basewright.records import LoraSettings, LoraVariant, TrainSettings, record
from basewright.train.preferences import BETA
from basewright.train.tune import steps_for

Effort = Literal["pilot", "standard", "thorough"]
Method = Literal["lora", "rslora", "dora", "pissa", "qlora", "full"]
EPOCHS: dict[Effort, int] = {"pilot": 1, "standard": 3, "thorough": 6}
PREFERENCE_EPOCHS: dict[Effort, int] = {"pilot": 1, "standard": 1, "thorough": 3}
PREFERENCE_RATE = 0.1
"""Of the rate for writing answers; both as in Tülu 3 (Lambert et al. 2024): at 8B 5e-6 and two epochs of answers, then
5e-7 and one epoch of preferences."""
RANK: dict[Effort, int] = {"pilot": 8, "standard": 16, "thorough": 32}
HEAD_EPOCHS: dict[Effort, int] = {"pilot": 2, "standard": 4, "thorough": 8}
HEAD_ROWS = 32
"""Rows of a batch for a head: 16 or 32, and up to 4 passes (Devlin et al. 2019, appendix A.3)."""
SHARE: dict[Effort, float] = {"pilot": 0.0, "standard": 0.1, "thorough": 0.1}
"""Of the rows, to validate on; a pilot is a quick look."""
PATIENCE: dict[Effort, int] = {"pilot": 3, "standard": 3, "thorough": 4}
HELD = (16, 1000)
"""Validation rows that are worth their absence from training, and those that are enough: one standard error of a loss
is then a thirtieth of the spread between rows."""
LOOKS_AN_EPOCH = 2
STEPS_AN_EPOCH = 32
BATCH = (256, 16_384)
"""Tokens of the smallest and the largest batch."""
MICRO = 2048
"""Tokens computed at once, unless the batch is smaller or a row longer."""
RATE_AT_2000, RATE_POWER, MOST = 5e-4, 0.78, 2e-3
"""LoRA's best rate falls with the width: 5e-4 (2000 / width)^0.78 fits Llama and Qwen, and training all weights wants
a tenth of it (Thinking Machines, "LoRA Without Regret", September 2025). From 5e-3 on the smallest models learn nothing
(`docs/log.md`, 2026-11-22), so it ends at 2e-3."""
T = TypeVar("T")


@record
class Given:
    """What a person set; None is left to the dial."""

    rank: int | None = None
    targets: tuple[str, ...] | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    batch_tokens: int | None = None
    micro_tokens: int | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    seed: int = 0
    recompute: bool = False
    beta: float | None = None
    patience: int | None = None
    ema: float = 0.0
    replay: float = 0.0
    optimizer: Literal["adamw", "adamw-8bit"] | None = None


@record
class Value:
    """One setting, and why it is what it is."""

    name: str
    value: Any
    why: str


@record
class Derived:
    lora: LoraSettings | None
    """None where all weights are trained."""
    train: TrainSettings
    values: tuple[Value, ...]


def warmup(steps: int) -> int:
    return max(1, steps // 20)


def held_share(effort: Effort, rows: int, given: float | None) -> Value:
    """The share of the rows that is split off to validate on; a reason that starts with none is why there is none."""
    least, most = HELD
    share = min(SHARE[effort], most / rows)
    why = f"effort {effort}, at most {most:,} rows"
    if not SHARE[effort]:
        why = "a pilot trains on all rows"
    elif share * rows < least:
        share, why = 0.0, f"of {rows:,} rows, fewer than {least} would be left to validate on"
    return Value(
        name="validation share", value=share if given is None else given, why=why if given is None else "given"
    )


def derive(
    method: Method,
    effort: Effort,
    lengths: tuple[int, ...],
    *,
    width: int,
    stored: str,
    maps: Sequence[str],
    given: Given,
    continued: LoraSettings | None = None,
    preferences: bool = False,
    head: bool = False,
    held: tuple[int, ...] = (),
) -> Derived:
    """`lengths` are the tokens of each row, `held` those of validation rows, `maps` the names of the model's linear
    maps, `stored` the precision of its file, `continued` the settings of an adapter that is trained on, `preferences`
    whether rows say which answer is better, `head` whether a head gives them classes.

    Raises `UsageError` for a target that is no map, or a value that these rows or an adapter to continue do not take.
    """
    if given.beta is not None and not preferences:
        raise UsageError("--beta is about preferences, and these rows have none", fix="leave --beta out")
    say = _Sayer()
    tokens, longest = sum(lengths), max(lengths + held)
    lora = None if method == "full" else _lora(say, method, effort, maps, given, continued)
    beta = say("beta", given.beta, BETA, "as in the papers on DPO and KTO") if preferences else None
    passes = PREFERENCE_EPOCHS if preferences else HEAD_EPOCHS if head else EPOCHS
    epochs = say("epochs", given.epochs, passes[effort], f"effort {effort}")
    least = _power(max(longest, BATCH[0]))
    most = min(BATCH[1], _power(HEAD_ROWS * tokens / len(lengths))) if head else BATCH[1]
    batch = say(
        "batch tokens",
        given.batch_tokens,
        max(least, min(most, _power(tokens / STEPS_AN_EPOCH / 2))),
        f"{tokens:,} tokens in {STEPS_AN_EPOCH} steps an epoch or more, where rows are no longer"
        + (f"; about {HEAD_ROWS} rows at most" if head else ""),
    )
    micro = say("micro tokens", given.micro_tokens, min(batch, max(least, MICRO)), "at once; changes no result")
    batch = max(batch, micro)
    rate = min(MOST, RATE_AT_2000 * (2000 / width) ** RATE_POWER) * (0.1 if method == "full" else 1.0)
    why = f"for a width of {width}" + (", a tenth of LoRA's" if method == "full" else "")
    if preferences:
        rate, why = rate * PREFERENCE_RATE, why + ", a tenth for preferences"
    steps = steps_for(lengths, epochs * len(lengths), micro, batch, given.seed)
    train = TrainSettings(
        steps=say("steps", None, steps, f"{epochs} times all rows"),
        batch_tokens=batch,
        micro_tokens=micro,
        learning_rate=say("learning rate", given.learning_rate, float(f"{rate:.2g}"), why),
        warmup=say("warm-up steps", None, warmup(steps), "a twentieth of the steps"),
        weight_decay=0.0,
        clip=1.0,
        seed=given.seed,
        precision=say("precision", given.precision, *_precision(stored)),
        recompute=given.recompute,
        beta=beta,
        **_beside(say, effort, tokens, bool(held), given),
    )
    return Derived(lora=lora, train=train, values=tuple(say.values))


def _beside(say: _Sayer, effort: Effort, tokens: int, held: bool, given: Given) -> dict[str, Any]:
    """What is set beside the rows themselves: validation, an average of the weights, replay."""
    found: dict[str, Any] = {}
    if held:
        every = max(1, int(tokens / (1 - given.replay) / LOOKS_AN_EPOCH))
        why = f"tokens seen, {LOOKS_AN_EPOCH} looks an epoch"
        found["validate_tokens"] = say("validate every", None, every, why)
        why = "looks without a lower loss, then training stops; 0: never"
        found["patience"] = say("patience", given.patience, PATIENCE[effort], why)
    elif given.patience is not None:
        raise UsageError(
            "there are no validation rows to be patient about", fix="--validate FILE, or --validation-share 0.1"
        )
    if given.ema:
        found["ema"] = say("average of weights", given.ema, given.ema, "")
    if given.replay:
        found["replay"] = say("replay", given.replay, given.replay, "")
    if given.optimizer:
        found["optimizer"] = say("optimizer", given.optimizer, "", "")
    return found


def _lora(
    say: _Sayer,
    method: Literal[LoraVariant, "qlora"],
    effort: Effort,
    maps: Sequence[str],
    given: Given,
    continued: LoraSettings | None,
) -> LoraSettings:
    quantization: Literal["none", "nf4"] = "nf4" if method == "qlora" else "none"
    if continued is not None:
        if given.rank or given.targets:
            raise UsageError("an adapter is continued as it is", fix="leave out --rank and --targets, or --from")
        say("rank", None, continued.rank, "of the adapter that is continued")
        say("targets", None, ", ".join(continued.targets), "of the adapter that is continued")
        return replace(continued, quantization=quantization)
    for target in given.targets or ():
        if target not in maps:
            raise UsageError(
                f"{target!r} is no linear map of this model; {nearest(target, maps)}",
                fix=f"choose --targets among {','.join(maps)}",
            )
    rank = say("rank", given.rank, RANK[effort], f"effort {effort}")
    targets = tuple(given.targets or maps)
    say("targets", ", ".join(given.targets or ()) or None, ", ".join(maps), "every linear map of the layers")
    variant = "lora" if method == "qlora" else method
    return LoraSettings(rank=rank, alpha=2.0 * rank, targets=targets, variant=variant, quantization=quantization)


def _precision(stored: str) -> tuple[Literal["float32", "bfloat16"], str]:
    """bfloat16 where it loses nothing of the file and the processor multiplies it."""
    known = torch.cpu.get_capabilities()
    if stored != "bfloat16":
        return "float32", f"its file is {stored}"
    if not (known.get("avx512_bf16") or known.get("amx_bf16")):
        return "float32", "this processor does not multiply bfloat16"
    return "bfloat16", "its file is bfloat16, and this processor multiplies it; what is trained stays float32"


def _power(value: float) -> int:
    """The smallest power of two that is no less."""
    return 1 << max(0, int(value - 1e-9)).bit_length()


class _Sayer:
    """Takes what was given, else what was derived, and remembers which and why."""

    def __init__(self) -> None:
        self.values: list[Value] = []

    def __call__(self, name: str, given: T | None, derived: T, why: str) -> T:
        value = derived if given is None else given
        self.values.append(Value(name=name, value=value, why=why if given is None else "given"))
        return value


METHODS: tuple[Method, ...] = get_args(Method)
