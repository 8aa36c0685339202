"""The engine over GGUF files, through llama.cpp's own C interface. Text becomes ids by the tokenizer of the model's
folder, so that the ids are those of training; llama.cpp only turns ids into logits.

What was computed last is kept: the next question computes from the first id that differs, so contexts shared by
neighbouring requests, and the tokens of an answer, are computed once. llama.cpp's kernels round by how many ids come
at once, so with float16 weights the same question may differ by some 1e-4 nats in another order.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright import signals
from basewright.engine import draw, scoring, stream
from basewright.engine.lm import LM, Likelihood, Pair, Piece, Sampling
from basewright.errors import BasewrightError, ModelFileError, UsageError
from basewright.records import Progress, silent
from basewright.text.tokenizer import Tokenizer, open_tokenizer

BATCH = 512
LONGEST = 8192
"""llama.cpp reserves keys and values for the whole context at once, so a long one is cut here; `context` tells."""
_keep: list[Any] = []
"""The log callback: llama.cpp holds only its address, and calls it for as long as the process lives."""


def open_lm(gguf: Path, folder: Path, name: str) -> LlamaCppLM:
    """The engine over `gguf`, with the tokenizer in `folder`. Raises `UsageError` without llama-cpp-python, and
    `ModelFileError` for a file llama.cpp does not load or that does not fit the tokenizer."""
    library = _library()
    tokenizer = open_tokenizer(folder)
    model = library.llama_model_load_from_file(os.fsencode(gguf), library.llama_model_default_params())
    if not model:
        raise ModelFileError(f"llama.cpp cannot load {gguf.name}", fix="make the release again with basewright build")
    rows = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    if rows < tokenizer.size:
        raise ModelFileError(
            f"{gguf.name} has {rows} tokens and its tokenizer {tokenizer.size}",
            fix="make the release again with basewright build",
        )
    context = min(library.llama_model_n_ctx_train(model), LONGEST)
    return LlamaCppLM(
        name=name,
        tokenizer=tokenizer,
        context=context,
        precision=gguf.stem.rpartition("-")[2],
        session=_Session(library, model, _new_context(library, model, context), rows),
    )


@dataclass(slots=True)
class _Session:
    """One llama.cpp context of one sequence; `seen` are the ids whose keys and values it holds."""

    library: Any
    model: Any
    context: Any
    rows: int
    seen: list[int] = field(default_factory=list)

    def logprobs(self, ids: list[int], first: int) -> NDArray[Any]:
        """(len(ids) - first, V) log-probabilities in nats of what follows each of `ids[first:]`."""
        kept = _common(self.seen, ids, first)
        self.library.llama_memory_seq_rm(self.library.llama_get_memory(self.context), 0, kept, -1)
        self.seen = ids[:kept]
        found = []
        for begin in range(kept, len(ids), BATCH):
            signals.poll()
            part = ids[begin : begin + BATCH]
            wanted = [at for at in range(len(part)) if begin + at >= first]
            self._decode(part, begin, wanted)
            self.seen += part
            found += [self._logits(at) for at in wanted]
        return draw.log_softmax(np.stack(found))

    def _decode(self, ids: list[int], begin: int, wanted: list[int]) -> None:
        batch = self.library.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for at, number in enumerate(ids):
                batch.token[at], batch.pos[at] = number, begin + at
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
                batch.logits[at] = at in wanted
            code = self.library.llama_decode(self.context, batch)
        finally:
            self.library.llama_batch_free(batch)
        if code:
            raise BasewrightError(f"llama.cpp stopped with code {code}", fix="try again with --engine torch")

    def _logits(self, at: int) -> NDArray[Any]:
        row = self.library.llama_get_logits_ith(self.context, at)
        return np.ctypeslib.as_array(row, shape=(self.rows,)).copy()  # the buffer is llama.cpp's own

    def __del__(self) -> None:
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)


@dataclass(slots=True)
class LlamaCppLM(LM):
    name: str
    tokenizer: Tokenizer
    context: int
    precision: str
    """As the file is named, such as `Q8_0`."""
    session: _Session
    engine: str = "llama_cpp"

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        return scoring.one_by_one(self._score, pairs, self.context, progress)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        return stream.generate(self.tokenizer, self.context, self._predict, prompt, sampling)

    def _predict(self, ids: list[int]) -> NDArray[Any]:
        last_V: NDArray[Any] = self.session.logprobs(ids, len(ids) - 1)[0]
        return last_V

    def _score(self, pair: Pair) -> Likelihood:
        targets = list(pair.continuation)
        logprobs_KV = self.session.logprobs([*pair.context, *targets[:-1]], len(pair.context) - 1)
        picked = logprobs_KV[np.arange(len(targets)), targets]
        return Likelihood(tuple(picked.tolist()), bool((logprobs_KV.argmax(-1) == targets).all()))


def _library() -> Any:
    try:
        import llama_cpp
    except ImportError as error:
        raise UsageError(
            "the engine llama_cpp needs llama-cpp-python, which is not installed",
            fix="pip install 'basewright[gguf]', or use --engine torch",
        ) from error
    if not _keep:
        _keep.append(llama_cpp.llama_log_callback(lambda _level, _text, _data: None))
        llama_cpp.llama_log_set(_keep[0], ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


def _new_context(library: Any, model: Any, length: int) -> Any:
    params = library.llama_context_default_params()
    params.n_ctx = length
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = max(1, (os.cpu_count() or 2) - 1)
    params.type_k = params.type_v = library.GGML_TYPE_F32
    params.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = library.llama_init_from_model(model, params)
    if not context:
        library.llama_model_free(model)
        raise ModelFileError("llama.cpp has no memory for this model's context", fix="use --engine torch")
    return context


def _common(seen: Sequence[int], ids: Sequence[int], limit: int) -> int:
    """How many ids both begin with, `limit` at most."""
    same = 0
    while same < min(limit, len(seen)) and seen[same] == ids[same]:
        same += 1
    return same
