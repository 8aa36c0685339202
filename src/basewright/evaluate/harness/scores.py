"""What lm-evaluation-harness found about a task, as our `Scores`: its numbers, our intervals, how they were made."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from basewright.engine.lm import LM
from basewright.records import How, Interval, ItemScore, Scores
from basewright.stats import intervals

if TYPE_CHECKING:
    from basewright.evaluate.harness.bridge import Asked

Sample = Mapping[str, Any]
"""An item as lm-eval logs it, after one of the task's filters."""
Aggregation = Callable[[Sequence[Any]], Any]
DRAWS = 1000
SAMPLERS = {"default": "random", "first_n": "fixed"}
NORMALISED = {
    "acc": "sum of token log-likelihoods",
    "acc_norm": "the sum by characters",
    "acc_bytes": "the sum by bytes",
    "acc_mutual_info": "the sum less that without context",
}
ELSEWHERE = ("metadata", "dataset_path", "dataset_name", "dataset_kwargs", "task_alias")
"""Parts of a task's configuration that say where it lies, not how it asks; the items are hashed themselves."""


def made(
    lm: LM, name: str, task: Any, results: Mapping[str, Any], asked: Asked, weights: str, confidence: float
) -> Scores:
    """The record of one task: `results` is what `lm_eval.evaluate` returned, `asked` what the engine was asked."""
    samples: Sequence[Sample] = results["samples"][name]
    found = {key: value for key, value in results["results"][name].items() if "," in key and _is_number(value)}
    aggregations = {key: _aggregation(task, key.partition(",")[0]) for key in found}
    metrics = {}
    for key, value in found.items():
        metric, _, filtered = key.partition(",")
        raw = [sample[metric] for sample in samples if sample["filter"] == filtered and metric in sample]
        if raw:  # not a standard error
            error = found.get(f"{metric}_stderr,{filtered}")
            metrics[_short(key)] = _interval(raw, float(value), error, aggregations[key], confidence)
    return Scores(
        model=lm.name,
        task=name,
        version=_version(task, results, samples),
        split="all",
        metrics=metrics,
        majority=_majority(task, samples),
        items=_items(task, samples, aggregations),
        expected=int(results["n-samples"][name]["original"]),
        how=_how(lm, task, asked, int(results["n-shot"][name]), list(found), weights),
    )


# --- metrics --------------------------------------------------------------------------------------


def _interval(
    raw: Sequence[Any], value: float, error: float | None, aggregation: Aggregation, confidence: float
) -> Interval:
    """Around lm-eval's own `value`, by what suits the way it sums items up.

    Means, and the perplexities that are functions of one, by `stats.intervals`; other figures by lm-eval's bootstrap
    standard error, or where it gives none, by the percentile bootstrap.
    """
    how = aggregation.__name__
    if how == "mean":
        found = intervals.interval([float(one) for one in raw], None, confidence, binary=False)
    elif how == "perplexity":
        found = _mapped(intervals.interval([float(one) for one in raw], None, confidence, binary=False), _perplexity)
    elif how in ("weighted_perplexity", "bits_per_byte"):
        nats, sizes = (np.array(column, dtype=np.float64) for column in zip(*raw, strict=True))
        of_sum = intervals.ratio(nats, sizes, len(raw), confidence)
        found = _mapped(of_sum, _perplexity if how == "weighted_perplexity" else lambda mean: -mean / math.log(2))
    elif error is not None:
        half = NormalDist().inv_cdf((1 + confidence) / 2) * float(error)
        method = "normal, lm-eval's bootstrap error"
        found = Interval(
            value=value, low=value - half, high=value + half, n=len(raw), confidence=confidence, method=method
        )
    else:
        found = _resampled(raw, value, aggregation, confidence)
    return replace(found, value=value)


def _mapped(interval: Interval, falling: Callable[[float], float]) -> Interval:
    """The interval of a falling function of a figure."""
    return replace(interval, low=falling(interval.high), high=falling(interval.low))


def _perplexity(mean: float) -> float:
    return math.exp(min(-mean, math.log(intervals.UNBOUNDED)))


def _resampled(raw: Sequence[Any], value: float, aggregation: Aggregation, confidence: float) -> Interval:
    """The percentile bootstrap (Efron 1979) of any figure over items. With one item it is unbounded."""
    low, high = -intervals.UNBOUNDED, intervals.UNBOUNDED
    if len(raw) > 1:
        generator = random.Random(0)
        figures = [float(aggregation(generator.choices(raw, k=len(raw)))) for _ in range(DRAWS)]
        low, high = map(float, np.quantile(figures, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return Interval(value=value, low=low, high=high, n=len(raw), confidence=confidence, method="percentile bootstrap")


def _aggregation(task: Any, metric: str) -> Aggregation:
    from lm_eval.api.metrics import mean

    found: Aggregation = task.aggregation().get(metric, mean)  # as lm-eval where a task names none
    return found


def _short(key: str) -> str:
    """`acc,none` is `acc`; a metric behind a filter of the task's own keeps its filter's name."""
    return key.removesuffix(",none")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


# --- items ----------------------------------------------------------------------------------------


def _items(task: Any, samples: Sequence[Sample], aggregations: Mapping[str, Aggregation]) -> tuple[ItemScore, ...]:
    items: dict[Any, tuple[str, dict[str, float]]] = {}
    for sample in samples:
        values = items.setdefault(sample["doc_id"], (_answer(task, sample), {}))[1]
        for metric in sample["metrics"]:
            key = f"{metric},{sample['filter']}"
            if key in aggregations:
                values[_short(key)] = _value(sample[metric], aggregations[key])
    return tuple(ItemScore(item=str(item), answer=answer, values=values) for item, (answer, values) in items.items())


def _value(raw: Any, aggregation: Aggregation) -> float:
    """The metric of the item alone: lm-eval keeps parts of some, such as log-likelihoods for a perplexity."""
    try:
        return float(aggregation([raw]))
    except OverflowError:  # a perplexity beyond what a float holds
        return intervals.UNBOUNDED


def _answer(task: Any, sample: Sample) -> str:
    """The choice found likeliest, the text generated, or the target where it is what the model would write."""
    found = sample["filtered_resps"]
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(sample["doc"])
        return str(choices[int(np.argmax([answer[0] for answer in found[: len(choices)]]))])
    if task.OUTPUT_TYPE == "loglikelihood":
        return str(sample["target"]) if all(greedy for _, greedy in found) else ""
    return "" if task.OUTPUT_TYPE == "loglikelihood_rolling" else str(found[0])


def _majority(task: Any, samples: Sequence[Sample]) -> float:
    """By the texts of the right choices: that the right one often stands first is nothing a model can give."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return 0.0
    gold = Counter(_gold(task, sample) for sample in samples if sample["filter"] == samples[0]["filter"])
    return max(gold.values()) / gold.total()


def _gold(task: Any, sample: Sample) -> str:
    right = task.doc_to_text(sample["doc"]) if task.multiple_input else sample["target"]
    return str(task.doc_to_choice(sample["doc"])[right]) if isinstance(right, int) else str(right)


def _version(task: Any, results: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """16 hex digits over the items scored, in order, and the task's configuration: no path, no address in memory."""
    config = {key: value for key, value in task.dump_config().items() if key not in ELSEWHERE}
    documents = list(dict.fromkeys((sample["doc_id"], sample["doc_hash"]) for sample in samples))
    text = json.dumps([str(task.VERSION), config, documents], sort_keys=True, default=str)
    return hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", text).encode()).hexdigest()[:16]


# --- how ------------------------------------------------------------------------------------------


def _how(lm: LM, task: Any, asked: Asked, shots: int, metrics: Sequence[str], weights: str) -> How:
    return How(
        engine=lm.engine,
        precision=lm.precision,
        weights=weights,
        shots=shots,
        sampler=_sampler(task) if shots else "none",
        normalisation=_normalisation(task, metrics),
        stops=asked.stops,
        prompt_hash=asked.hash,
        prompt=asked.prompt,
        prompt_ids=asked.ids,
        bos=sum(1 for _ in takewhile(lambda number: number == lm.tokenizer.bos_id, asked.ids)),
        cut=len(asked.cut),
    )


def _sampler(task: Any) -> str:
    """lm-eval's `default` draws anew for every item, `first_n` takes the same ones for all."""
    sampler = getattr(task.config.fewshot_config, "sampler", "default")
    return SAMPLERS.get(sampler, str(sampler))


def _normalisation(task: Any, metrics: Sequence[str]) -> str:
    if task.OUTPUT_TYPE == "multiple_choice":
        names = dict.fromkeys(key.partition(",")[0] for key in metrics)
        return "; ".join(f"{name}: {NORMALISED[name]}" for name in names if name in NORMALISED)
    if task.OUTPUT_TYPE == "generate_until":
        return "filters: " + ", ".join(dict.fromkeys(key.partition(",")[2] for key in metrics))
    return NORMALISED["acc"]
