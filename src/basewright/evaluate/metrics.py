"""Figures of single answers, and the interval of a figure over items: each by the formula named beside it."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.evaluate.question import Runs
from basewright.records import Interval
from basewright.stats import clusters, intervals

Places = NDArray[np.intp]
Statistic = Callable[[Places, Places], float]
"""(right options, chosen options) of the same items → a figure that is no mean over items."""
DRAWS = 1000


# --- intervals ------------------------------------------------------------------------------------


def measure(values: Sequence[float], groups: Sequence[str], confidence: float) -> Interval:
    """The interval of a mean over items; those that share a group are not independent."""
    return intervals.interval(values, groups, confidence, binary=False)


def means(names: Sequence[str], runs: Runs, confidence: float) -> dict[str, Interval]:
    """Each metric's mean over items; of an item asked in several orders of the shots, the mean over the orders."""
    groups = [one.question.group for one in runs[0]]
    return {name: measure(averages(name, runs), groups, confidence) for name in names}


def averages(name: str, runs: Runs) -> list[float]:
    """A metric of each item, averaged over the orders of the shots."""
    return [math.fsum(one.values[name] for one in same) / len(runs) for same in zip(*runs, strict=True)]


def ratio(totals: Sequence[float], sizes: Sequence[float], groups: Sequence[str], confidence: float) -> Interval:
    """The interval for the sum of `totals` over the sum of `sizes`, each of an item; groups are independent."""
    sums, of = clusters.totals(totals, groups)[0], clusters.totals(sizes, groups)[0]
    return intervals.ratio(sums, of, len(totals), confidence)


def resampled(statistic: Statistic, runs: Runs, confidence: float) -> Interval:
    """The percentile bootstrap of a figure that is no mean: groups are drawn anew, with all their items."""
    gold_N = np.array([one.question.gold for one in runs[0]])
    chosen = [np.array([one.choice for one in run]) for run in runs]

    def figure(places_N: Places) -> float:
        return float(np.mean([statistic(gold_N[places_N], chosen_N[places_N]) for chosen_N in chosen]))

    members: dict[str | int, list[int]] = {}
    for place, one in enumerate(runs[0]):
        members.setdefault(one.question.group or place, []).append(place)
    blocks = [np.array(places) for places in members.values()]
    generator = np.random.default_rng(0)
    draws = generator.integers(0, len(blocks), (DRAWS, len(blocks)))
    found = [figure(np.concatenate([blocks[b] for b in draw])) for draw in draws]
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail]) if len(blocks) > 1 else (-intervals.UNBOUNDED, intervals.UNBOUNDED)
    return Interval(
        value=figure(np.arange(len(gold_N))),
        low=float(low),
        high=float(high),
        n=len(gold_N),
        confidence=confidence,
        method=f"percentile bootstrap, {DRAWS} draws",
    )


# --- choices --------------------------------------------------------------------------------------


def macro_f1(gold_N: Places, chosen_N: Places) -> float:
    """The mean of F1 over the options that are right or chosen somewhere (as scikit-learn's f1_score, "macro")."""
    size = int(max(gold_N.max(), chosen_N.max())) + 1
    right_L = np.bincount(gold_N[gold_N == chosen_N], minlength=size)
    total_L = np.bincount(gold_N, minlength=size) + np.bincount(chosen_N, minlength=size)
    seen_L = total_L > 0
    return float(np.mean(2 * right_L[seen_L] / total_L[seen_L]))


def quadratic_kappa(gold_N: Places, chosen_N: Places) -> float:
    """Cohen's weighted kappa, disagreement being the squared distance of places on the scale (Cohen 1968).

    1 - observed disagreement / disagreement of independent raters with the same marginals, and 0 where those could not
    disagree.
    """
    observed = float(np.mean((gold_N - chosen_N) ** 2))
    chance = float(gold_N.var() + chosen_N.var() + (gold_N.mean() - chosen_N.mean()) ** 2)
    return 1 - observed / chance if chance > 0 else 0.0


# --- texts ----------------------------------------------------------------------------------------

STEPS: dict[str, Callable[[str], str]] = {
    "case": str.lower,
    "thousands": lambda text: re.sub(r"(?<=\d),(?=\d{3})", "", text),
    "ending": lambda text: text.rstrip(" .,;:!?"),
    "punctuation": lambda text: text.translate(str.maketrans("", "", string.punctuation)),
    "articles": lambda text: re.sub(r"\b(a|an|the)\b", " ", text),
    "spaces": lambda text: " ".join(text.split()),
}
"""In the order they are applied, whatever order they are named in. `punctuation` makes 35 of 3.5; `ending` does not."""
SQUAD = ("case", "punctuation", "articles", "spaces")
"""What SQuAD v1.1's evaluation script takes off (Rajpurkar et al. 2016)."""


def normal(text: str, steps: Collection[str]) -> str:
    for name, step in STEPS.items():
        if name in steps:
            text = step(text)
    return text


def token_f1(answer: str, gold: str) -> float:
    """The overlap of the words of two texts as in SQuAD v1.1: the harmonic mean of precision and recall."""
    answered, right = normal(answer, SQUAD).split(), normal(gold, SQUAD).split()
    shared = (Counter(answered) & Counter(right)).total()
    return 2 * shared / (len(answered) + len(right)) if shared else 0.0


def commonest(labels: Sequence[Any]) -> float:
    """The share of the most frequent label; 0 of items that have none."""
    counts = Counter(label for label in labels if label)
    return max(counts.values(), default=0) / len(labels)
