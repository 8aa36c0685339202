"""The one training loop: pretraining, tuning, preferences.

What it keeps: the data order is a pure function of (seed, step); a resumed run is bit for bit the run that was
never stopped (H045, H046); the loss is weighted by supervised tokens (or pairs) over the whole step, whatever the
micro-batches (H054); a loss or gradient that is not finite stops the run before the weights change (H049); stop
signals are polled between micro-batches (H050); the two newest checkpoints are kept, each committed whole (H039).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from basewright import signals, store
from basewright.data.pack import Packed
from basewright.errors import Refused, StoreError
from basewright.plain import to_plain
from basewright.records import CurvePoint, HeldOut, Progress, TrainSettings, ValidationPoint
from basewright.train import kept, losses, optimizers, ranks, watch
from basewright.train.average import Average, Trained
from basewright.train.meter import Meter
from basewright.train.watch import Watched

EVENTS = "events.jsonl"
"""One line a step in the scratch folder, written as it goes: what was learned, and how fast."""
LEARNED = ("step", "tokens", "loss", "norm", *losses.TOLD, "replayed", "held", "trained")
"""What of an event is the same in every run of the same work."""
Rows = Callable[[int], list[Packed]]
"""The micro-batches of a step: a pure function of the step's number."""
Loss = Callable[[Any, Packed], torch.Tensor | losses.Told]


@dataclass(slots=True)
class State:
    """Everything but tensors that a run needs to go on; integers and floats only, no pickle (H003)."""

    step: int = 0
    tokens: int = 0
    first_loss: float = math.nan
    last_loss: float = math.nan
    curve: list[CurvePoint] = field(default_factory=list)
    looks: list[ValidationPoint] = field(default_factory=list)
    nats_since: float = 0.0
    """Of the rows trained on since the last look, and their supervised tokens."""
    learned_since: int = 0


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one optimizer step saw."""

    nats: float
    """Of its rows, summed over their supervised tokens, or pairs."""
    supervised: int
    norm: float
    """Of the gradient, before clipping."""
    tokens: int
    told: dict[str, float]
    """What else the loss says of a row or pair, and `replayed`: nats per token of general text."""

    @property
    def loss(self) -> float:
        return self.nats / self.supervised


def run(
    model: Any,
    rows: Rows,
    loss: Loss,
    settings: TrainSettings,
    scratch: Path,
    progress: Progress,
    *,
    identity: str,
    validate: Callable[[Any], HeldOut] | None = None,
    validate_every: int = 0,
    flops_per_token: float = 0.0,
    watched: Watched | None = None,
) -> State:
    """Train the parameters of `model` that require gradients, in place, for `settings.steps` steps.

    `identity` is the hash of everything else the run depends on (base, data); a checkpoint of another identity is
    never resumed (H057). `validate` measures on held-out text. `flops_per_token` is what a step computes for each
    token (4 for each weight of a frozen base, 6 for each that is trained), for the share of the machine's peak.
    With `watched` rows the model ends as it was when their loss was lowest. Raises `Refused` on a loss that is not
    finite, `Interrupted` after saving when asked to stop.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise Refused("no parameter would be trained", fix="correct [tune].targets: they name no module of this model")
    team = ranks.team()
    ranks.call(scratch)
    held = ranks.hold(model)
    trainable = {name: p for name, p in held.model.named_parameters() if p.requires_grad}
    optimizer = optimizers.of(held.model, settings)
    average = Average(trainable, settings.ema)
    key = store.digest({"settings": replace(settings, recompute=False), "identity": identity})  # it changes no bit
    state = _resume(scratch, trainable, optimizer, average, key)
    held.model.train()
    meter = Meter(settings.precision, flops_per_token / team.count, settings.steps - state.step)
    while True:
        if team.any(signals.requested()):
            if state.step:  # before the first step there is nothing to keep
                _save(scratch, trainable, optimizer, average, state, key)
            signals.stop()
        if watched and watch.due(state.looks, state.step, state.tokens, settings):
            _look(held, watched, settings, state, scratch, trainable, average)
            continue  # asked to stop in the middle of it, the next turn saves, and a resumed run looks again
        if state.step >= settings.steps or watch.exhausted(state.looks, settings):
            break
        done = _step(held, rows(state.step), loss, settings, optimizer, state.step, trainable)
        _count(state, done)
        average.update(trainable, state.step)
        speed = meter.step(done.tokens)
        if validate and (state.step % validate_every == 0 or state.step == settings.steps):
            state.curve.append(CurvePoint(step=state.step, tokens=state.tokens, **to_plain(held(validate))))
            held.model.train()
        if team.first:
            learned = {"step": state.step, "tokens": state.tokens, "loss": done.loss, "norm": done.norm} | done.told
            store.append_event(scratch / EVENTS, learned | to_plain(speed))
        if state.step % settings.save_every == 0 and state.step < settings.steps:
            _save(scratch, trainable, optimizer, average, state, key)
        shown = "".join(f" · {name} {value:.2f}" for name, value in done.told.items())
        progress(f"loss {done.loss:.3f}{shown}{_held(state)} · {speed}", state.step, settings.steps)
    average.keep(trainable)
    if lowest := watch.best(state.looks):
        kept.load(scratch, lowest.step, trainable)
    held.give_back()
    ranks.dismiss()
    model.eval()
    return state


def _look(
    held: ranks.Alone | ranks.Sharded,
    watched: Watched,
    settings: TrainSettings,
    state: State,
    scratch: Path,
    trainable: Trained,
    average: Average,
) -> None:
    """Ask the validation rows; where their loss is the lowest so far, keep the weights."""
    with average.shown(trainable), precision(settings.precision):
        held.model.eval()
        found = watched.loss(held)
        held.model.train()
        if found is None:
            return
        if not math.isfinite(found):
            raise Refused(f"after step {state.step} the validation rows have loss {found}", fix="lower --learning-rate")
        trained = state.nats_since / state.learned_since if state.learned_since else None
        looks = [*state.looks, ValidationPoint(step=state.step, tokens=state.tokens, held=found, trained=trained)]
        if watch.best(looks) == looks[-1]:
            kept.keep(scratch, trainable, state.step)
    state.looks, state.nats_since, state.learned_since = looks, 0.0, 0
    if state.step and ranks.team().first:
        store.append_event(scratch / EVENTS, {"step": state.step, "held": found, "trained": trained})


def _count(state: State, done: Stepped) -> None:
    state.step += 1
    state.tokens += done.tokens
    state.last_loss = done.loss
    state.nats_since += done.nats
    state.learned_since += done.supervised
    if state.step == 1:
        state.first_loss = done.loss


def _held(state: State) -> str:
    return f" · validation {state.looks[-1].held:.3f}" if state.looks else ""


def write_steps(events: Path, path: Path) -> None:
    """The steps of a run, each once, with what is the same in every run of the same work."""
    steps: dict[int, dict[str, Any]] = {}
    for event in _events(events):
        steps.setdefault(event["step"], {}).update({name: event[name] for name in LEARNED if name in event})
    lines = [json.dumps(steps[number]) + "\n" for number in sorted(steps)]
    store.write(path, "".join(lines).encode())


def measured(events: Path) -> dict[str, float]:
    """What the last step of a run said of its speed and memory."""
    *_, last = (event for event in _events(events) if "loss" in event)
    return {name: value for name, value in last.items() if name not in (*LEARNED, "seconds_left")}


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines():
        with suppress(ValueError):  # a line that a kill cut off; its step was done again
            yield json.loads(line)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, the peak until `decay_from`, then a cosine or a straight line to `final_learning_rate`.

    From `slow_from` on the peak falls with the root of the steps (Zhai et al. 2022, arXiv:2106.04560, section 3.5).
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    begin = max(settings.warmup, settings.decay_from)
    done = max(0, step - begin) / max(1, settings.steps - begin)
    left = 1 - done if settings.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    peak = settings.learning_rate
    if 0 < settings.slow_from < (reached := min(step, begin)):
        peak *= math.sqrt(settings.slow_from / reached)
    return settings.final_learning_rate + (peak - settings.final_learning_rate) * left


def _step(
    held: ranks.Alone | ranks.Sharded,
    micro: list[Packed],
    loss: Loss,
    settings: TrainSettings,
    optimizer: torch.optim.Optimizer,
    step: int,
    trainable: dict[str, torch.nn.Parameter],
) -> Stepped:
    """One optimizer step; each micro-batch counts by its weight and its supervised tokens or pairs."""
    team = ranks.team()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, settings)
    weighed = sum(row.weight * row.supervised for row in micro)
    total, general, sums = 0.0, 0.0, dict[str, float]()
    for number, row, counts in team.turns(micro, lambda row: len(row.ids)):
        _sow(settings.seed, step, number)
        with precision(settings.precision):
            nats, more = losses.told(held(loss, row))
        (nats * (row.weight * counts) / weighed).backward()
        total += nats.item() * (counts and not row.replayed)
        general += nats.item() * (counts and row.replayed)
        for name, value in more.items():
            sums[name] = sums.get(name, 0.0) + value.item() * counts
    total, general = team.sum(total), team.sum(general)
    sums = {name: team.sum(value) for name, value in sums.items()}
    norm = ranks.whole(torch.nn.utils.clip_grad_norm_(list(trainable.values()), settings.clip)).item()
    supervised = sum(row.supervised for row in micro if not row.replayed)
    if not (math.isfinite(total + general) and math.isfinite(norm)):
        raise Refused(
            f"step {step + 1} has loss {total / supervised} and gradient norm {norm}: the weights were not changed",
            fix="lower the learning rate in the recipe, then run the same command again",
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    told = {name: value / supervised for name, value in sums.items()}
    if replayed := sum(row.supervised for row in micro if row.replayed):
        told["replayed"] = general / replayed
    tokens = sum(len(row.ids) for row in micro)
    return Stepped(nats=total, supervised=supervised, norm=norm, tokens=tokens, told=told)


def _sow(seed: int, step: int, number: int) -> None:
    """Dropout and the like are a function of (seed, step, micro-batch) too, whoever computes it."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + number)


def precision(name: str) -> Any:
    """Autocast for `bfloat16` (weights and optimizer stay float32), nothing for `float32`."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if name == "bfloat16" else nullcontext()


# --- checkpoints ----------------------------------------------------------------------------------


def _save(
    scratch: Path,
    trainable: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Average,
    state: State,
    key: str,
) -> None:
    """The tensors whole, so that any number of processes goes on from them; the first writes, the others wait."""
    tensors = {}
    for name, p in trainable.items():
        for slot, value in {"weight": p, **average.slot(name), **optimizers.slots(optimizer, p)}.items():
            tensor = ranks.whole(value.detach()).contiguous()
            if ranks.team().first:
                tensors[f"{slot}/{name}"] = tensor
    if ranks.team().first:
        _write(scratch, tensors, state, key)
    ranks.team().meet()


def _write(scratch: Path, tensors: dict[str, torch.Tensor], state: State, key: str) -> None:
    store.reserve(scratch, sum(t.numel() * t.element_size() for t in tensors.values()))
    half = scratch / "checkpoint.part"
    half.mkdir(exist_ok=True)
    save_file(tensors, half / "tensors.safetensors")
    values = {each.name: getattr(state, each.name) for each in fields(state)}
    store.write_json(half / "state.json", to_plain(values | {"key": key}))
    store.commit(half, scratch / f"step-{state.step:08d}")
    folders = sorted(scratch.glob("step-????????"))
    for old in folders[:-2]:
        kept.remove(old)
    kept.prune(scratch, int(folders[-2:][0].name.removeprefix("step-")))


def _resume(
    scratch: Path,
    trainable: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Average,
    key: str,
) -> State:
    """Load the newest whole checkpoint of this very run, or start at step 0. The first rank says which it is."""
    if name := ranks.team().told(_newest(scratch) if ranks.team().first else ""):
        state, of = _state(scratch / name)
        if of != key:
            raise StoreError(
                f"{name} belongs to a run with other settings or data", fix=f"remove {scratch} and run again"
            )
        _load(scratch / name / "tensors.safetensors", trainable, optimizer, average)
        return state
    return State()


def _newest(scratch: Path) -> str:
    """The newest whole checkpoint whose best weights are there and whole too; empty for none."""
    for folder in sorted(scratch.glob("step-????????"), reverse=True):
        if not store.faults(folder):
            lowest = watch.best(_state(folder)[0].looks)
            if lowest is None or kept.whole(scratch, lowest.step):
                return folder.name
    return ""


def _state(folder: Path) -> tuple[State, str]:
    """(the state in a checkpoint, the key of its run)."""
    values = store.read_json(folder / "state.json")
    key = values.pop("key")
    values["curve"] = [CurvePoint(**point) for point in values["curve"]]
    values["looks"] = [ValidationPoint(**point) for point in values["looks"]]
    return State(**values), key


def _load(
    path: Path, trainable: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, average: Average
) -> None:
    """Every trainable tensor and every optimizer slot, by name; a missing or an extra one is an error (H047)."""
    with safe_open(path, framework="pt") as file, torch.no_grad():
        names = set(file.keys())
        for name, p in trainable.items():
            p.copy_(ranks.like(p, file.get_tensor(f"weight/{name}")))
            names.discard(f"weight/{name}")
            slots = {key.split("/", 1)[0] for key in names if key.endswith("/" + name)}
            found = {slot: ranks.like(p, file.get_tensor(f"{slot}/{name}")) for slot in slots}
            for slot, mean in average.slot(name).items():
                mean.copy_(found.pop(slot))
            optimizers.take(optimizer, p, found)
            names -= {f"{slot}/{name}" for slot in slots}
        if names:
            raise StoreError(
                f"the checkpoint holds {sorted(names)[0]}, which this model has not", fix=f"remove {path.parent}"
            )
