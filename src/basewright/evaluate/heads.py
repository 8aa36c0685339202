"""A classification head's classes for held-out rows, scored: accuracy and macro-F1 beside the most frequent class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from basewright import store
from basewright.engine.classifier import Classifier, Judged
from basewright.evaluate import how, metrics
from basewright.evaluate.question import Judged as Answered
from basewright.evaluate.question import Question
from basewright.records import How, Item, ItemScore, Progress, Scores, silent
from basewright.stats import intervals

NORMALISATION = "softmax over the classes of a head"


def run(
    engine: Classifier,
    items: Sequence[Item],
    *,
    task: str,
    learned: Mapping[str, int],
    weights: str = "",
    confidence: float = 0.95,
    progress: Progress = silent,
) -> Scores:
    """Score `engine` on `items`, whose labels its head all has; `learned` has the training rows of each label."""
    commonest = min(learned, key=lambda label: (-learned[label], label))
    found = engine.classify([item.text for item in items], progress)
    scores = tuple(_score(item, judged) for item, judged in zip(items, found, strict=True))
    return Scores(
        model=engine.name,
        task=task,
        version=store.digest([[item.id, item.label] for item in items])[:16],
        split="test",
        metrics={
            "accuracy": intervals.proportion(sum(score.correct for score in scores), len(scores), confidence),
            "macro_f1": metrics.resampled(metrics.macro_f1, [_answered(engine, items, found)], confidence),
            "bits": intervals.mean([score.bits for score in scores], confidence),
        },
        majority=sum(item.label == commonest for item in items) / len(items),
        items=scores,
        expected=len(items),
        how=_how(engine, items, weights),
    )


def _score(item: Item, judged: Judged) -> ItemScore:
    share = max(judged.probabilities[item.label], 2.0**-149)  # the smallest that float32 holds
    values = {"accuracy": float(judged.label == item.label), "bits": -math.log2(share)}
    return ItemScore(item=item.id, answer=judged.label, values=values)


def _answered(engine: Classifier, items: Sequence[Item], found: Sequence[Judged]) -> list[Answered]:
    places = {label: place for place, label in enumerate(engine.head.labels)}
    return [
        Answered(Question(item.id, asks=(), gold=places[item.label]), judged.label, {}, choice=places[judged.label])
        for item, judged in zip(items, found, strict=True)
    ]


def _how(engine: Classifier, items: Sequence[Item], weights: str) -> How:
    prompts = [engine.ids(item.text) for item in items]
    return How(
        engine="torch",
        precision=engine.precision,
        weights=weights,
        shots=0,
        sampler="none",
        normalisation=NORMALISATION,
        stops=(),
        prompt_hash=how.hash_ids(prompts),
        prompt=engine.tokenizer.text(prompts[0]),
        prompt_ids=prompts[0],
        bos=int(prompts[0][0] == engine.tokenizer.bos_id),
    )
