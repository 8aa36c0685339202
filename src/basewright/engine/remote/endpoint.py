"""The engine behind an endpoint: any POST /v1/completions that tells the log-probabilities of a prompt.

What an endpoint can do is tried with small questions (`ways`, `streaming`), not looked up by its name. A
provider with another interface is a file beside this one, which gives the same two functions in its own words.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from basewright.engine.lm import CERTAIN, LM, Likelihood, Pair, Piece, Sampling, check_length, check_pairs
from basewright.engine.remote import streaming, ways
from basewright.engine.remote.key import open_wire
from basewright.engine.remote.spent import Spent
from basewright.engine.remote.transport import Declined, Wire
from basewright.engine.remote.ways import Unread, Way
from basewright.engine.remote.work import Check, Job, polled
from basewright.errors import UsageError
from basewright.formats import strict
from basewright.records import Progress, silent
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer, open_tokenizer

IN_FLIGHT = 8
AS_SERVED = "as served"
"""The precision of a model that is only seen through an endpoint."""
WINDOWS = ("max_model_len", "context_length", "context_window", "n_ctx", "n_ctx_train")
"""Names under which endpoints list how many tokens a model sees."""
ENDLESS = 10**7
"""Larger values of `model_max_length` are what tokenizers write when they know none."""


class Ask(Protocol):
    def __call__(self, body: dict[str, Any], check: Check, final: Sequence[int] = (), /) -> Any:
        """The answer to a completions request. Statuses in `final` are answers, not faults that may pass."""


Chunks = Callable[[dict[str, Any], Check], Iterator[Any]]
"""(completions request, check) → the chunks of its answer."""


@dataclass(slots=True)
class RemoteLM(LM):
    """`context` is two less than what the endpoint sees: it is sent the last token too, and always makes one more."""

    name: str
    tokenizer: Tokenizer
    context: int
    wire: Wire
    ask: Ask = field(repr=False)
    chunks: Chunks = field(repr=False)
    text_only: bool = False
    """Whether it takes texts and gives texts, and scores nothing."""
    in_flight: int = IN_FLIGHT
    engine: str = "remote"
    precision: str = AS_SERVED
    _way: Way | None = field(default=None, repr=False)
    _form: streaming.Form | None = field(default=None, repr=False)

    @property
    def spent(self) -> Spent:
        return self.wire.spent

    # --- log-likelihood ---

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        """As of every engine. Raises `UsageError` for an endpoint that can only generate, or has another tokenizer."""
        check_pairs(pairs, self.context)
        if self.text_only:
            raise UsageError(
                f"{self.wire.host} generates text and gives no log-probabilities of a prompt",
                fix="ask vLLM, or an endpoint with echo and logprobs; or score the weights with --engine torch",
            )
        return self._scored(pairs, progress)

    def _scored(self, pairs: Sequence[Pair], progress: Progress) -> Iterator[tuple[int, Likelihood]]:
        order = sorted(range(len(pairs)), key=lambda place: pairs[place].context + pairs[place].continuation)
        if order and self._way is None:
            self._way = next(polled([lambda check: [self._found_way(check)]], 1))
        for done, found in enumerate(polled([self._job(place, pairs[place]) for place in order], self.in_flight)):
            yield found
            progress("continuations scored", done + 1, len(pairs))

    def _job(self, place: int, pair: Pair) -> Job[tuple[int, Likelihood]]:
        return lambda check: [(place, self._likelihood(pair, check))]

    def _found_way(self, check: Check) -> Way:
        def ask(body: dict[str, Any]) -> Any:
            try:
                return self._asked(body, check, ways.NOT_OFFERED)
            except Declined as declined:
                if declined.status not in ways.NOT_OFFERED:
                    raise
                raise Unread(declined.message) from None

        return ways.find(ask, self.tokenizer)

    def _likelihood(self, pair: Pair, check: Check) -> Likelihood:
        assert self._way is not None
        if not pair.continuation:
            return CERTAIN
        ids = [*pair.context, *pair.continuation]
        answer = self._asked(self._way.body(self.tokenizer, ids), check)
        try:
            found = self._way.read(answer, ids, len(pair.context), self.tokenizer)
            logprobs = tuple(position.own for position in found)
            if any(position.best is None for position in found):
                return Likelihood(logprobs, self._is_greedy(pair, logprobs, check))
        except Unread as reason:
            raise self.wire.fault(str(reason)) from None
        return Likelihood(logprobs, all(position.own == position.best for position in found))

    def _is_greedy(self, pair: Pair, logprobs: Sequence[float], check: Check) -> bool:
        """Where the likeliest tokens are not named: certain above one half, else seen from what it generates."""
        if min(logprobs) > -math.log(2):
            return True
        assert self._way is not None
        wanted = self._way.prompt(self.tokenizer, pair.context) | {"max_tokens": len(pair.continuation)}
        text = ways.first_choice(self._asked(wanted, check)).get("text")
        behind = list(pair.context[-1:])
        return bool(text == self.tokenizer.text([*behind, *pair.continuation])[len(self.tokenizer.text(behind)) :])

    def _asked(self, body: dict[str, Any], check: Check, final: Sequence[int] = ()) -> Any:
        answer = self.ask(body, check, final)
        self.spent.count(answer.get("usage") if isinstance(answer, dict) else None)
        return answer

    # --- generation ---

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue a prompt. Pieces hold tokens only where the endpoint names their ids."""
        ids = encode.prompt(self.tokenizer, prompt) if isinstance(prompt, str) else list(prompt)
        ids = ids or [self.tokenizer.eos_id]
        check_length(len(ids) + 1, self.context)
        room = min(sampling.max_tokens, self.context - len(ids))
        return self._generated(ids, prompt if isinstance(prompt, str) else None, room, sampling)

    def _generated(self, ids: list[int], text: str | None, room: int, sampling: Sampling) -> Iterator[Piece]:
        if room <= 0:
            yield Piece("", (), "length")
            return
        chunks = polled([lambda check: self._streamed(ids, text, room, sampling, check)], 1)
        try:
            yield from streaming.pieces(chunks, self.tokenizer, ids, room, sampling)
            if not self.text_only and len(sampling.stops) <= streaming.STOPS:
                deque(chunks, 0)  # it ends by itself, and tells at its end what it cost
        except Unread as reason:
            raise self.wire.fault(str(reason)) from None
        finally:
            chunks.close()

    def _streamed(self, ids: list[int], text: str | None, room: int, sampling: Sampling, check: Check) -> Iterator[Any]:
        """The chunks that hold text, asked for in the first form of request that is taken."""
        for form in self._forms():
            prompt = ids if form.ids else self._as_text(ids, text)
            try:
                for chunk in self.chunks(streaming.body(form, prompt, room, sampling), check):
                    self._form = form
                    yield from self._useful(chunk)
                return
            except Declined as declined:
                if declined.status not in streaming.REFUSED or form is self._forms()[-1]:
                    raise

    def _as_text(self, ids: list[int], text: str | None) -> str:
        if text is None:
            return ways.as_text(self.tokenizer, ids)
        ways.refuse_control_tokens(self.tokenizer, text)
        return text

    def _forms(self) -> Sequence[streaming.Form]:
        if self._form:
            return [self._form]
        return [form for form in streaming.FORMS if not (form.ids and self.text_only)]

    def _useful(self, chunk: Any) -> list[Any]:
        """A chunk with a choice; what else a stream tells is counted. Raises `BasewrightError` for an error."""
        if not isinstance(chunk, dict) or chunk.get("error"):
            raise self.wire.fault("the stream ends with an error")
        self.spent.count(chunk.get("usage"))
        return [chunk] if chunk.get("choices") else []


def open_lm(
    url: str,
    model: str,
    tokenizer_folder: Path,
    name: str,
    *,
    key_variable: str | None = None,
    price_per_million: float | None = None,
    context: int | None = None,
    in_flight: int = IN_FLIGHT,
) -> RemoteLM:
    """The engine over `model` at `url`, the part before /completions, such as `https://api.together.xyz/v1`.

    The key is in the environment, in `key_variable` or else where the provider's users keep it (`key.USUAL`),
    else in BASEWRIGHT_API_KEY. `context` is how many tokens the endpoint sees, where it does not say so itself.
    Raises `UsageError`, and `BasewrightError` for an endpoint that does not answer.
    """
    wire = open_wire(url, key_variable, price_per_million)
    path = wire.origin.path.rstrip("/").removesuffix("/completions") or "/v1"

    def ask(body: dict[str, Any], check: Check, final: Sequence[int] = ()) -> Any:
        return wire.ask("POST", f"{path}/completions", {"model": model, **body}, check=check, final=final)

    def chunks(body: dict[str, Any], check: Check) -> Iterator[Any]:
        return wire.stream(f"{path}/completions", {"model": model, **body}, check=check)

    seen = context or listed_window(wire, f"{path}/models", model) or folder_window(tokenizer_folder)
    tokenizer = open_tokenizer(tokenizer_folder)
    return RemoteLM(name, tokenizer, seen - 2, wire, ask, chunks, in_flight=in_flight)


def listed_window(wire: Wire, path: str, model: str) -> int | None:
    """Tokens the model sees, as GET /v1/models lists it; None where it does not."""
    try:
        listed = next(polled([lambda check: [wire.ask("GET", path, check=check, final=(500, 501))]], 1))
    except Declined as declined:
        if declined.status in (401, 403):
            raise
        return None
    rows = listed.get("data") if isinstance(listed, dict) else listed
    entries = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    entry: dict[str, Any] = next((row for row in entries if row.get("id") == model), {})
    return _window(entry) or _window(entry.get("meta"))


def folder_window(folder: Path) -> int:
    """Tokens the model sees, as its configuration or its tokenizer's says. Raises `UsageError` where neither does."""
    for file, name in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        if (folder / file).is_file():
            value = strict.parse_object(strict.read(folder / file, 2**24), file).get(name)
            if isinstance(value, int) and 2 < value < ENDLESS:
                return value
    raise UsageError(f"nothing says how many tokens {folder.name} sees", fix="say it: context=4096, for instance")


def _window(entry: Any) -> int | None:
    values = [entry.get(name) for name in WINDOWS] if isinstance(entry, dict) else []
    return next((value for value in values if isinstance(value, int) and value > 2), None)
