"""One loss function per method. Each returns a sum, over supervised tokens or pairs; the loop divides once (H054)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from peft.utils.other import TrainableTokensWrapper
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from basewright.catalog.architectures import FAMILIES
from basewright.data.pack import IGNORE, Packed, PackedPairs, PackedRatings
from basewright.train import kernels

CHUNK = 2048
"""Positions whose logits exist at a time, at most: never vocabulary x N values."""
LOGITS = 2**22
"""Logits that exist at a time, about: 16 MiB stay in a processor's last cache."""


TOLD = ("accuracy", "margin")
"""What a loss may tell of its rows besides."""


class Told(NamedTuple):
    """A loss, and sums over the same rows that are only told; the loop divides all of them alike."""

    loss: torch.Tensor
    sums: dict[str, torch.Tensor]


def told(found: torch.Tensor | Told) -> Told:
    return found if isinstance(found, Told) else Told(found, {})


def next_token(model: Any, row: Packed) -> torch.Tensor:
    """Cross-entropy in nats, summed over the supervised positions of a packed row; a scalar in float32.

    Only supervised positions reach the output projection.
    """
    return cross_entropy(*_supervised(model, row))


def log_likelihoods(model: Any, row: Packed) -> torch.Tensor:
    """Of each segment's supervised tokens together, (S,) in nats and float32; 0 where a segment has none."""
    nats_K = nats(*_supervised(model, row))
    counts = [int((part != IGNORE).sum()) for part in np.split(row.labels, np.cumsum(row.lengths)[:-1])]
    return torch.stack([-part.sum() for part in nats_K.split(counts)])


def dpo(model: Any, row: PackedPairs, beta: float) -> Told:
    """Sum over pairs of -log sigmoid(r(chosen) - r(rejected)), where r = beta (log-likelihood - that of the reference).

    Rafailov et al. 2023 ("Direct Preference Optimization"), equation 7. Told are the margins of the rewards r, and the
    pairs whose margin is positive.
    """
    device = next(model.parameters()).device
    chosen, rejected, reference_S = (torch.from_numpy(a).to(device) for a in (row.chosen, row.rejected, row.reference))
    reward_S = beta * (log_likelihoods(model, row) - reference_S)
    margin_P = reward_S[chosen] - reward_S[rejected]
    seen = margin_P.detach()
    return Told(-functional.logsigmoid(margin_P).sum(), {"accuracy": (seen > 0).sum(), "margin": seen.sum()})


def kto(model: Any, row: PackedRatings, beta: float) -> Told:
    """Sum over answers of |w| sigmoid(-s beta (r - z)), s = 1 for wanted answers and -1 for others.

    r is the log-likelihood of the answer less that of the reference; z is the mean of r over the strangers of its
    group, at least 0, and is not learned from. Ethayarajh et al. 2024 ("KTO"), equation 8 with
    x = s beta (r - z) and 1 - sigmoid(x) = sigmoid(-x). Told are x, and the answers whose x is positive.
    """
    device = next(model.parameters()).device
    weights_S, reference_S, strange_S = (
        torch.from_numpy(a).to(device) for a in (row.weights, row.reference, row.strangers_reference)
    )
    with torch.no_grad():
        strange_S = log_likelihoods(model, row.strangers) - strange_S
        level_S = torch.cat([part.mean().clamp(min=0.0).expand(len(part)) for part in strange_S.split(row.groups)])
    lead_S = weights_S.sign() * beta * (log_likelihoods(model, row) - reference_S - level_S)
    seen = lead_S.detach()
    return Told(
        (weights_S.abs() * functional.sigmoid(-lead_S)).sum(), {"accuracy": (seen > 0).sum(), "margin": seen.sum()}
    )


def _supervised(model: Any, row: Packed) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The decoder, and of supervised positions alone what its output projection reads, (K, D), and their labels."""
    decoder = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_ND, labels_N = hidden(decoder, row)
    keep = labels_N != IGNORE
    return decoder, hidden_ND[keep], labels_N[keep]


def masked(model: Any, row: Packed) -> torch.Tensor:
    """Cross-entropy in nats of an encoder's masked tokens, summed over the supervised positions of a packed row (Devlin
    et al. 2019); a scalar in float32. Only those positions reach the head.
    """
    encoder = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_ND, labels_N = hidden(encoder, row)
    keep = labels_N != IGNORE
    return cross_entropy(encoder, before_output(encoder, hidden_ND[keep]), labels_N[keep])


def before_output(encoder: Any, hidden_KD: torch.Tensor) -> torch.Tensor:
    """What the masked head of an encoder makes of hidden states before its output projection reads them, (K, D)."""
    kind = encoder.config.model_type
    if kind == "bert":
        out = encoder.cls.predictions.transform(hidden_KD)
    elif kind in ("roberta", "xlm-roberta"):
        out = encoder.lm_head.layer_norm(functional.gelu(encoder.lm_head.dense(hidden_KD)))
    elif kind == "distilbert":
        out = encoder.vocab_layer_norm(encoder.activation(encoder.vocab_transform(hidden_KD)))
    elif kind == "modernbert":
        out = encoder.head(hidden_KD)
    else:
        raise NotImplementedError(f"the masked head of a {kind} model")
    return cast(torch.Tensor, out)


def labels(model: Any, row: Packed) -> torch.Tensor:
    """Cross-entropy in nats of the classes of a packed row's segments, summed; a scalar in float32."""
    logits_SC, classes_S = class_logits(model, row)
    return functional.cross_entropy(logits_SC, classes_S, reduction="sum")


def class_logits(model: Any, row: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    """What the head says of each labelled segment, (S, C) in float32, and its class, (S,).

    Only the token that is read reaches the head, which is computed in float32 whatever the rest is.
    """
    classifier = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden_ND, labels_N = hidden(classifier, row)
    keep = labels_N != IGNORE
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return _head(classifier, hidden_ND[keep].float()), labels_N[keep]


def _head(classifier: Any, hidden_SD: torch.Tensor) -> torch.Tensor:
    """transformers' own modules on the states that are read, (S, D); `opened.open_classifier` shows that it is so."""
    kind = classifier.config.model_type
    if hasattr(classifier, "score"):
        return cast(torch.Tensor, classifier.score(hidden_SD))
    states = hidden_SD
    if kind == "bert":
        states = classifier.dropout(_held(classifier.base_model.pooler, hidden_SD[:, None]))
    elif kind in ("roberta", "xlm-roberta"):
        states = hidden_SD[:, None]  # its head takes the first token itself
    elif kind == "distilbert":
        states = classifier.dropout(functional.relu(classifier.pre_classifier(hidden_SD)))
    elif kind == "modernbert":
        states = classifier.drop(_held(classifier.head, hidden_SD))
    else:
        raise NotImplementedError(f"the classification head of a {kind} model")
    return cast(torch.Tensor, classifier.classifier(states))


def _held(module: Any, states: torch.Tensor) -> torch.Tensor:
    """What a part of the base makes of float32 states, in the precision it is held in: of what is trained, if it is."""
    weight = max(module.parameters(), key=lambda p: p.requires_grad)
    return cast(torch.Tensor, module(states.to(weight.dtype)).float())


def hidden(model: Any, row: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    """What the output projection or the masked head reads, (N, D), and the labels of its positions, (N,)."""
    device = next(model.parameters()).device
    ids, labels, positions = (torch.from_numpy(a).to(device) for a in (row.ids, row.labels, row.positions))
    base = model.base_model
    out = base(
        input_ids=ids[None],
        position_ids=(positions + _first_position(base))[None],
        use_cache=False,
        segment_lengths=row.lengths,
    )
    return out.last_hidden_state[0], labels


def is_encoder(model: Any) -> bool:
    """Whether every token sees its whole row."""
    return FAMILIES[model.config.model_type].kind == "encoder"


def _first_position(base: Any) -> int:
    """RoBERTa's positions count from the one behind its padding id."""
    return getattr(getattr(base, "embeddings", None), "padding_idx", -1) + 1


def cross_entropy(decoder: Any, hidden_KD: torch.Tensor, target_K: torch.Tensor) -> torch.Tensor:
    """Nats of the targets under the output projection, summed. A head that is a matrix alone has its gradient written
    out; one with a bias, a cap or an adapter is computed as it is, in chunks."""
    if _is_matrix(decoder):
        return kernels.cross_entropy(hidden_KD, decoder.get_output_embeddings().weight, target_K, _chunk(decoder))
    return nats(decoder, hidden_KD, target_K).sum()


def nats(decoder: Any, hidden_KD: torch.Tensor, target_K: torch.Tensor) -> torch.Tensor:
    """Likewise of each target, (K,)."""
    chunk, head = _chunk(decoder), decoder.get_output_embeddings()
    if _is_matrix(decoder):
        return kernels.nats(hidden_KD, head.weight, target_K, chunk)
    parts = zip(hidden_KD.split(chunk), target_K.split(chunk), strict=True)
    return torch.cat([checkpoint(_plainly, head, _cap(decoder), *part, use_reentrant=False) for part in parts])


def _chunk(decoder: Any) -> int:
    return min(CHUNK, max(64, LOGITS // int(decoder.config.get_text_config().vocab_size)))


def _cap(decoder: Any) -> float | None:
    cap: float | None = getattr(decoder.config, "final_logit_softcapping", None)
    return cap


def _is_matrix(decoder: Any) -> bool:
    """Also where some of its rows are trained: the wrapper's `weight` is the matrix with those rows."""
    head = decoder.get_output_embeddings()
    head = head.original_module if isinstance(head, TrainableTokensWrapper) else head
    return type(head) is torch.nn.Linear and head.bias is None and _cap(decoder) is None


def _plainly(head: Any, cap: float | None, hidden_CD: torch.Tensor, target_C: torch.Tensor) -> torch.Tensor:
    logits_CV = head(hidden_CD).float()
    if cap is not None:
        logits_CV = cap * torch.tanh(logits_CV / cap)
    return functional.cross_entropy(logits_CV, target_C, reduction="none")
