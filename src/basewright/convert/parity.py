"""The gate between a trained model and what was made of it: ids, tensors and predictions, compared in numbers.

Two readers that share no code open each GGUF file: transformers, and llama.cpp where it is installed. Every check names
what differs first, so that a wrong rope base, start token, merge or tensor is a sentence and not a search (H019, H020).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from basewright import signals
from basewright.convert import architectures, gguf_tokenizer, hard_strings
from basewright.convert.readers import LlamaCpp, Reader, Transformers, has_llama_cpp
from basewright.engine.torch_lm import TorchLM
from basewright.errors import BasewrightError, ModelFileError
from basewright.formats.gguf import read as read_gguf
from basewright.records import Check, record
from basewright.text import encode


@record
class Limits:
    """`divergence` is the mean KL(trained || made) of next-token distributions in nats, `agreement` the share of
    positions with the same likeliest token, among those where the trained model prefers its first to its second by
    more than `margin` nats: below that, rounding may decide."""

    divergence: float
    agreement: float
    margin: float


# Measured on stories260K (trained; 6,521 positions) and on random networks, which amplify rounding most:
#                       divergence            likeliest token differs at margins      worst tensor
#   f16    stories      6e-7 to 3e-6          up to 0.008                             2.1e-4
#          random       3e-6 to 2e-5          up to 0.026                             2.2e-4
#   q8_0   stories      4e-4 to 7e-4          up to 0.27; 0.02 % of those over 0.2    6.2e-3
#          random       2e-3 to 1.3e-2        up to 0.54; 0 to 5 % of those over 0.2  5.5e-3
#   bf16   stories      7e-5                  up to 0.09
#          random       3e-4 to 1.2e-3        up to 0.24
# The lower numbers are transformers, the higher llama.cpp, which rounds activations too. The limits leave a factor of
# ten or more over the trained network; a wrong rope base, head order or layer is off by orders of magnitude.
F16 = Limits(divergence=1e-4, agreement=0.999, margin=0.05)
Q8_0 = Limits(divergence=1e-2, agreement=0.98, margin=0.2)
MERGED = Limits(divergence=1e-3, agreement=0.99, margin=0.1)
"""Room for storing merged weights in bfloat16."""
_BY_FILE_TYPE = {1: ("f16", F16, 5e-4), 7: ("q8_0", Q8_0, 2e-2)}
"""With the most that |made - trained| / |trained| of any tensor may be."""


def intact(path: Path) -> Check:
    """Whether the tensors the file declares fill it exactly. Raises `ModelFileError` when its head is not sound."""
    head, size = read_gguf(path), path.stat().st_size
    return Check(
        name="intact",
        value=float(size),
        limit=float(head.end),
        passed=size == head.end,
        how=f"{path.name}: bytes in the file against the bytes its {len(head.tensors)} tensors need",
    )


def header(path: Path, trained: TorchLM) -> Check:
    """Every fact and every tensor name in the head of the file against the trained model's own."""
    head = read_gguf(path)
    wrong = [
        f"{key} is {head.metadata.get(key)!r}, the trained model has {value!r}"
        for key, value in _facts(trained).items()
        if not _same(head.metadata.get(key), value)
    ]
    theirs = {tensor.name for tensor in head.tensors}
    ours = set(architectures.tensors(trained.model.config).values())
    wrong += [f"the tensor {name} is only in one of the two" for name in sorted(theirs ^ ours)]
    return _count("header", wrong, f"differences in {len(_facts(trained))} facts and {len(ours)} tensor names")


def through_transformers(gguf: Path, trained: TorchLM, texts: Sequence[str]) -> list[Check]:
    """The file as transformers reads it against the trained model: every tensor, token ids of `texts` and of known
    hard strings, next-token distributions on `texts`."""
    return _through(Transformers.name, lambda: Transformers(gguf), gguf, trained, texts)


def through_llama_cpp(gguf: Path, trained: TorchLM, texts: Sequence[str]) -> list[Check] | None:
    """The same through llama.cpp; None where llama-cpp-python is not installed."""
    if not has_llama_cpp():
        return None
    longest = max(len(ids) for ids in _rows(trained, texts))
    return _through(LlamaCpp.name, lambda: LlamaCpp(gguf, longest), gguf, trained, texts)


def merged(base_plus_adapter: TorchLM, merged: TorchLM, texts: Sequence[str]) -> list[Check]:
    """The merged model against the adapter on its base (H020)."""
    return _predictions("merged", MERGED, base_plus_adapter, lambda ids: _logprobs(merged, ids), texts)


# --- one reader -----------------------------------------------------------------------------------


def _through(name: str, start: Callable[[], Reader], gguf: Path, trained: TorchLM, texts: Sequence[str]) -> list[Check]:
    quantization, limits, rounding = _expected(gguf)
    label = f"{quantization} through {name}"
    try:
        reader = start()
        checks = [_tensors(label, rounding, reader.weights(), trained)] if reader.weights() else []
        checks.append(_start(label, reader, trained))
        checks.append(_ids(label, reader, trained, texts))
        return checks + _predictions(label, limits, trained, reader.logprobs, texts)
    except BasewrightError:
        raise
    except Exception as error:  # noqa: BLE001 - that a reader fails, however it does, is the finding
        how = " ".join(f"{type(error).__name__}: {error}".split())
        return [Check(name=f"{label}: it opens", value=0.0, limit=1.0, passed=False, how=how)]


def _expected(gguf: Path) -> tuple[str, Limits, float]:
    kind = read_gguf(gguf).metadata.get("general.file_type")
    if kind not in _BY_FILE_TYPE:
        raise ModelFileError(f"{gguf.name} is of file type {kind}, for which no limits are set", fix="use f16 or q8_0")
    return _BY_FILE_TYPE[kind]


def _tensors(label: str, rounding: float, weights: dict[str, torch.Tensor], trained: TorchLM) -> Check:
    errors = {}
    for name, ours in trained.model.state_dict().items():
        same_shape = name in weights and weights[name].shape == ours.shape
        difference = (weights[name].float() - ours.float()).norm() if same_shape else math.inf
        errors[name] = float(difference / ours.float().norm().clamp(min=1e-30))
    worst = max(errors, key=lambda name: (math.isnan(errors[name]), errors[name]))
    return Check(
        name=f"{label}: tensors",
        value=errors[worst],
        limit=rounding,
        passed=errors[worst] <= rounding,
        how=f"|made - trained| / |trained| of the worst of {len(errors)} tensors, {worst}",
    )


def _start(label: str, reader: Reader, trained: TorchLM) -> Check:
    """What a text starts with, apart from the text: a lost or doubled BOS costs more than any rounding (H074)."""
    ours, theirs = encode.prompt(trained.tokenizer, "a"), reader.ids("a")
    wrong = [] if ours == theirs else [f"'a' is {theirs}, for the trained model {ours}"]
    return _count(f"{label}: start token", wrong, "the ids of one letter, with what the tokenizer puts before it")


def _ids(label: str, reader: Reader, trained: TorchLM, texts: Sequence[str]) -> Check:
    strings = [*texts, *hard_strings.texts(trained.tokenizer)]
    judged = [text for text in strings if reader.judges(text)]
    wrong = []
    for text in judged:
        signals.poll()
        ours, theirs = encode.prompt(trained.tokenizer, text), reader.ids(text)
        if ours != theirs:
            at = next(
                (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
            )
            wrong.append(
                f"{text[:40]!r} is {theirs[at : at + 4]} from id {at} on, for the trained model {ours[at : at + 4]}"
            )
    left_out = f"; {len(strings) - len(judged)} left out: {reader.blind}" if len(judged) < len(strings) else ""
    return _count(f"{label}: token ids", wrong, f"strings with other ids, of {len(judged)}{left_out}")


def _count(name: str, wrong: Sequence[str], how: str) -> Check:
    """A check that allows nothing to be wrong, and says what was first."""
    first = f"; first: {wrong[0]}" if wrong else ""
    return Check(name=name, value=float(len(wrong)), limit=0.0, passed=not wrong, how=how + first)


# --- predictions ----------------------------------------------------------------------------------


def _predictions(
    label: str,
    limits: Limits,
    trained: TorchLM,
    made: Callable[[Sequence[int]], torch.Tensor],
    texts: Sequence[str],
) -> list[Check]:
    """Divergence and agreement over every position of `texts`, each text cut to the context."""
    pairs = ((_logprobs(trained, ids), made(ids)) for ids in _rows(trained, texts))
    return compared(label, limits, pairs, f"positions of {len(texts)} texts", "token")


def compared(
    label: str, limits: Limits, pairs: Iterable[tuple[torch.Tensor, torch.Tensor]], of: str, what: str
) -> list[Check]:
    """Divergence and agreement of distributions over tokens or classes, each pair (N, V): the trained model's first."""
    divergences, agreements = [], []
    for ours_NV, theirs_NV in pairs:
        signals.poll()
        divergences.append((ours_NV.exp() * (ours_NV - theirs_NV)).sum(-1))
        first_N, second_N = ours_NV.topk(2).values.unbind(-1)
        decided_N = first_N - second_N > limits.margin
        agreements.append((ours_NV.argmax(-1) == theirs_NV.argmax(-1))[decided_N])
    divergence_N, agree_M = torch.cat(divergences), torch.cat(agreements).double()
    mean = float(divergence_N.mean())
    share = float(agree_M.mean()) if len(agree_M) else 1.0
    near = f"the other {len(divergence_N) - len(agree_M)} are within {limits.margin} nats of a tie"
    return [
        Check(
            name=f"{label}: divergence",
            value=mean,
            limit=limits.divergence,
            passed=mean <= limits.divergence,
            how=f"mean KL(trained || made) in nats over {len(divergence_N)} {of}",
        ),
        Check(
            name=f"{label}: greedy agreement",
            value=share,
            limit=limits.agreement,
            passed=share >= limits.agreement,
            how=f"share of {len(agree_M)} {of} with the same likeliest {what}; {near} and not counted",
        ),
    ]


def _rows(trained: TorchLM, texts: Sequence[str]) -> list[list[int]]:
    rows = [encode.document(trained.tokenizer, text)[:-1][: trained.context] for text in texts]
    assert rows, "a gate without texts proves nothing"
    return rows


@torch.inference_mode()
def _logprobs(lm: TorchLM, ids: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = lm.model(input_ids=torch.tensor([list(ids)])).logits[0]
    return logits.double().log_softmax(-1)


# --- facts ----------------------------------------------------------------------------------------


def _facts(trained: TorchLM) -> dict[str, Any]:
    scheme = gguf_tokenizer.scheme(json.loads(trained.tokenizer.backend.to_str()))
    return {
        "general.architecture": trained.model.config.model_type,
        **architectures.facts(trained.model.config),
        "tokenizer.ggml.model": scheme.model,
        "tokenizer.ggml.pre": scheme.pre,
        "tokenizer.ggml.bos_token_id": trained.tokenizer.bos_id,
        "tokenizer.ggml.eos_token_id": trained.tokenizer.eos_id,
        "tokenizer.ggml.add_bos_token": trained.tokenizer.bos,
    }


def _same(found: Any, expected: Any) -> bool:
    """Equal; floats to the precision of the float32 that GGUF holds them in."""
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-6)
    return bool(found == expected)
