"""The engine over transformers models. Contexts are computed once for all that share them.

Requests become rows of token ids: what all contexts of a call begin with is computed once and kept; the rest of a
context and all its continuations are one row under a tree mask, so a context is computed once for its choices.
Sharing is on token ids, never on strings. Exact in float32: sharing, batching and order change no answer beyond
rounding (test laws in tests/engine). Architectures whose attention takes no mask fall back to plain rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils.logging import disable_progress_bar

from basewright import signals
from basewright.engine import draw, scoring, stream
from basewright.engine.lm import Piece, Request, Sampling, pairs
from basewright.records import Progress, silent
from basewright.text.tokenizer import Tokenizer, open_tokenizer

SHARES = {"llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gemma", "olmo", "olmo2", "phi", "stablelm", "smollm3"}
"""Model types with rotary positions and full attention, for which the tree mask is exact."""
ROPES = {"default", "linear", "llama3", "yarn"}
"""Kinds of rotary positions whose angles do not depend on how long the text is."""
BATCH_TOKENS = 4096
OWN_TOKENS = 64


def load_model(folder: Path, precision: str = "float32", attention: str = "sdpa") -> Any:
    """A decoder with its weights from safetensors, on the CPU, in eval mode. Never remote code, never the network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    disable_progress_bar()  # all that people see is printed by the command line
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, precision),
        attn_implementation=attention,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    return model.eval()


def open_lm(folder: Path, name: str, precision: str = "float32") -> TorchLM:
    """The engine over a model folder that has passed the airlock."""
    return TorchLM(name=name, model=load_model(folder, precision), tokenizer=open_tokenizer(folder))


def open_tuned(base: Path, adapter: Path, name: str) -> TorchLM:
    """The engine over a base with its LoRA adapter applied, unmerged, in float32: the model as it was trained."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(load_model(base), adapter).eval()
    return TorchLM(name=name, model=model.get_base_model(), tokenizer=open_tokenizer(base))


@dataclass(slots=True)
class _Row:
    """What is left of a context after the shared prefix, and its branches with their places in the answer."""

    request: int
    places: list[int]
    suffix: list[int]
    branches: list[list[int]]

    @property
    def size(self) -> int:
        return len(self.suffix) + sum(len(branch) - 1 for branch in self.branches)


@dataclass(slots=True)
class TorchLM:
    name: str
    model: Any
    tokenizer: Tokenizer
    engine: str = "torch"

    @property
    def precision(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def context(self) -> int:
        return int(self.model.config.max_position_embeddings)

    # --- log-likelihood ---

    def loglikelihood(self, requests: Sequence[Request], progress: Progress = silent) -> list[tuple[float, ...]]:
        if not _shares(self.model.config):
            return scoring.loglikelihood(self.tokenizer, self.context, self._score, requests, progress)
        rows = _rows(pairs(self.tokenizer, self.context, requests))
        answers = [[0.0] * len(request.continuations) for request in requests]
        for done, (row, values) in enumerate(self._shared(rows)):
            for place, value in zip(row.places, values, strict=True):
                answers[row.request][place] = value
            progress("items scored", done + 1, len(rows))
        return [tuple(answer) for answer in answers]

    def rolling(self, texts: Sequence[str], progress: Progress = silent) -> list[float]:
        return scoring.rolling(self.tokenizer, self.context, self._score, texts, progress)

    @torch.inference_mode()
    def _score(self, before: list[int], targets: list[int]) -> float:
        """Log-likelihood of `targets` after `before`, by one forward pass over both."""
        ids_1T = torch.tensor([before + targets[:-1]])
        logits_KV = self.model(input_ids=ids_1T).logits[0, -len(targets) :].float()
        return float(_picked(logits_KV, targets).sum())

    @torch.inference_mode()
    def _shared(self, rows: list[_Row]) -> Iterator[tuple[_Row, list[float]]]:
        prefix = _common_prefix([row.suffix for row in rows])
        for row in rows:
            row.suffix = row.suffix[len(prefix) :]
        keys_values = self._prefill(prefix)
        for batch in _batches(rows):
            signals.poll()
            ids_BQ, positions_BQ, mask_B1QK = _tree(batch, len(prefix))
            hidden_BQD = self.model.base_model(
                input_ids=ids_BQ,
                position_ids=positions_BQ,
                attention_mask=mask_B1QK,
                past_key_values=_expand(keys_values, len(batch), self.model.config),
                use_cache=True,
            ).last_hidden_state
            for b, row in enumerate(batch):
                yield row, self._branches(hidden_BQD[b], row)

    def _prefill(self, prefix: list[int]) -> Any:
        if not prefix:
            return None
        ids_1P = torch.tensor([prefix])
        return self.model.base_model(input_ids=ids_1P, use_cache=True).past_key_values

    def _branches(self, hidden_QD: torch.Tensor, row: _Row) -> list[float]:
        """Log-likelihood of each branch: its first token from the last context position, the others from its own."""
        at: list[int] = []
        targets: list[int] = []
        offset = len(row.suffix)
        for branch in row.branches:
            at += [len(row.suffix) - 1, *range(offset, offset + len(branch) - 1)]
            targets += branch
            offset += len(branch) - 1
        picked: Any = _picked(self.model.get_output_embeddings()(hidden_QD[at]).float(), targets)
        return [float(part.sum()) for part in picked.split([len(branch) for branch in row.branches])]

    # --- generation ---

    def generate(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        return stream.generate(self.tokenizer, self.context, self._predictor(), prompt, sampling)

    def _predictor(self) -> draw.Predict:
        """A `draw.Predict` that remembers the keys and values of what it has seen."""
        cache: Any = None
        seen = 0

        def predict(ids: list[int]) -> NDArray[Any]:
            nonlocal cache, seen
            new_1T = torch.tensor([ids[seen:]])
            with torch.inference_mode():
                out = self.model(input_ids=new_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
                logits_V = out.logits[0, -1].float().numpy()
            cache, seen = out.past_key_values, len(ids)
            return draw.log_softmax(logits_V)

        return predict


def _picked(logits_KV: torch.Tensor, targets: list[int]) -> torch.Tensor:
    """(K,) float64 log-probabilities of the targets."""
    return logits_KV.log_softmax(-1)[torch.arange(len(targets)), torch.tensor(targets)].double()


def _shares(config: Any) -> bool:
    """Whether the tree mask is exact: rotary positions that do not depend on the length, attention over everything."""
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return config.model_type in SHARES and not getattr(config, "sliding_window", None) and rope in ROPES


def _rows(requests: Sequence[Sequence[tuple[list[int], list[int]]]]) -> list[_Row]:
    """One row for each request, or more where a continuation changes the ids of its context's end."""
    rows = []
    for number, request in enumerate(requests):
        trees: dict[tuple[int, ...], list[int]] = {}
        for place, (context, continuation) in enumerate(request):
            if continuation:
                trees.setdefault(tuple(context), []).append(place)
        rows += [_Row(number, places, list(ids), [request[p][1] for p in places]) for ids, places in trees.items()]
    return rows


def _common_prefix(contexts: Sequence[list[int]]) -> list[int]:
    """The ids all contexts begin with, always leaving each at least one id of its own to predict from."""
    if not contexts:
        return []
    low, high = min(contexts, key=tuple), max(contexts, key=tuple)
    limit = min(len(context) for context in contexts) - 1
    shared = 0
    while shared < limit and low[shared] == high[shared]:
        shared += 1
    return list(low[:shared])


def _batches(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Rows of like length together, longest first, at most BATCH_TOKENS with padding.

    A short row counts as OWN_TOKENS: the shared prefix is repeated for every row, which is memory too.
    """
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: -row.size):
        if batch and (len(batch) + 1) * max(batch[0].size, OWN_TOKENS) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _tree(batch: Sequence[_Row], prefix: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids (B, Q), positions (B, Q), and the mask (B, 1, Q, prefix + Q): a branch sees its context and itself."""
    width = max(row.size for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    positions = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, prefix + width, dtype=torch.bool)
    mask[:, :, :prefix] = True
    mask[:, :, prefix:] |= torch.eye(width, dtype=torch.bool)  # padding sees itself, so that no row is empty
    for b, row in enumerate(batch):
        length = len(row.suffix)
        ids[b, :length] = torch.tensor(row.suffix)
        positions[b, :length] = torch.arange(prefix, prefix + length)
        mask[b, :length, prefix : prefix + length] = torch.ones(length, length, dtype=torch.bool).tril()
        at = length
        for branch in row.branches:
            size = len(branch) - 1
            ids[b, at : at + size] = torch.tensor(branch[:-1])
            positions[b, at : at + size] = torch.arange(prefix + length, prefix + length + size)
            mask[b, at : at + size, prefix : prefix + length] = True
            mask[b, at : at + size, prefix + at : prefix + at + size] = torch.ones(size, size, dtype=torch.bool).tril()
            at += size
    return ids, positions, mask[:, None]


def _expand(cache: Any, batch: int, config: Any) -> Any:
    """The prefix's keys and values for every row of a batch, as views."""
    copy = DynamicCache(config=config)
    if cache is not None:
        for i, layer in enumerate(cache.layers):
            copy.update(layer.keys.expand(batch, -1, -1, -1), layer.values.expand(batch, -1, -1, -1), i)
    return copy
