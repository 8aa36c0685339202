"""The best weights of a run so far, in a folder of their own beside its checkpoints, committed whole like them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from basewright import store
from basewright.train import ranks

TENSORS = "tensors.safetensors"


def place(scratch: Path, step: int) -> Path:
    return scratch / f"best-{step:08d}"


def whole(scratch: Path, step: int) -> bool:
    return not store.faults(place(scratch, step))


def keep(scratch: Path, trained: Mapping[str, torch.Tensor], step: int) -> None:
    """Write the weights after `step`; those of an earlier best stay until no checkpoint goes on from them.

    The first rank writes, and the others wait. Where they are there already, of this very run before it was killed,
    they stay.
    """
    tensors = {name: ranks.whole(p.detach()).contiguous() for name, p in trained.items()}
    if ranks.team().first:
        store.reserve(scratch, sum(t.numel() * t.element_size() for t in tensors.values()))
        half = scratch / "best.part"
        half.mkdir(exist_ok=True)
        save_file(tensors, half / TENSORS)
        store.commit(half, place(scratch, step))
    ranks.team().meet()


@torch.no_grad()
def load(scratch: Path, step: int, trained: Mapping[str, torch.Tensor]) -> None:
    """Every tensor by its name; a missing one is an error (H047)."""
    with safe_open(place(scratch, step) / TENSORS, framework="pt") as file:
        for name, p in trained.items():
            p.copy_(ranks.like(p, file.get_tensor(name)))


def prune(scratch: Path, oldest: int) -> None:
    """Remove what no checkpoint from step `oldest` on needs: all before it but the last."""
    for folder in sorted(one for one in scratch.glob("best-????????") if one.name < place(scratch, oldest).name)[:-1]:
        remove(folder)


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
