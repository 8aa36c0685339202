"""Everything a release is made from, in one value, and what every page of it says the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from basewright.records import (
    Adapter,
    Artifact,
    Certificate,
    Check,
    Choice,
    Converted,
    FileEntry,
    Item,
    Made,
    ModelCard,
    Proof,
    Task,
    Weights,
    record,
)
from basewright.release.duties import Duties
from basewright.text import layout

BEST = ("q8_0", "f16")
"""Which GGUF a person is given first: the smaller one, once its parity is proven."""
FOLDERS = {"safetensors": "model", "gguf": "gguf"}


@record
class Parts:
    name: str
    weights: Made[Weights]
    adapter: Made[Adapter]
    proof: Made[Proof]
    certificate: Made[Certificate]
    choice: Made[Choice]
    converted: Made[Converted]
    task: Task
    duties: Duties

    @property
    def card(self) -> ModelCard:
        return self.weights.record.card

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The converted artifacts under the names they have in the release."""
        return tuple(
            replace(artifact, files=tuple(replace(entry, name=placed(artifact, entry)) for entry in artifact.files))
            for artifact in self.converted.record.artifacts
        )

    @property
    def gguf(self) -> Artifact | None:
        """The GGUF to run first, or None when none was asked for."""
        found = {artifact.quantization: artifact for artifact in self.artifacts if artifact.format == "gguf"}
        return next((found[name] for name in (*BEST, *found) if name in found), None)

    @property
    def checks(self) -> tuple[tuple[str, Check], ...]:
        """(what it is about, check), for every check on the way."""
        return (
            *(("training data", check) for check in self.certificate.record.checks),
            *(("trained model", check) for check in self.proof.record.checks),
            *((label(artifact), check) for artifact in self.artifacts for check in artifact.checks),
        )

    @property
    def example(self) -> Item:
        """A short row the model was trained on; a row of the test split is never shown."""
        return min(self.task.train, key=lambda item: (len(item.text), item.id))

    @property
    def prompt(self) -> str:
        """The example as the model reads it."""
        return layout.prompt(self.adapter.record.layout, self.example.text)

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer, should the model not end it with EOS."""
        separator = self.adapter.record.layout.separator
        return (separator,) if separator else ()

    @property
    def max_tokens(self) -> int:
        """Enough for every label and EOS with any tokenizer: a token spells one byte or more."""
        return max(len(layout.target(name).encode()) for name in self.task.labels) + 1


def label(artifact: Artifact) -> str:
    return f"{artifact.format} {artifact.quantization}"


def placed(artifact: Artifact, entry: FileEntry) -> str:
    """A converted file's name in the release, wherever it lay in the converted folder."""
    return f"{FOLDERS[artifact.format]}/{PurePosixPath(entry.name).name}"


def path_of(artifact: Artifact) -> str:
    """What a loader is pointed at: the model folder, or the first GGUF file."""
    return FOLDERS["safetensors"] if artifact.format == "safetensors" else artifact.files[0].name


def write_text(path: Path, text: str) -> None:
    """UTF-8 with the same line ends on every system, so that the same release has the same bytes."""
    path.write_text(text, encoding="utf-8", newline="\n")
