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
from transformers import AutoModelForCausalLM, DynamicCache

from basewright import signals
from basewright.engine import stream
from basewright.engine.lm import Piece, Request, Sampling, Token, check_length, whole_text, windows
from basewright.records import Progress, silent
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer, open_tokenizer

SHARES = {"llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gemma", "olmo", "olmo2", "phi", "stablelm", "smollm3"}
"""Model types with rotary positions and full attention, for which the tree mask is exact."""
BATCH_TOKENS = 4096


def load_model(folder: Path, precision: str = "float32", attention: str = "sdpa") -> Any:
    """A decoder with its weights from safetensors, on the CPU, in eval mode. Never remote code, never the network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
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


@dataclass(slots=True)
class _Row:
    """One request as ids: what is left of its context after the shared prefix, then its branches."""

    request: int
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

    # --- log-likelihood of continuations ---

    @torch.inference_mode()
    def loglikelihood(self, requests: Sequence[Request], progress: Progress = silent) -> list[tuple[float, ...]]:
        pairs = [[encode.pair(self.tokenizer, r.context, c) for c in r.continuations] for r in requests]
        for request in pairs:
            for context, continuation in request:
                check_length(len(context) + len(continuation), self.context)
        if self.model.config.model_type in SHARES:
            contexts = [request[0][0] for request in pairs if request]
            prefix = _common_prefix(contexts)
            rows = [
                _Row(i, request[0][0][len(prefix) :], [continuation for _, continuation in request])
                for i, request in enumerate(pairs)
                if request
            ]
            return self._shared(prefix, rows, len(requests), progress)
        rows = [_Row(i, context, [cont]) for i, request in enumerate(pairs) for context, cont in request]
        return self._plain(rows, len(requests), progress)

    def _shared(self, prefix: list[int], rows: list[_Row], count: int, progress: Progress) -> list[tuple[float, ...]]:
        keys_values = self._prefill(prefix)
        answers: list[tuple[float, ...]] = [()] * count
        done = 0
        for batch in _batches(rows):
            signals.poll()
            ids_BQ, positions_BQ, mask_B1QK = _tree(batch, len(prefix))
            hidden_BQD = self.model.model(
                input_ids=ids_BQ,
                position_ids=positions_BQ,
                attention_mask=mask_B1QK,
                past_key_values=_expand(keys_values, len(batch), self.model.config),
                use_cache=True,
            ).last_hidden_state
            for b, row in enumerate(batch):
                answers[row.request] = self._score(hidden_BQD[b], row)
            done += len(batch)
            progress("items scored", done, len(rows))
        return answers

    def _prefill(self, prefix: list[int]) -> Any:
        if not prefix:
            return None
        ids_1P = torch.tensor([prefix])
        return self.model.model(input_ids=ids_1P, use_cache=True).past_key_values

    def _score(self, hidden_QD: torch.Tensor, row: _Row) -> tuple[float, ...]:
        """Log-likelihood of each branch: its first token from the last context position, the others from its own."""
        at: list[int] = []
        targets: list[int] = []
        offset = len(row.suffix)
        for branch in row.branches:
            at += [len(row.suffix) - 1, *range(offset, offset + len(branch) - 1)]
            targets += branch
            offset += len(branch) - 1
        logprobs_KV = self.model.lm_head(hidden_QD[at]).float().log_softmax(-1)
        picked = logprobs_KV[torch.arange(len(targets)), torch.tensor(targets)].double()
        return tuple(float(part.sum()) for part in picked.split([len(branch) for branch in row.branches]))

    def _plain(self, rows: list[_Row], count: int, progress: Progress) -> list[tuple[float, ...]]:
        answers: list[list[float]] = [[] for _ in range(count)]
        for done, row in enumerate(rows):
            signals.poll()
            ids = row.suffix + row.branches[0]
            logprobs_QV = self.model(input_ids=torch.tensor([ids[:-1]])).logits[0].float().log_softmax(-1)
            at = range(len(row.suffix) - 1, len(ids) - 1)
            answers[row.request].append(float(logprobs_QV[at, row.branches[0]].double().sum()))
            progress("items scored", done + 1, len(rows))
        return [tuple(answer) for answer in answers]

    # --- log-likelihood of whole texts ---

    @torch.inference_mode()
    def rolling(self, texts: Sequence[str], progress: Progress = silent) -> list[float]:
        answers = []
        for done, text in enumerate(texts):
            first, ids = whole_text(self.tokenizer, text)
            total = 0.0
            for inputs, targets in windows(ids, first, self.context):
                signals.poll()
                logits_TV = self.model(input_ids=torch.tensor([inputs])).logits[0, -len(targets) :].float()
                picked_T = logits_TV.log_softmax(-1)[torch.arange(len(targets)), torch.tensor(targets)]
                total += float(picked_T.double().sum())
            answers.append(total)
            progress("texts scored", done + 1, len(texts))
        return answers

    # --- generation ---

    def generate(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        ids = encode.prompt(self.tokenizer, prompt) or [self.tokenizer.eos_id]
        check_length(len(ids) + 1, self.context)
        room = min(sampling.max_tokens, self.context - len(ids))
        return stream.pieces(self.tokenizer, self._tokens(ids, room, sampling), sampling)

    def _tokens(self, ids: list[int], room: int, sampling: Sampling) -> Iterator[Token]:
        generator = torch.Generator().manual_seed(sampling.seed)
        cache, step = None, ids
        for _ in range(room):
            signals.poll()
            with torch.inference_mode():
                out = self.model(input_ids=torch.tensor([step]), past_key_values=cache, use_cache=True)
            cache, logprobs_V = out.past_key_values, out.logits[0, -1].float().log_softmax(-1)
            chosen = _sample(logprobs_V, sampling, generator)
            yield self._token(chosen, logprobs_V, sampling.logprobs)
            if chosen == self.tokenizer.eos_id:
                return
            step = [chosen]

    def _token(self, chosen: int, logprobs_V: torch.Tensor, top: int) -> Token:
        values, ids = logprobs_V.topk(top)
        names = self.tokenizer.pieces(ids.tolist())
        return Token(
            id=chosen,
            text=self.tokenizer.pieces([chosen])[0],
            logprob=float(logprobs_V[chosen]),
            top=tuple(zip(names, values.tolist(), strict=True)),
        )


def _sample(logprobs_V: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Greedy at temperature 0, else nucleus sampling (Holtzman et al. 2020) from the tempered distribution."""
    if sampling.temperature == 0:
        return int(logprobs_V.argmax())
    probabilities_V = (logprobs_V / sampling.temperature).softmax(-1)
    ordered_V, ids_V = probabilities_V.sort(descending=True, stable=True)
    before_V = ordered_V.cumsum(-1) - ordered_V
    ordered_V[before_V >= sampling.top_p] = 0
    return int(ids_V[torch.multinomial(ordered_V, 1, generator=generator)])


def _common_prefix(contexts: Sequence[Sequence[int]]) -> list[int]:
    """The ids all contexts begin with, always leaving each at least one id of its own to predict from."""
    if not contexts:
        return []
    low, high = min(contexts), max(contexts)
    limit = min(len(context) for context in contexts) - 1
    shared = 0
    while shared < limit and low[shared] == high[shared]:
        shared += 1
    return list(low[:shared])


def _batches(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Rows of like length together, longest first, at most BATCH_TOKENS with padding."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: -row.size):
        if batch and (len(batch) + 1) * batch[0].size > BATCH_TOKENS:
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
