"""The tensors of a model folder, read one at a time: a model is never in memory whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from basewright.errors import ModelFileError


class Stored:
    """Names, shapes and values over all safetensors files of a folder. Raises `ModelFileError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                self._open[path] = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise self._unreadable(path.name, str(error)) from error
            for name in self._open[path].keys():  # noqa: SIM118 - not a dict
                if name in self.where:
                    raise self._unreadable(path.name, f"{name} is also in {self.where[name].name}")
                self.where[name] = path
        if not self.where:
            raise self._unreadable(folder.name, "there are no safetensors weights in it")

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._slice(name).get_shape())

    def read(self, name: str) -> torch.Tensor:
        """The tensor in its stored precision."""
        tensor: torch.Tensor = self._open[self.where[name]].get_tensor(name)
        return tensor

    def _slice(self, name: str) -> Any:
        return self._open[self.where[name]].get_slice(name)

    def _unreadable(self, what: str, why: str) -> ModelFileError:
        return ModelFileError(f"the weights in {what} cannot be used: {why}", fix="get or build that model again")
