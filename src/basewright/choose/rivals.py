"""Classical rivals of base models on the same items: when the small thing wins, the person is told.

Each is trained on the task's training rows alone, on one thread, and gives the same bytes every time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from basewright import signals
from basewright.errors import DataError, ModelFileError
from basewright.records import Item, ItemScore, Progress, Task, record, silent
from basewright.text import encode

if TYPE_CHECKING:
    from basewright.engine.torch_lm import TorchLM

Array = NDArray[Any]
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""What C of the logistic regression is chosen from, for features of length about 1; the smoothest first."""
FOLDS = 5
TRIED_ON = 2000
"""Rows that C is chosen on, at most; the regression then learns from all. On all of 9,203 rows of 77 labels the choice
was not made after 3 minutes of processor time."""
FLOOR = 1e-4
"""Added to the probability of every label before they are made to sum to 1: a surprise is at most about 13 bits, and a
label that training never showed is possible."""
TINY = 1e-9
"""Keeps α and β of `logme` finite where features say nothing, or everything."""
KINDS: tuple[dict[str, Any], ...] = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    {"analyzer": "char_wb", "ngram_range": (2, 5)},
)
"""Words and pairs of them; 2 to 5 characters in a row, within words."""


@record
class Rival:
    """What a classical method answers, and what it takes."""

    name: str
    items: tuple[ItemScore, ...]
    """In the order of the items asked."""
    size: int
    """Bytes when used: terms as UTF-8, numbers in 4 bytes; of a probe, without the base model it reads from."""
    how: str


# --- the rivals -----------------------------------------------------------------------------------


def majority(task: Task, items: Sequence[Item]) -> Rival:
    """Always the most frequent label of the training rows. Raises `DataError` as `tfidf` does."""
    nothing, unasked = np.empty((len(task.train), 0)), np.empty((len(items), 0))
    return _regression(task, items, nothing, unasked, "majority", "nothing of the text", 0)


def tfidf(task: Task, items: Sequence[Item], progress: Progress = silent) -> Rival:
    """Logistic regression on TF-IDF of words and characters.

    Texts of which no term is known get what the intercept says; where training has one label only, or no terms, that
    is the shares of the labels. Raises `DataError` without training rows, or for a label that is not the task's.
    """
    train_ND, items_ND, terms = _terms([item.text for item in task.train], [item.text for item in items])
    size = 4 * len(terms) + sum(len(term.encode("utf-8", "surrogatepass")) for term in terms)
    name, read = "TF-IDF + logistic regression", f"{len(terms)} terms (1 to 2 words, 2 to 5 characters)"
    return _regression(task, items, train_ND, items_ND, name, read, size, progress)


def probe(task: Task, items: Sequence[Item], train_ND: Array, items_ND: Array, progress: Progress = silent) -> Rival:
    """Logistic regression on `features` of a frozen base model, standardised as seen in training.

    `train_ND` are those of `task.train`, `items_ND` those of `items`, each row by row. Raises `DataError` as `tfidf`
    does, and `ValueError` for other numbers of rows or columns, or for values that are not finite.
    """
    if (len(train_ND), len(items_ND)) != (len(task.train), len(items)) or train_ND.shape[1:] != items_ND.shape[1:]:
        raise ValueError("features are of other rows, or of another model")
    if not (np.isfinite(train_ND).all() and np.isfinite(items_ND).all()):
        raise ValueError("features that are not finite")
    width = train_ND.shape[1]
    mean_D, spread_D = train_ND.mean(axis=0, dtype=np.float64), train_ND.std(axis=0, dtype=np.float64)
    scale_D = np.where(spread_D > 0, spread_D, 1.0) * math.sqrt(width)
    rows_ND, asked_ND = (train_ND - mean_D) / scale_D, (items_ND - mean_D) / scale_D
    read = f"{width} features of the frozen model"
    return _regression(task, items, rows_ND, asked_ND, "linear probe", read, 8 * width, progress)


def logme(features_ND: Array, labels: Sequence[str]) -> float:
    """LogME, a hint without training how well a linear model of the features will do; higher is better.

    The log evidence, in nats an item, of Bayesian linear regression from the features to each label against the
    others, at its best α (precision of the weights) and β (of the noise), averaged over labels (You et al. 2021,
    "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML, algorithms 1 and 2; its fixed
    point). Raises `ValueError` for no rows or other numbers of them.
    """
    from threadpoolctl import threadpool_limits

    if len(features_ND) != len(labels) or not labels:
        raise ValueError("features and labels of other rows")
    with threadpool_limits(limits=1):  # sums split over threads round in another way
        left_NK, singular_K, _ = np.linalg.svd(np.asarray(features_ND, dtype=np.float64), full_matrices=False)
    targets = [np.array([one == label for one in labels], dtype=np.float64) for label in sorted(set(labels))]
    return float(np.mean([_evidence(left_NK, singular_K**2, features_ND.shape[1], y_N) for y_N in targets]))


def _evidence(left_NK: Array, squares_K: Array, width: int, y_N: Array) -> float:
    """Log evidence an item of y = F w + noise, from F's left singular vectors and the squares of its singular values.

    α = γ / |m|² and β = (N - γ) / |Fm - y|², with γ = Σ βσ² / (α + βσ²), until α / β stands still.
    """
    n, rank = left_NK.shape
    seen_K = (left_NK.T @ y_N) ** 2
    unseen = max(0.0, float(y_N @ y_N - seen_K.sum()))
    alpha = beta = 1.0
    for _ in range(200):
        ratio = alpha / beta
        shrink_K = squares_K / (squares_K + ratio)
        weights = float((squares_K * seen_K / (squares_K + ratio) ** 2).sum())
        residual = float((seen_K * (1 - shrink_K) ** 2).sum()) + unseen
        gamma = float(shrink_K.sum())
        alpha, beta = (gamma + TINY) / (weights + TINY), (n - gamma + TINY) / (residual + TINY)
        if abs(alpha / beta - ratio) <= 1e-6 * ratio:
            break
    log_determinant = float(np.log(alpha + beta * squares_K).sum()) + (width - rank) * math.log(alpha)
    known = n * math.log(beta) + width * math.log(alpha) - log_determinant - n * math.log(2 * math.pi)
    return float((known - beta * residual - alpha * weights) / (2 * n))


# --- features -------------------------------------------------------------------------------------


def features(folder: Path, texts: Sequence[str], progress: Progress = silent) -> Array:
    """(N, D) float32: the mean of a frozen base model's last hidden states over the tokens of each of N > 0 texts.

    Start tokens are left out: what is seen there is the same for every text. Raises `DataError` for a text longer than
    the model's context (nothing is cut), and `ModelFileError` where the model gives numbers that are not finite.
    """
    from basewright.engine.lm import check_length
    from basewright.engine.torch_lm import BATCH_TOKENS, open_lm

    lm = open_lm(folder, folder.name)
    ids = [encode.prompt(lm.tokenizer, text) or [lm.tokenizer.eos_id] for text in texts]
    for one in ids:
        check_length(len(one), lm.context)
    found: dict[int, Array] = {}
    for places in _batches(ids, BATCH_TOKENS["cpu" if lm.model.device.type == "cpu" else "gpu"]):
        signals.poll()
        found.update(zip(places, _means(lm, [ids[place] for place in places]), strict=True))
        progress("texts read", len(found), len(texts))
    found_ND = np.stack([found[place] for place in range(len(texts))])
    if not np.isfinite(found_ND).all():
        raise ModelFileError(
            f"{folder.name} gives hidden states that are not finite", fix="leave it out of the candidates"
        )
    return found_ND


def _batches(ids: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Places of texts of like length, the longest first, with at most `most` ids after padding."""
    batch: list[int] = []
    for place in sorted(range(len(ids)), key=lambda place: -len(ids[place])):
        if batch and (len(batch) + 1) * len(ids[batch[0]]) > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _means(lm: TorchLM, ids: Sequence[Sequence[int]]) -> Array:
    """(B, D). Padding is on the right, where a decoder's earlier outputs never see it."""
    import torch

    start = len(encode.start(lm.tokenizer))
    ids_BT = torch.zeros((len(ids), max(map(len, ids))), dtype=torch.long)
    for b, one in enumerate(ids):
        ids_BT[b, : len(one)] = torch.tensor(one)
    with torch.inference_mode():
        hidden_BTD = lm.model.base_model(ids_BT.to(lm.model.device), use_cache=False).last_hidden_state.float()
        means = [hidden_BTD[b, min(start, len(one) - 1) : len(one)].mean(dim=0) for b, one in enumerate(ids)]
    found_BD: Array = torch.stack(means).cpu().numpy()
    return found_BD


def _terms(train: Sequence[str], texts: Sequence[str]) -> tuple[Any, Any, list[str]]:
    """Sparse features of the training texts and of others, and the terms they stand for, all seen in training.

    Each kind of term has length 1 for itself, so that the many characters do not drown the words.
    """
    from scipy.sparse import csr_array, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    train_parts: list[Any] = [csr_array((len(train), 0))]
    parts: list[Any] = [csr_array((len(texts), 0))]
    terms: list[str] = []
    for kind in KINDS:
        vectorizer = TfidfVectorizer(sublinear_tf=True, **kind)
        if any(map(vectorizer.build_analyzer(), train)):
            train_parts.append(vectorizer.fit_transform(train))
            parts.append(vectorizer.transform(texts) if texts else csr_array((0, train_parts[-1].shape[1])))
            terms += vectorizer.get_feature_names_out().tolist()
    return hstack(train_parts, format="csr"), hstack(parts, format="csr"), terms


# --- logistic regression --------------------------------------------------------------------------


def _regression(
    task: Task,
    items: Sequence[Item],
    train_ND: Any,
    items_ND: Any,
    name: str,
    read: str,
    size: int,
    progress: Progress = silent,
) -> Rival:
    """Logistic regression on the training rows' features; `size` bytes are needed to make features of a text."""
    from threadpoolctl import threadpool_limits

    train_y, labels = _numbers(task, task.train), len(task.labels)
    shown = len(set(train_y.tolist()))
    if not _learnable(train_ND, train_y):
        found_NL, weights, how = np.tile(_shares(train_y, labels), (len(items), 1)), labels, "shares of the labels"
    else:
        with threadpool_limits(limits=1):  # sums split over threads round in another way
            tried_N = _spread(train_y, TRIED_ON)
            strength = _strength(train_ND[tried_N], train_y[tried_N], labels, progress)
            found_NL = _probabilities(train_ND, train_y, items_ND, labels, strength)
        weights = (train_ND.shape[1] + 1) * (shown if shown > 2 else 1)
        how = f"C = {strength:g} of {FOLDS}-fold cross-validation on {len(tried_N)} rows"
    return Rival(name=name, items=_scored(task, items, found_NL), size=size + 4 * weights, how=f"{read}; {how}")


def _spread(y_N: Array, most: int) -> Array:
    """Places of so many rows at most, as much of each label as there is in all, in order."""
    by_label_N = np.argsort(y_N, kind="stable")
    kept = by_label_N if len(y_N) <= most else by_label_N[np.linspace(0, len(y_N) - 1, most).astype(int)]
    found: Array = np.sort(kept)
    return found


def _strength(x_ND: Any, y_N: Array, labels: int, progress: Progress) -> float:
    """The C whose fits are least surprised, in bits, by rows that were left out; the smallest of equal ones.

    Rows are dealt to the folds label by label, so a label of a single row is not in training when that row is asked
    about, and costs the same for every C. One that is already behind the best is not fitted further.
    """
    folds_N = np.empty(len(y_N), dtype=int)
    folds_N[np.argsort(y_N, kind="stable")] = np.arange(len(y_N)) % FOLDS
    best, least = STRENGTHS[0], math.inf
    for place, strength in enumerate(STRENGTHS):
        total = 0.0
        for fold in range(min(FOLDS, len(y_N))):
            signals.poll()
            progress("fits", place * FOLDS + fold, len(STRENGTHS) * FOLDS)
            held_N = folds_N == fold
            found_NL = _probabilities(x_ND[~held_N], y_N[~held_N], x_ND[held_N], labels, strength)
            total += float(_bits(found_NL, y_N[held_N]).sum())
            if total >= least:
                break
        if total < least:
            best, least = strength, total
    progress("fits", len(STRENGTHS) * FOLDS, len(STRENGTHS) * FOLDS)
    return best


def _probabilities(x_ND: Any, y_N: Array, items_ND: Any, labels: int, strength: float) -> Array:
    """(N, L) of the items, from a regression fitted to rows `x_ND`, `y_N`."""
    from sklearn.linear_model import LogisticRegression

    if not _learnable(x_ND, y_N) or not items_ND.shape[0]:
        return np.tile(_shares(y_N, labels), (items_ND.shape[0], 1))
    model = LogisticRegression(C=strength, max_iter=1000).fit(x_ND, y_N)
    found_NL = np.zeros((items_ND.shape[0], labels))
    found_NL[:, model.classes_] = model.predict_proba(items_ND)
    return found_NL


def _learnable(x_ND: Any, y_N: Array) -> bool:
    return bool(x_ND.shape[1]) and len(set(y_N.tolist())) > 1


# --- answers --------------------------------------------------------------------------------------


def _numbers(task: Task, items: Sequence[Item]) -> Array:
    """Each item's label by its place in `task.labels`."""
    if not task.train:
        raise DataError(f"{task.name} has no training rows", fix="add rows, or hold fewer of them out")
    places = {label: place for place, label in enumerate(task.labels)}
    for item in items:
        if item.label not in places:
            raise DataError(f"label {item.label!r} is none of {task.name}'s", fix="correct the label")
    return np.array([places[item.label] for item in items], dtype=int)


def _shares(y_N: Array, labels: int) -> Array:
    counts = Counter(y_N.tolist())
    return np.array([counts[label] / len(y_N) for label in range(labels)])


def _bits(found_NL: Array, right_N: Array) -> Array:
    """Surprise of the right label, with every probability kept off 0 (`FLOOR`)."""
    kept_NL = found_NL + FLOOR
    bits_N: Array = np.log2(kept_NL.sum(axis=1)) - np.log2(kept_NL[np.arange(len(right_N)), right_N])
    return bits_N


def _scored(task: Task, items: Sequence[Item], found_NL: Array) -> tuple[ItemScore, ...]:
    """Of equally likely labels, the first is the answer."""
    answers = [task.labels[place] for place in found_NL.argmax(axis=1)]
    bits_N = _bits(found_NL, _numbers(task, items))
    return tuple(
        ItemScore(item=item.id, answer=answer, values={"accuracy": float(answer == item.label), "bits": float(bits)})
        for item, answer, bits in zip(items, answers, bits_N, strict=True)
    )
