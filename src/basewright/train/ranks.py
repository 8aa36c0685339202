"""Several processes that train one model together: started by torchrun, the weights shared out by FSDP2.

Every rank walks the same code. The first alone takes locks, writes and prints; the others join it in the training and
get what it made. What travels between ranks is tensors and text, no pickle (H003). A rank that dies ends the run: the
others lose its connection, and torchrun ends them.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from basewright import signals, store
from basewright.errors import Interrupted, StoreError
from basewright.records import Made
from basewright.store import Store, Work
from basewright.train import quick

R = TypeVar("R")
T = TypeVar("T")
PATIENCE = timedelta(hours=12)
"""What one rank makes alone while the others wait: a certificate, what the base says of every pair, measurements."""
ALIKE = timedelta(minutes=5)
"""Inside a step all do the same, a layer at a time, and wait for the slowest: one layer of an 8B model and 2,048 tokens
are a minute on a slow processor. Who does not answer for longer is frozen, or on a machine that is (H060, H125)."""


class Finished(Exception):
    """Raised in a rank that is not the first when the training is done; `Shared.make` waits for the result then."""


@dataclass(frozen=True, slots=True)
class Team:
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, value: float) -> float:
        """Of every rank's value."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total.item())

    def meet(self) -> None:
        """Wait for all, however long one of them has something to do alone."""
        if self.count > 1:
            distributed.all_reduce(torch.zeros(1), group=_patient)

    def any(self, flag: bool) -> bool:
        return self.sum(float(flag)) > 0

    def told(self, text: str = "") -> str:
        """The first rank's text, on every rank; they wait for it as in `meet`."""
        if self.count == 1:
            return text
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        size = torch.tensor(len(content))
        distributed.broadcast(size, 0, group=_patient)
        content = content if self.first else content.new_empty(int(size))
        distributed.broadcast(content, 0, group=_patient)
        return bytes(content.tolist()).decode()

    def turns(self, micro: Sequence[T], size: Callable[[T], int]) -> Iterator[tuple[int, T, bool]]:
        """This rank's micro-batches of a step: number, rows, and whether they count.

        Ranks take turns, each equally often, since every pass needs all of them: a rank that has none left passes the
        step's smallest once more, for nothing.
        """
        for begin in range(0, len(micro), self.count):
            mine = begin + self.rank
            if mine < len(micro):
                yield mine, micro[mine], True
            else:
                yield mine, min(micro, key=size), False


_team = Team()
_patient: Any = None
"""The same ranks, for waits that may be long."""


def team() -> Team:
    """This process's place in the run; alone unless `joined`."""
    return _team


@contextmanager
def joined() -> Iterator[Team]:
    """Join the processes that torchrun, or whoever sets its variables, started as one run; by itself a team of one.

    Raises `Interrupted` when the connection to another rank is lost.
    """
    global _team, _patient
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield _team
        return
    distributed.init_process_group("gloo", timeout=ALIKE)
    _patient = distributed.new_group(timeout=PATIENCE)
    _team = Team(distributed.get_rank(), distributed.get_world_size())
    try:
        yield _team
        distributed.destroy_process_group()
    except RuntimeError as error:
        if "gloo" not in str(error).lower():
            raise
        signals.poll()
        raise _lost(str(error).splitlines()[0]) from error
    finally:
        _team, _patient = Team(), None


def _lost(said: str) -> Interrupted:
    me = f"process {_team.rank} of {_team.count}"
    if "Timed out" in said:
        return Interrupted(
            f"{me} waited for another one, which does not answer",
            fix="see whether it was stopped or its machine hangs, then run the same command again: it continues",
        )
    return Interrupted(
        f"{me} lost another one: {said}",
        fix="see what the other process said, then run the same command again: it continues",
    )


# --- one model, shared out ------------------------------------------------------------------------


class Alone:
    """A model in one process. The interface of `Sharded`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, use: Callable[..., T], *given: Any) -> T:
        return use(self.model, *given)

    def give_back(self) -> None:
        pass


class Sharded(torch.nn.Module):
    """Each parameter in equal parts on all ranks, whole only while its layer computes (FSDP2; Zhao et al. 2023).

    Every use goes through `forward`, so that what belongs to no layer (embedding, last norm, head) is whole in it. The
    model that was given is empty meanwhile.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._given = [model]  # in a list: no submodule
        self.model = copy.deepcopy(model, {id(p): p for p in model.parameters()})
        quick.quicken(self.model)
        whole = {p for p in self.model.parameters() if not p.is_floating_point()}  # 4 bits: each rank has all of them
        held: dict[str, Any] = {"reshard_after_forward": True, "ignored_params": whole}
        for module in list(self.model.modules()):
            if isinstance(module, GradientCheckpointingLayer):
                _summed(fully_shard(module, **held))
        _summed(fully_shard(self, **held))
        _fill(model, {name: torch.empty(p.shape, dtype=p.dtype, device="meta") for name, p in self._parts()})

    def forward(self, use: Callable[..., T], *given: Any) -> T:
        return use(self.model, *given)

    def give_back(self) -> None:
        """The model that was given has all of its parameters again, on the first rank."""
        tensors = {}
        for name, p in self._parts():
            tensor = whole(p.detach())
            if _team.first:
                tensors[name] = tensor
        _fill(self._given[0], tensors)

    def _parts(self) -> list[tuple[str, DTensor]]:
        return [(name, p) for name, p in self.model.named_parameters() if isinstance(p, DTensor)]


def hold(model: Any) -> Alone | Sharded:
    """The model, shared out once all have come so far."""
    _team.meet()
    return Alone(model) if _team.count == 1 else Sharded(model)


def _summed(module: Any) -> None:
    """Gradients are added over the ranks: the loss is already divided by what all of them supervise (H054)."""
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)


def _fill(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put tensors in the place of parameters, everywhere each of them stands: weights may be tied."""
    new = {}
    for name, tensor in tensors.items():
        old = model.get_parameter(name)
        new[old] = torch.nn.Parameter(tensor, requires_grad=old.requires_grad)
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            setattr(module, name, new.get(p, p))


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that may be in parts. Every rank must ask for the same ones in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(p: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a whole tensor that belongs to `p`; what has another shape (a count of steps) stays whole."""
    if not isinstance(p, DTensor) or tensor.shape != p.shape:
        return tensor
    return distribute_tensor(tensor, p.device_mesh, p.placements, src_data_rank=None)


# --- results --------------------------------------------------------------------------------------


class Shared(Store):
    """A store of which the first rank makes everything. The others wait; where a maker trains, they train with it."""

    def make(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        cls: type[R],
        maker: Callable[[Work], R],
        *,
        parents: tuple[str, ...] = (),
    ) -> tuple[Made[R], bool]:
        """As `Store.make`. Raises `StoreError` on a rank that does not see the first one's folder."""
        if _team.first:
            made, found = Store.make(self, kind, inputs, cls, maker, parents=parents)
            _say({"made": made.stamp.id, "found": found})
            return made, found
        heard = json.loads(_team.told())
        if "scratch" in heard:
            scratch = self.root / "work" / heard["scratch"]
            with suppress(Finished):
                maker(Work(scratch=_seen(scratch), out=scratch))
            heard = json.loads(_team.told())
        return store.load(_seen(self.root / heard["made"]), cls), heard["found"]


def call(scratch: Path) -> None:
    """From inside a maker: the first rank calls the others, which wait in `Shared.make`, to the same place."""
    if _team.first and _team.count > 1:
        _say({"scratch": scratch.name})


def own(scratch: Path) -> Path:
    """Where a rank makes for itself what each of them reads: the first in `scratch`, where it is looked for later."""
    if _team.first:
        return scratch
    place = scratch / f"rank-{_team.rank}"
    place.mkdir(exist_ok=True)
    return place


def dismiss() -> None:
    """Only the first rank goes on from here, to write."""
    if not _team.first:
        raise Finished


def _say(what: dict[str, Any]) -> None:
    _team.told(json.dumps(what))


def _seen(folder: Path) -> Path:
    if not folder.is_dir():
        raise StoreError(
            f"{folder} is not there, and the first process has written to it",
            fix="give all of them one --runs folder that every machine sees",
        )
    return folder
