"""A corpus as token ids on disk, and windows of it that never cross a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright import store
from basewright.data.pack import Ints
from basewright.records import Progress


@dataclass(frozen=True, slots=True)
class Windows:
    """W windows of `ids`, whose ends are their own: nothing is between two of one document, nothing is in two."""

    ids: NDArray[Any]
    starts: NDArray[np.int64]
    """(W,) place of the first token of each."""
    lengths: tuple[int, ...]
    """(W,) tokens of each."""

    @property
    def digest(self) -> str:
        return store.digest([len(self.ids), int(np.asarray(self.ids, dtype=np.int64).sum()), len(self.lengths)])

    def __getitem__(self, number: int) -> Ints:
        start = int(self.starts[number])
        return np.asarray(self.ids[start : start + self.lengths[number]], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids of all documents, end to end, mapped from a file of uint16 or uint32."""

    ids: NDArray[Any]
    documents: tuple[int, ...]
    """Tokens of each."""

    def windows(self, size: int) -> Windows:
        """Of `size` tokens, the last of a document shorter; one of a single token has nothing to tell."""
        starts: list[int] = []
        lengths: list[int] = []
        position = 0
        for length in self.documents:
            begins = range(0, length - 1, size)
            starts += [position + begin for begin in begins]
            lengths += [min(size, length - begin) for begin in begins]
            position += length
        return Windows(self.ids, np.array(starts, dtype=np.int64), tuple(lengths))


def tokenize(
    texts: Sequence[str], ids: Callable[[str], list[int]], vocabulary: int, path: Path, progress: Progress
) -> Tokens:
    """Write the ids of all texts to `path`, a .npy file."""
    kind = np.uint16 if vocabulary <= 2**16 else np.uint32
    every: list[NDArray[Any]] = []
    for done, text in enumerate(texts):
        every.append(np.array(ids(text), dtype=kind))
        progress("documents tokenized", done + 1, len(texts))
    np.save(path, np.concatenate(every))
    return Tokens(np.load(path, mmap_mode="r"), tuple(len(one) for one in every))
