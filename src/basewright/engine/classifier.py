"""The engine for classification heads: a model that gives each text a probability of each class, over transformers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig, AutoModelForSequenceClassification
from transformers.utils.logging import disable_progress_bar

from basewright import signals
from basewright.catalog import architectures
from basewright.engine.lm import check_length
from basewright.engine.torch_lm import BATCH_TOKENS
from basewright.errors import UsageError
from basewright.hub import airlock
from basewright.records import Head, Layout, Progress, silent
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.tokenizer import Tokenizer, open_tokenizer

UNLIMITED = 2**31


class Loaded(NamedTuple):
    model: Any
    fresh: tuple[str, ...]
    """The modules that the folder has no weights of: the head, and what it needs; drawn from the seed."""


class Judged(NamedTuple):
    """What a head says of one text."""

    label: str
    probabilities: dict[str, float]
    """Of every class, the likeliest first."""


def load(folder: Path, head: Head, precision: str = "float32", attention: str | None = None, seed: int = 0) -> Loaded:
    """A model with a classification head, its weights from safetensors, in eval mode. Never remote code, never the
    network. `attention` as in `torch_lm.load_model`. ModernBERT's head, which may read the mean of all tokens, is set
    to read the first. Raises `UsageError` for a family that transformers has no such head for."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    disable_progress_bar()
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise UsageError(
            f"transformers has no classification head for a {config.model_type} model",
            fix="leave --head out, so that labels are written, or choose another base",
        )
    if "roberta" in config.model_type and config.pad_token_id != head.pad_id:  # its positions count from that id
        raise UsageError(
            f"config.json pads with the token {config.pad_token_id} and the tokenizer with {head.pad_id}",
            fix="correct pad_token_id in config.json, or pad_token in tokenizer_config.json",
        )
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=len(head.labels),
        id2label=dict(enumerate(head.labels)),
        label2id={label: number for number, label in enumerate(head.labels)},
        pad_token_id=head.pad_id,
        problem_type="single_label_classification",
        dtype=getattr(torch, precision),
        attn_implementation=attention,
        **({"classifier_pooling": "cls"} if config.model_type == "modernbert" else {}),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    return Loaded(model.eval(), _modules(model, set(report["missing_keys"])))


def _modules(model: Any, missing: set[str]) -> tuple[str, ...]:
    """The outermost modules whose every parameter is among `missing`."""
    found: list[str] = []
    for name, module in model.named_modules():
        own = {f"{name}.{part}" for part, _ in module.named_parameters()}
        inside = any(name.startswith(outer + ".") for outer in found)
        if own and own <= missing and not inside:
            found.append(name)
    return tuple(found)


class Classifier:
    """Batches, and their order, change no answer beyond rounding."""

    def __init__(self, name: str, model: Any, tokenizer: Tokenizer, head: Head, layout: Layout) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.head = head
        self.layout = layout
        self.precision = str(model.dtype).removeprefix("torch.")
        self.context = architectures.context_of(model.config.to_dict()) or UNLIMITED
        self._batch_tokens = BATCH_TOKENS["cpu" if model.device.type == "cpu" else "gpu"]

    def ids(self, text: str) -> tuple[int, ...]:
        """What the model reads of a text, in its layout. Raises `DataError` where that is longer than its context."""
        row = encode.judged(self.tokenizer, layouts.prompt(self.layout, text), self.head.pools)
        check_length(len(row.ids), self.context)
        return row.ids

    def classify(self, texts: Sequence[str], progress: Progress = silent) -> list[Judged]:
        """The classes of texts, in order."""
        rows = [self.ids(text) for text in texts]
        found: dict[int, Judged] = {}
        for batch in _batches(rows, self._batch_tokens):
            signals.poll()
            found |= zip(batch, map(self._judged, self._logits([rows[i] for i in batch])), strict=True)
            progress("texts classified", len(found), len(texts))
        return [found[i] for i in range(len(texts))]

    @torch.inference_mode()
    def _logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(B, C) float32: shorter rows are padded on the right, behind a mask."""
        longest = max(map(len, rows))
        ids = [[*row, *[self.head.pad_id] * (longest - len(row))] for row in rows]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        ids_BT, mask_BT = (torch.tensor(each, device=self.model.device) for each in (ids, mask))
        logits_BC: torch.Tensor = self.model(input_ids=ids_BT, attention_mask=mask_BT).logits
        return logits_BC.float().cpu()

    def _judged(self, logits_C: torch.Tensor) -> Judged:
        shares = dict(zip(self.head.labels, logits_C.softmax(-1).tolist(), strict=True))
        ordered = dict(sorted(shares.items(), key=lambda pair: -pair[1]))
        return Judged(next(iter(ordered)), ordered)


def open_classifier(folder: Path, name: str, layout: Layout) -> Classifier:
    """A whole model with the head its config names. Raises `ModelFileError` for files that do not pass the airlock."""
    _, head = airlock.inspect_classifier(folder)
    return Classifier(name, load(folder, head).model, open_tokenizer(folder), head, layout)


def open_tuned(base: Path, adapter: Path, name: str, head: Head, layout: Layout) -> Classifier:
    """A base with an adapter and the head in it, in float32. Raises as `open_classifier`."""
    from peft import PeftModel

    airlock.inspect_adapter(adapter)
    model = PeftModel.from_pretrained(load(base, head).model, adapter).eval()
    return Classifier(name, model.get_base_model(), open_tokenizer(base), head, layout)


def _batches(rows: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Numbers of rows by length, so many at a time that they have about `most` tokens, padded."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    begin = 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and len(rows[order[end]]) * (end + 1 - begin) <= most:
            end += 1
        yield order[begin:end]
        begin = end
