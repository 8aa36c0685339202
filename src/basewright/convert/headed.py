"""Merge an adapter and the head it came with into its base: one folder that transformers alone opens, and its proof."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel

from basewright.convert import parity
from basewright.convert.merge import TOKENIZER
from basewright.engine import classifier
from basewright.engine.classifier import Classifier
from basewright.errors import Refused
from basewright.records import Check, Head, Layout

PLAIN = Layout(prompt="{text}", separator="\n\n")


def merge(base: Path, adapter: Path, head: Head, precision: str, out: Path) -> None:
    """Write AutoModelForSequenceClassification's files to `out`, computed in float32 and stored in `precision`.

    What was trained whole, the head and what it needs, takes the place of the base's. Raises `Refused` where a sum is
    not finite.
    """
    tuned = PeftModel.from_pretrained(classifier.load(base, head).model, adapter)
    try:
        model = tuned.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise Refused(f"the adapter cannot be merged: {error}", fix="lower --learning-rate and tune again") from error
    out.mkdir(parents=True)
    model.to(getattr(torch, precision)).save_pretrained(out)
    for name in TOKENIZER:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)


def proof(base: Path, adapter: Path, head: Head, made: Path, texts: Sequence[str]) -> list[Check]:
    """The merged model, opened from its files alone, against the adapter and head on the base, class by class."""
    trained = classifier.open_tuned(base, adapter, "tuned", head, PLAIN)
    merged = classifier.open_classifier(made, "merged", PLAIN)
    pairs = [(_logprobs(trained, text), _logprobs(merged, text)) for text in texts]
    return parity.compared("merged head", parity.MERGED, pairs, "texts", "class")


def _logprobs(engine: Classifier, text: str) -> torch.Tensor:
    """(1, C), in the order of the head's classes, made to sum to 1 beyond float32, whose rounding would show."""
    said = engine.classify([text])[0].probabilities
    return torch.tensor([[said[label] for label in engine.head.labels]], dtype=torch.float64).log().log_softmax(-1)
