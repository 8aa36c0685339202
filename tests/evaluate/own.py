"""Own tasks made where a test needs them, and a model that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from basewright.engine.fake import FakeLM
from basewright.engine.lm import Likelihood, Piece, Request, Sampling
from basewright.evaluate import spec
from basewright.evaluate import task as tasks
from basewright.evaluate.items import Row
from basewright.evaluate.task import Material, OwnTask
from basewright.records import Progress, silent

Tell = Callable[[str, str], float]
"""(context, continuation) → nats."""
Write = Callable[[str], str]


class Told(FakeLM):
    """Gives the log-likelihoods and texts it is told, one token a byte, and remembers all it was asked."""

    def __init__(self, tell: Tell = lambda _context, _text: -1.0, write: Write = lambda _prompt: "") -> None:
        super().__init__(name="told", context=100_000)
        self.tell = tell
        self.write = write
        self.asked: list[Request] = []
        self.calls = 0

    def loglikelihood(self, requests: Sequence[Request], progress: Progress = silent) -> list[tuple[Likelihood, ...]]:
        self.calls += 1
        self.asked += requests
        return [tuple(self._told(one.context, text) for text in one.continuations) for one in requests]

    def rolling(self, texts: Sequence[str], progress: Progress = silent) -> list[Likelihood]:
        self.calls += 1
        return [self._told("", text) for text in texts]

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        text = prompt if isinstance(prompt, str) else self.tokenizer.text(prompt)
        self.asked.append(Request(text, ()))
        yield Piece(self.write(text), finish="stop")

    def _told(self, context: str, text: str) -> Likelihood:
        size = len(text.encode())
        return Likelihood((self.tell(context, text) / size,) * size, False)


def rows(*fields: dict[str, Any], name: str = "data.jsonl") -> tuple[Row, ...]:
    """Rows whose ids are `a`, `b`, …; `group` and `language` as in a file."""
    return tuple(
        Row(
            id=str(one.get("id", chr(97 + n))),
            where=f"{name} line {n + 1}",
            fields=one,
            group=one.get("group", ""),
            parts=(one["language"],) if "language" in one else (),
        )
        for n, one in enumerate(fields)
    )


def make(raw: dict[str, Any], *fields: dict[str, Any], shots: tuple[Row, ...] | None = None) -> OwnTask:
    """A task without files."""
    stated = spec.parse({"name": "t", "data": "data.jsonl", **raw}, "t.toml")
    return tasks.make(stated, Material(rows=rows(*fields), shots=shots))


def write(folder: Path, toml: str, data: Sequence[dict[str, Any]]) -> Path:
    """A task's files; `toml` is all but its name and data."""
    (folder / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in data), "utf-8")
    path = folder / "task.toml"
    path.write_text('name = "t"\ndata = "data.jsonl"\n' + toml, "utf-8")
    return path
