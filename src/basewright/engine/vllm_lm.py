"""The engine over vLLM in this process. Written after vLLM's documentation and tested against a stand-in with that
interface; it was not run against vLLM itself, which was not to be installed where this was made.

Scores are read off `prompt_logprobs`, for which vLLM computes every prompt whole. `context` is two less than what the
model sees: the last token is in the prompt too, and vLLM always makes one more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basewright import signals
from basewright.engine import stream
from basewright.engine.lm import CERTAIN, LM, Likelihood, Pair, Piece, Sampling, Token, check_length, check_pairs
from basewright.errors import BasewrightError, UsageError
from basewright.records import Progress, silent
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer, open_tokenizer

BATCH_TOKENS = 2**18
"""Tokens handed to vLLM at a time; it batches them itself, and between two such calls signals are polled."""


def open_lm(folder: Path, name: str, precision: str = "bfloat16") -> VllmLM:
    """The engine over a model folder that has passed the airlock. Raises `UsageError` without vLLM."""
    library = _library()
    model = library.LLM(model=str(folder), dtype=precision, trust_remote_code=False)
    seen = int(model.llm_engine.model_config.max_model_len)
    return VllmLM(name, open_tokenizer(folder), seen - 2, precision, library, model)


@dataclass(slots=True)
class VllmLM(LM):
    name: str
    tokenizer: Tokenizer
    context: int
    precision: str
    library: Any = field(repr=False)
    model: Any = field(repr=False)
    engine: str = "vllm"

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        check_pairs(pairs, self.context)
        return self._scored(pairs, progress)

    def _scored(self, pairs: Sequence[Pair], progress: Progress) -> Iterator[tuple[int, Likelihood]]:
        settings = self.library.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False)
        done = 0
        for places in _batches(pairs):
            signals.poll()
            outputs = self._outputs([[*pairs[place].context, *pairs[place].continuation] for place in places], settings)
            for place, output in zip(places, outputs, strict=True):
                done += 1
                yield place, _likelihood(pairs[place], output.prompt_logprobs)
                progress("continuations scored", done, len(pairs))

    def _outputs(self, prompts: list[list[int]], settings: Any) -> list[Any]:
        tokens = [self.library.TokensPrompt(prompt_token_ids=ids) for ids in prompts]
        return list(self.model.generate(tokens, sampling_params=settings, use_tqdm=False))

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue a prompt. In this process vLLM answers whole, so all is computed before the first piece."""
        ids = (encode.prompt(self.tokenizer, prompt) if isinstance(prompt, str) else list(prompt)) or [
            self.tokenizer.eos_id
        ]
        check_length(len(ids) + 1, self.context)
        room = min(sampling.max_tokens, self.context - len(ids))
        return stream.pieces(self.tokenizer, ids, self._tokens(ids, room, sampling), sampling)

    def _tokens(self, ids: list[int], room: int, sampling: Sampling) -> Iterator[Token]:
        if room <= 0:
            return
        settings = self.library.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed % 2**63,
            max_tokens=room,
            logprobs=sampling.logprobs,
            stop=list(sampling.stops) or None,
            stop_token_ids=list(self.tokenizer.stops) or None,
        )
        signals.poll()
        (answer,) = self._outputs([ids], settings)[0].outputs
        for number, row in zip(answer.token_ids, answer.logprobs, strict=True):
            yield self._token(number, row, sampling.logprobs)
        if answer.finish_reason == "stop":  # by a stop text, or by an end token that vLLM does not always name
            yield Token(self.tokenizer.eos_id, "", 0.0)

    def _token(self, number: int, row: dict[int, Any], count: int) -> Token:
        likeliest = sorted(((value.logprob, other) for other, value in row.items()), key=lambda pair: -pair[0])[:count]
        texts = self.tokenizer.pieces([number, *(other for _, other in likeliest)])
        top = tuple(zip(texts[1:], (value for value, _ in likeliest), strict=True))
        return Token(number, texts[0], row[number].logprob, top)


def _batches(pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Places of pairs with neighbours that begin alike, at most BATCH_TOKENS of them together."""
    batch: list[int] = []
    tokens = 0
    for place in sorted(range(len(pairs)), key=lambda place: pairs[place].context + pairs[place].continuation):
        size = len(pairs[place].context) + len(pairs[place].continuation)
        if batch and tokens + size > BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(place)
        tokens += size
    if batch:
        yield batch


def _likelihood(pair: Pair, rows: Any) -> Likelihood:
    """Read off one row for each token of the prompt, by id; of equally likely tokens, each is the likeliest."""
    if not pair.continuation:
        return CERTAIN
    if rows is None or len(rows) != len(pair.context) + len(pair.continuation):
        raise BasewrightError("vLLM gave no log-probabilities of the prompt", fix="use --engine torch")
    asked = list(zip(pair.continuation, rows[len(pair.context) :], strict=True))
    greedy = all(row[i].rank == 1 or row[i].logprob >= max(other.logprob for other in row.values()) for i, row in asked)
    return Likelihood(tuple(float(row[i].logprob) for i, row in asked), greedy)


def _library() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise UsageError(
            "the engine vllm needs vLLM, which is not installed",
            fix="pip install vllm, in an environment of its own, or use --engine torch",
        ) from error
    return vllm
