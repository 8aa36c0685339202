"""The engine over transformers models. What several questions have in common is computed once.

`engine.tree` says what that is: a prefix is computed once for all rows below it, and a row holds a context with all
its continuations under a tree mask. Whether a model can be asked so is not looked up but tried: a small set of
questions is answered by plain forward passes and by sharing, and what agrees is used (`sharing` says which). Exact in
float32: sharing, batching and order change no answer beyond rounding (laws in tests/engine). In bfloat16 they do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, DynamicCache
from transformers.utils.logging import disable_progress_bar

from basewright import signals
from basewright.catalog import architectures
from basewright.catalog.folder import read_config, require_decoder
from basewright.engine import batched, draw, stream, tree
from basewright.engine.lm import LM, Likelihood, Pair, Piece, Sampling, check_length, check_pairs
from basewright.hub import airlock
from basewright.records import Progress, silent
from basewright.text.tokenizer import Tokenizer, open_tokenizer, stops_of

Sharing = Literal["tree", "prefix", "none"]
LIMITS: dict[Sharing, tree.Limits] = {
    "tree": tree.Limits(),
    "prefix": tree.Limits(branches=False, saved=128),
    "none": tree.Limits(branches=False, prefixes=False),
}
BATCH_TOKENS = {"cpu": 512, "gpu": 16_384}
"""Ids computed at once: on a CPU few enough to stay in its caches (`benchmarks/scoring.py`)."""
OWN_TOKENS = 64
TILE = (512, 4096)
"""Outputs by tokens whose logits exist at a time; those of a whole vocabulary would be written to memory and back."""
PLAIN_LOGITS = 2**25
"""Logits that exist at a time where the model makes them all."""
STABLE_ROPES = {"default", "linear", "llama3", "yarn"}
"""Kinds of rotary positions whose angles do not depend on how long the text is."""
UNSHARED = (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError)
"""What a model raises that does not take a tree mask, or keys and values of a prefix."""


def load_model(folder: Path, precision: str = "float32", attention: str | None = None, quantization: Any = None) -> Any:
    """A decoder, or an encoder with its masked head, from safetensors, in eval mode. Never remote code or the network.

    Without `attention` it is torch's own fast one where the family has it, else the plain one. `quantization` is what
    transformers calls a quantization config.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    disable_progress_bar()  # all that people see is printed by the command line
    kind = architectures.family_of(read_config(folder)).kind
    model = (AutoModelForMaskedLM if kind == "encoder" else AutoModelForCausalLM).from_pretrained(
        folder,
        dtype=getattr(torch, precision),
        attn_implementation=attention,
        quantization_config=quantization,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    return model.eval()


def open_lm(folder: Path, name: str, precision: str = "float32") -> TorchLM:
    """The engine over a model folder that has passed the airlock; on the GPU where there is one.

    Raises `UsageError` for an encoder.
    """
    require_decoder(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchLM(name=name, model=load_model(folder, precision).to(device), tokenizer=open_tokenizer(folder))


def open_tuned(base: Path, adapter: Path, name: str, precision: str = "float32") -> TorchLM:
    """The engine over a base with its LoRA adapter applied, unmerged; in float32 it is the model as it was trained."""
    from peft import PeftModel

    airlock.inspect_adapter(adapter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = PeftModel.from_pretrained(load_model(base, precision), adapter).eval().to(device).get_base_model()
    put_tokens(model)
    tokenizer = open_tokenizer(base)
    ends = [number for number in stops_of(adapter) if number != tokenizer.eos_id]
    tokenizer = replace(tokenizer, stops=tuple(dict.fromkeys([*tokenizer.stops, *ends])))
    return TorchLM(name=name, model=model, tokenizer=tokenizer)


def put_tokens(model: Any) -> None:
    """Embeddings that an adapter trained, put into their tables: else a table is made anew each time it is read."""
    from peft.utils.other import TrainableTokensWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, TrainableTokensWrapper):
            if module.token_adapter.tied_adapter is None:  # else it shares the table that is changed here
                module.token_adapter.merge()
            model.set_submodule(name, module.token_adapter.get_base_layer())


@dataclass(slots=True)
class _Prefix:
    """What was computed for the ids all rows of a group begin with: keys and values, and outputs (P, D)."""

    length: int = 0
    layers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    hidden_PD: torch.Tensor | None = None

    def cache(self, batch: int) -> Any:
        """Keys and values for every row of a batch, as views."""
        copy = DynamicCache()  # without the config: layers with a sliding window keep everything, the mask cuts
        for i, (keys, values) in enumerate(self.layers):
            copy.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), i)
        return copy


class TorchLM(LM):
    engine = "torch"

    def __init__(self, name: str, model: Any, tokenizer: Tokenizer) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.precision = str(model.dtype).removeprefix("torch.")
        self.context = _context(model.config)
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._batch_tokens = BATCH_TOKENS["cpu" if model.device.type == "cpu" else "gpu"]
        self._sharing: Sharing | None = None

    @property
    def sharing(self) -> Sharing:
        """What the model was found to answer alike: `tree`, `prefix` (rows that do not branch), or `none`."""
        if self._sharing is None:
            self._sharing = _proven(self)
        return self._sharing

    # --- log-likelihood ---

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        check_pairs(pairs, self.context)
        found = self._together(pairs) if _angles_agree(self.model.config, pairs) else self._alone(pairs)
        for done, answer in enumerate(found):
            yield answer
            progress("continuations scored", done + 1, len(pairs))

    def _together(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Likelihood]]:
        return self.answers(pairs, LIMITS[self.sharing], plain=self.sharing == "none")

    def _alone(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Likelihood]]:
        for place, one in enumerate(pairs):
            for _, answer in self.answers([one], LIMITS["none"], plain=True):
                yield place, answer

    @torch.inference_mode()
    def answers(
        self, pairs: Sequence[Pair], limits: tree.Limits, plain: bool = False
    ) -> Iterator[tuple[int, Likelihood]]:
        """`score` within given limits; `plain` asks the model for logits as transformers makes them."""
        outputs = self._plain_outputs if plain else self._outputs
        most = self._plain_tokens() if plain else self._batch_tokens
        stack = [(tree.plan(pairs, limits), _Prefix())]
        while stack:
            group, above = stack.pop()
            prefix = self._extend(above, group.prefix) if group.prefix else above
            for batch in _batches(group.rows, most):
                signals.poll()
                yield from self._read_off(outputs(batch, prefix), batch, pairs)
            if group.queries:
                own = tree.Row(queries=group.queries)
                yield from self._read_off(_Outputs(self._head, None, prefix.hidden_PD, self._vocabulary), [own], pairs)
            stack += [(inner, prefix) for inner in group.groups]

    def _plain_tokens(self) -> int:
        """Tokens of a batch where the logits of every position are made."""
        return min(self._batch_tokens, PLAIN_LOGITS // self._vocabulary)

    def _extend(self, above: _Prefix, ids: tuple[int, ...]) -> _Prefix:
        signals.poll()
        out = self.model.base_model(self._tensor([ids]), past_key_values=above.cache(1), use_cache=True)
        hidden_PD = out.last_hidden_state[0]
        if above.hidden_PD is not None:
            hidden_PD = torch.cat([above.hidden_PD, hidden_PD])
        layers = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        return _Prefix(above.length + len(ids), layers, hidden_PD)

    def _outputs(self, batch: Sequence[tree.Row], prefix: _Prefix) -> _Outputs:
        """Last hidden states of a batch of rows after a prefix."""
        inputs: dict[str, Any] = {}
        if not all(row.chain for row in batch):  # where no row branches, the model's own mask is the right one
            positions_BQ, mask_BQK = _tree_mask(batch, prefix.length)
            inputs["position_ids"] = self._tensor(positions_BQ)
            inputs["attention_mask"] = self._masks(positions_BQ, mask_BQK, prefix.length)
        if prefix.length:
            inputs["past_key_values"] = prefix.cache(len(batch))
        ids_BQ = self._tensor(_padded(batch))
        hidden_BQD = self.model.base_model(ids_BQ, **inputs, use_cache=bool(prefix.length)).last_hidden_state
        return _Outputs(self._head, hidden_BQD, prefix.hidden_PD, self._vocabulary)

    def _plain_outputs(self, batch: Sequence[tree.Row], _prefix: _Prefix) -> _Outputs:
        logits_BQV = self.model(input_ids=self._tensor(_padded(batch)), use_cache=False).logits
        return _Outputs(
            lambda logits_KV, begin, end: logits_KV[:, begin:end].float(), logits_BQV, None, self._vocabulary
        )

    def _masks(self, positions_BQ: NDArray[Any], mask_BQK: NDArray[Any], prefix: int) -> Any:
        """The tree mask, and where layers see a window only, that mask too, as transformers takes them."""
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        if not window or positions_BQ.max() < window:
            return self._mask(mask_BQK)
        seen_BK = np.concatenate([np.tile(np.arange(prefix), (len(positions_BQ), 1)), positions_BQ], axis=1)
        near_BQK = positions_BQ[:, :, None] - seen_BK[:, None, :] < window
        near = self._mask(mask_BQK & near_BQK)
        if getattr(config, "layer_types", None):
            return {"full_attention": self._mask(mask_BQK), "sliding_attention": near}
        return near

    def _mask(self, seen_BQK: NDArray[Any]) -> torch.Tensor:
        """(B, 1, Q, K): what may be seen; for plain attention code, what is added to the scores."""
        mask = torch.from_numpy(seen_BQK[:, None]).to(self.model.device)
        if self.model.config._attn_implementation != "eager":
            return mask
        hidden = torch.full(mask.shape, torch.finfo(self.model.dtype).min, dtype=self.model.dtype, device=mask.device)
        return hidden.masked_fill_(mask, 0)

    def _head(self, hidden_KD: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        """(K, end - begin) float32 logits of some tokens, as the model's own forward makes them from hidden states."""
        config = self.model.config.get_text_config()
        output = self.model.get_output_embeddings()
        bias = None if output.bias is None else output.bias[begin:end]
        logits_KV = torch.nn.functional.linear(hidden_KD, output.weight[begin:end], bias)
        if scale := getattr(config, "logit_scale", None):
            logits_KV = logits_KV * scale
        if scale := getattr(config, "logits_scaling", None):
            logits_KV = logits_KV / scale
        if cap := getattr(config, "final_logit_softcapping", None):
            logits_KV = torch.tanh(logits_KV / cap) * cap
        return logits_KV.float()

    def _read_off(
        self, outputs: _Outputs, batch: Sequence[tree.Row], pairs: Sequence[Pair]
    ) -> Iterator[tuple[int, Likelihood]]:
        """The answers of all queries of a batch; an output that several ask for is turned into logits once."""
        wanted: dict[tuple[int, int], int] = {}
        asked = []
        for b, row in enumerate(batch):
            for query in row.queries:
                keys = [(b, at) if at >= 0 else (-1, ~at) for at in query.at]
                asked.append((query.place, [wanted.setdefault(key, len(wanted)) for key in keys]))
        rows = [row for _, own in asked for row in own]
        targets = [target for place, _ in asked for target in pairs[place].continuation]
        values, likeliest = _picked(outputs, list(wanted), np.asarray(rows), np.asarray(targets))
        begin = 0
        for place, own in asked:
            end = begin + len(own)
            yield place, Likelihood(tuple(values[begin:end]), all(likeliest[begin:end]))
            begin = end

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.int64), device=self.model.device)

    # --- generation ---

    def complete(
        self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], progress: Progress = silent
    ) -> Iterator[tuple[int, Piece]]:
        if self.sharing != "tree" or not all(s.temperature == 0 and s.logprobs == 0 for s in samplings):
            yield from super().complete(prompts, samplings, progress)
            return
        asked = [list(prompt) or [self.tokenizer.eos_id] for prompt in prompts]
        for prompt in asked:
            check_length(len(prompt) + 1, self.context)
        for done, found in enumerate(batched.complete(self.model, self.tokenizer, self.context, asked, samplings)):
            yield found
            progress("answers written", done + 1, len(prompts))

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        return stream.generate(self.tokenizer, self.context, self._predictor(), prompt, sampling)

    def _predictor(self) -> draw.Predict:
        """A `draw.Predict` that remembers the keys and values of what it has seen."""
        cache: Any = None
        seen = 0

        def predict(ids: list[int]) -> NDArray[Any]:
            nonlocal cache, seen
            with torch.inference_mode():
                out = self.model(
                    input_ids=self._tensor([ids[seen:]]), past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                logits_V = out.logits[0, -1].float().cpu().numpy()
            cache, seen = out.past_key_values, len(ids)
            return draw.log_softmax(logits_V)

        return predict


@dataclass(slots=True)
class _Outputs:
    """Outputs of a batch's rows (B, Q, D) and of the prefix (P, D), and what turns some of them into logits."""

    head: Callable[[torch.Tensor, int, int], torch.Tensor]
    """(K, D) outputs, first and last of some tokens → their logits."""
    rows: torch.Tensor | None
    prefix: torch.Tensor | None
    vocabulary: int

    def at(self, keys: Sequence[tuple[int, int]]) -> torch.Tensor:
        """(K, D) of (row, index); row -1 is the prefix."""
        width, size = (self.rows.shape[1], self.rows.shape[0] * self.rows.shape[1]) if self.rows is not None else (0, 0)
        places = [row * width + index if row >= 0 else size + index for row, index in keys]
        parts = [part.flatten(0, -2) for part in (self.rows, self.prefix) if part is not None]
        every_ND = parts[0] if len(parts) == 1 else torch.cat(parts)
        return every_ND[torch.tensor(places, device=every_ND.device)]


def _picked(
    outputs: _Outputs, wanted: Sequence[tuple[int, int]], rows: NDArray[Any], targets: NDArray[Any]
) -> tuple[list[float], list[bool]]:
    """For each (row of `wanted`, target): its log-probability, and whether it is the likeliest there."""
    values, likeliest = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    hidden_KD = outputs.at(wanted)
    for begin in range(0, len(wanted), TILE[0]):
        part_KD = hidden_KD[begin : begin + TILE[0]]
        mine = np.flatnonzero((rows >= begin) & (rows < begin + len(part_KD)))
        row_N, target_N = (torch.from_numpy(of[mine]).to(part_KD.device) for of in (rows - begin, targets))
        logits_N, total_K, best_K = _tiled(outputs, part_KD, row_N, target_N)
        values[mine] = (logits_N - total_K[row_N]).cpu().numpy()
        likeliest[mine] = (best_K[row_N] == target_N).cpu().numpy()
    return values.tolist(), likeliest.tolist()


def _tiled(
    outputs: _Outputs, hidden_KD: torch.Tensor, row_N: torch.Tensor, target_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of the targets; log of the sum of exponentials, and the likeliest token, of each row.

    The sum is kept relative to the largest logit so far (online softmax, Milakov and Gimelshein 2018).
    """
    logits_N = hidden_KD.new_zeros(len(row_N), dtype=torch.float32)
    top_K = hidden_KD.new_full((len(hidden_KD),), -math.inf, dtype=torch.float32)
    best_K = torch.zeros_like(top_K, dtype=torch.long)
    sum_K = torch.zeros_like(top_K)
    for begin in range(0, outputs.vocabulary, TILE[1]):
        tile_KV = outputs.head(hidden_KD, begin, min(begin + TILE[1], outputs.vocabulary))
        here = ((target_N >= begin) & (target_N < begin + TILE[1])).nonzero()[:, 0]
        logits_N[here] = tile_KV[row_N[here], target_N[here] - begin]
        highest_K, at_K = tile_KV.max(-1)
        best_K = torch.where(highest_K > top_K, at_K + begin, best_K)  # the first of equals, as argmax has it
        new_K = torch.maximum(top_K, highest_K)
        sum_K = sum_K * (top_K - new_K).exp() + tile_KV.sub(new_K[:, None]).exp_().sum(-1)
        top_K = new_K
    return logits_N, top_K + sum_K.log(), best_K


def _batches(rows: Sequence[tree.Row], most: int) -> Iterator[list[tree.Row]]:
    """Rows of like length together, longest first, at most `most` ids with padding.

    A short row counts as OWN_TOKENS: the prefix is repeated for every row, which is memory too.
    """
    batch: list[tree.Row] = []
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        if batch and (len(batch) + 1) * max(len(batch[0].ids), OWN_TOKENS) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _padded(batch: Sequence[tree.Row]) -> NDArray[np.int64]:
    """(B, Q) ids, zeros on the right: a decoder's earlier outputs never see them."""
    ids_BQ = np.zeros((len(batch), max(len(row.ids) for row in batch)), dtype=np.int64)
    for b, row in enumerate(batch):
        ids_BQ[b, : len(row.ids)] = row.ids
    return ids_BQ


def _tree_mask(batch: Sequence[tree.Row], prefix: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """positions (B, Q), and the mask (B, Q, prefix + Q): an id sees the prefix, its ancestors, and itself."""
    width = max(len(row.ids) for row in batch)
    positions_BQ = np.zeros((len(batch), width), dtype=np.int64)
    mask_BQK = np.zeros((len(batch), width, prefix + width), dtype=bool)
    mask_BQK[:, :, :prefix] = True
    mask_BQK[:, :, prefix:] |= np.eye(width, dtype=bool)  # padding sees itself, so that no row is empty
    for b, row in enumerate(batch):
        for begin, end, parent in row.segments:
            own = np.arange(begin, end)
            first = positions_BQ[b, parent] + 1 if parent >= 0 else prefix
            positions_BQ[b, own] = first + own - begin
            if parent >= 0:
                mask_BQK[b, begin:end] |= mask_BQK[b, parent]
            mask_BQK[b, begin:end, prefix + begin : prefix + end] = np.tri(end - begin, dtype=bool)
    return positions_BQ, mask_BQK


# --- which sharing is exact -----------------------------------------------------------------------


def _proven(lm: TorchLM) -> Sharing:
    """The most sharing under which the model answers a small set of questions as it does one by one."""
    pairs = _questions(lm)
    plain = dict(lm.answers(pairs, LIMITS["none"], plain=True))
    for sharing in ("tree", "prefix"):
        tight = replace(LIMITS[sharing], shortest=2, saved=2, spread=min(8, LIMITS[sharing].spread))
        try:
            found = dict(lm.answers(pairs, tight))
        except UNSHARED:
            continue
        if all(_agree(found[place], plain[place], lm.precision) for place in plain):
            return sharing
    return "none"


def _questions(lm: TorchLM) -> list[Pair]:
    """Prefixes within prefixes, contexts with branches, and one text alone; the same for every model."""
    generator = np.random.default_rng(0)
    room = min(lm.context, 40) // 4
    ids = [tuple(generator.integers(0, lm.tokenizer.size, room).tolist()) for _ in range(12)]
    return [
        *(Pair(ids[0] + ids[1], ids[n]) for n in (2, 3)),
        *(Pair(ids[0] + ids[4] + ids[5], ids[n][:3]) for n in (6, 7, 8)),
        *(Pair(ids[0] + ids[4] + ids[9], ids[n][:1]) for n in (6, 7)),
        Pair(ids[10], ids[11]),
    ]


def _agree(found: Likelihood, plain: Likelihood, precision: str) -> bool:
    """Within rounding: in half precision two correct ways of computing differ by tenths of a nat."""
    limit = 1e-3 if precision == "float32" else 0.3
    return all(math.isclose(a, b, abs_tol=limit) for a, b in zip(found.logprobs, plain.logprobs, strict=True))


def _context(config: Any) -> int:
    """Tokens the model was made for. A few configurations do not say: then what lm-evaluation-harness assumes."""
    text = config.get_text_config()
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "seq_length")
    return next((int(value) for name in names if (value := getattr(text, name, None))), 2048)


def _angles_agree(config: Any, pairs: Sequence[Pair]) -> bool:
    """False where rotary angles depend on the longest text of a batch, and these texts are long enough for that."""
    rope = getattr(config.get_text_config(), "rope_parameters", None) or {}
    if rope.get("rope_type", "default") in STABLE_ROPES:
        return True
    short = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    return all(len(one.context) + len(one.continuation) - 1 <= short for one in pairs)
