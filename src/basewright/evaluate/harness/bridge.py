"""Our engines as a model of lm-evaluation-harness 0.4.13: its token ids and its cuts to the digit, our answers.

Everything here follows lm-eval's `HFLM` (models/huggingface.py), also where our own `text.encode` decides otherwise:
control tokens spelled in a text are control tokens, and what is too long loses tokens on the left. What was asked is
noted for `How`, cuts included.
"""

from __future__ import annotations

import hashlib
import logging
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from basewright.engine.lm import LM, Pair, Piece, Sampling
from basewright.errors import DataError, UsageError
from basewright.records import Progress, silent

log = logging.getLogger("lm_eval.models.basewright")
"""Below lm-eval's own logger: its command line shows it, and `harness.run` tells the same in `How`."""
BLOCK = 4096
"""Texts encoded at a time."""
SAMPLED = ("do_sample", "temperature", "top_p")


@dataclass(slots=True)
class Asked:
    """The prompts of one task as the engine saw them, in the order of its items."""

    prompt: str
    ids: tuple[int, ...]
    """Of the first prompt."""
    stops: tuple[str, ...] = ()
    cut: set[int | None] = field(default_factory=set)
    """Items that lost tokens on the left."""
    _hash: Any = field(default_factory=hashlib.sha256)
    _seen: set[tuple[int, ...]] = field(default_factory=set)
    """Prompts of the last item."""
    _item: int | None = None
    _count: int = 0

    def add(self, item: int | None, ids: tuple[int, ...], cut: bool) -> None:
        """Another request; the choices of an item that share a prompt count it once."""
        if cut:
            self.cut.add(item)
        if item != self._item:
            self._item, self._seen = item, set()
        if ids not in self._seen:
            self._hash.update((b"\n" if self._count else b"") + " ".join(map(str, ids)).encode())
            self._seen.add(ids)
            self._count += 1

    @property
    def hash(self) -> str:
        """As `how.hash_ids` of all prompts, which never stand in memory together."""
        return str(self._hash.hexdigest()[:16])


class Bridge(TemplateLM):  # type: ignore[misc]
    """A model for `lm_eval.evaluate` over any engine.

    Arguments that `HFLM` has too mean what they mean there: `max_length` (tokens the model is shown at most),
    `add_bos_token` (None: as the tokenizer does) and `prefix_token_id` (before a text without context; None: BOS,
    else EOS). Raises `DataError` for a request without a token to score, or that leaves no room for context, and
    `UsageError` for a way of generating that our engines do not have.
    """

    def __init__(
        self,
        lm: LM,
        progress: Progress = silent,
        *,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
    ) -> None:
        super().__init__()
        self.lm = lm
        self.progress = progress
        self.max_length = min(max_length or lm.context, lm.context)
        self.max_gen_toks = 256
        self.add_bos_token = add_bos_token
        self.asked: dict[str | None, Asked] = {}
        """By task."""
        self._backend = _backend(lm, add_bos_token)
        self._known: dict[str, array[int]] = {}
        self._requests: Sequence[Instance] = ()
        bos = lm.tokenizer.bos_id
        self._prefix = prefix_token_id if prefix_token_id is not None else lm.tokenizer.eos_id if bos is None else bos
        self._prefix_text = self._text([self._prefix])
        self._bos_text = None if bos is None else self._backend.id_to_token(bos)

    # --- token ids, as transformers gives them ---

    @property
    def eot_token_id(self) -> int:
        return self.lm.tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        return self._prefix

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_kwargs: Any) -> list[int]:
        """The ids of a text: BOS as the tokenizer adds it, and not again where the text already spells it (H074)."""
        if add_special_tokens is None:
            if string in self._known:
                return self._known[string].tolist()
            add_special_tokens = self._special(string, self._prefix_text)
        return list(self._backend.encode(string, add_special_tokens=add_special_tokens).ids)

    def _special(self, text: str, bos: str | None) -> bool:
        return not has_bos_prefix(text, bos) and self.add_bos_token is not False

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def _remember(self, texts: Sequence[str]) -> None:
        """Encode every text once, many at a time; lm-eval's own loop then finds them."""
        unique = list(dict.fromkeys(texts))
        for begin in range(0, len(unique), BLOCK):
            for special in (True, False):
                block = unique[begin : begin + BLOCK]
                some = [text for text in block if self._special(text, self._prefix_text) is special]
                found = self._backend.encode_batch_fast(some, add_special_tokens=special)
                self._known |= {text: array("i", one.ids) for text, one in zip(some, found, strict=True)}
            self.progress("texts encoded", len(self._known), len(unique))

    # --- log-likelihood ---

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """(nats, whether greedy) of each continuation; lm-eval's own loop decides where it begins."""
        pairs = [request.args for request in requests]
        self._remember([text for context, after in pairs if context for text in (context.rstrip(), context + after)])
        self._requests = requests
        return super().loglikelihood(requests, disable_tqdm=True)  # type: ignore[no-any-return]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], **_kwargs: Any
    ) -> list[tuple[float, bool]]:
        """All in one call of the engine, so that it shares what items have in common."""
        self._known = {}
        pairs = [self._fitted(context, continuation) for _, context, continuation in requests]
        longer = [len(context) > len(pair.context) for (_, context, _), pair in zip(requests, pairs, strict=True)]
        for request, pair, cut in zip(self._requests, pairs, longer, strict=True):
            self._note(request, pair.context, cut)
        self._tell(sum(longer), len(pairs))
        answers = [(0.0, True)] * len(pairs)
        for place, likelihood in self.lm.score(pairs, self.progress):
            answers[place] = (likelihood.nats, likelihood.greedy)
        return answers

    def _fitted(self, context: Sequence[int], continuation: Sequence[int]) -> Pair:
        """The last `max_length` + 1 tokens: the last one is predicted, not seen."""
        room = self.max_length + 1 - len(continuation)
        if not context or not continuation or room < 1:
            raise DataError(
                f"{len(continuation)} tokens after {len(context)} cannot be scored by a model that sees "
                f"{self.max_length}",
                fix="leave the item out, or use a model with a longer context",
            )
        return Pair(tuple(context[-room:]), tuple(continuation))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """The nats of each whole text, in lm-eval's windows.

        A trap: lm-eval encodes the text with the tokenizer's BOS and then puts the prefix before it. With a tokenizer
        that adds BOS the text so begins BOS BOS, and the second one is scored like a word: the number is some nats
        worse than that of `LM.rolling`, which scores the text alone. It is lm-eval's number, so it is repeated here.
        """
        parts: list[list[Pair]] = []
        for request in requests:
            ids = self.tok_encode(request.args[0])
            parts.append([Pair(tuple(before), tuple(after)) for before, after in self._windows(ids)])
            self._note(request, (self.prefix_token_id, *ids), False)
        answers = dict(self.lm.score([window for windows in parts for window in windows], self.progress))
        likelihoods = iter([answers[place] for place in range(len(answers))])
        return [math.fsum(next(likelihoods).nats for _ in windows) for windows in parts]

    def _windows(self, ids: list[int]) -> Iterator[tuple[list[int], list[int]]]:
        found = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, context_len=1)
        return map(make_disjoint_window, found)

    # --- generation ---

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Text up to the first of `until` or EOS; a prompt is cut on the left so that all of the answer has room."""
        prompts, samplings, cut = [], [], 0
        for place, request in enumerate(requests):
            context, wanted = request.args[:2]
            sampling = self._sampling(wanted, seed=place)
            ids = self._backend.encode(context, add_special_tokens=self._special(context, self._bos_text)).ids
            room = self.max_length - sampling.max_tokens
            if room < 1:
                raise DataError(
                    f"an answer of {sampling.max_tokens} tokens fills the model's context of {self.max_length}",
                    fix="set max_gen_toks in the task's generation_kwargs, or use a model with a longer context",
                )
            cut += len(ids) > room
            self._note(request, tuple(ids[-room:]), len(ids) > room, sampling.stops)
            prompts.append(ids[-room:])
            samplings.append(sampling)
        self._tell(cut, len(requests))
        written = dict(self.lm.complete(prompts, samplings, self.progress))
        return [self._answer(written[place], sampling) for place, sampling in enumerate(samplings)]

    def _sampling(self, wanted: dict[str, Any], seed: int) -> Sampling:
        """lm-eval's settings as ours; each request draws from its own stream, so that repeats differ."""
        settings = dict(normalize_gen_kwargs(wanted, self.max_gen_toks))
        stops = handle_stop_sequences(settings.pop("until"), eos=self._text([self.eot_token_id]))
        length = int(settings.pop("max_gen_toks"))
        if settings.get("num_beams") == 1:
            del settings["num_beams"]
        unknown = [f"{key}={value}" for key, value in settings.items() if key not in SAMPLED]
        if unknown:
            raise UsageError(
                f"the benchmark generates with {', '.join(unknown)}, which our engines do not do",
                fix="leave that benchmark out, or run it with lm_eval --model hf",
            )
        return Sampling(
            max_tokens=length,
            temperature=float(settings.get("temperature") or 0) if settings["do_sample"] else 0.0,
            top_p=float(settings.get("top_p") or 1),
            seed=seed,
            stops=tuple(filter(None, stops)),
        )

    def _answer(self, piece: Piece, sampling: Sampling) -> str:
        text, tokens = piece.text, [token.id for token in piece.tokens]
        # lm-eval decodes the answer alone, and some tokenizers then take the space off its first word
        if text.startswith(" ") and tokens and not self._text(tokens).startswith(" "):
            text = text[1:]
        return str(postprocess_generated_text(text, list(sampling.stops), None))

    # --- what is told ---

    def _note(self, request: Instance, ids: tuple[int, ...], cut: bool, stops: tuple[str, ...] = ()) -> None:
        asked = self.asked.setdefault(request.task_name, Asked(request.args[0], ids, stops))
        asked.add(request.doc_id, ids, cut)

    def _tell(self, cut: int, total: int) -> None:
        if cut:
            log.warning("%d of %d requests were cut on the left: the model sees %d tokens", cut, total, self.max_length)


def _backend(lm: LM, add_bos_token: bool | None) -> Any:
    """The tokenizer as transformers sets it up: control tokens are read, and BOS is added as the argument says."""
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_str(lm.tokenizer.backend.to_str())
    backend.encode_special_tokens = False
    bos = lm.tokenizer.bos_id
    if add_bos_token is not None:
        token = None if bos is None or not add_bos_token else backend.id_to_token(bos)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{token} $A" if token else "$A", special_tokens=[(token, bos)] if token else []
        )
    return backend
