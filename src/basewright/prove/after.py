"""What training did: before and after on the same items, and what it cost in general language."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from basewright.checks import at_most
from basewright.engine.lm import LM
from basewright.evaluate import classify
from basewright.evaluate.perplexity import bits_per_byte
from basewright.records import Check, Progress, Proof, Scores


def prove(
    before: Scores,
    after: Scores,
    base: LM,
    tuned: LM,
    texts: tuple[str, ...],
    *,
    allowed_forgetting: float,
    confidence: float,
    progress: Progress,
) -> Proof:
    """`before` is the base few-shot, `after` the tuned model, both on the test items nothing was chosen on.

    `allowed_forgetting` is the rise in bits per byte on `texts` that is accepted, as a fraction.
    """
    gain = classify.same_items(after, before, confidence)
    general_before = bits_per_byte(base, texts, progress)
    general_after = bits_per_byte(tuned, texts, progress)
    rise = general_after / general_before - 1
    return Proof(
        before=before,
        after=after,
        gain=gain,
        general_bits_before=general_before,
        general_bits_after=general_after,
        checks=(
            Check(
                name="tuning gained on held-out items",
                value=gain.p_value,
                limit=1 - confidence,
                passed=gain.separated and gain.difference.value > 0,
                how=f"exact McNemar p-value of after against before on {gain.difference.n} test items, gain positive",
            ),
            Check(
                name="better than the most frequent label",
                value=after.majority - after.accuracy.low,
                limit=0.0,
                passed=after.accuracy.low > after.majority,
                how="accuracy of the most frequent label minus the lower end of the tuned model's interval",
            ),
            at_most(
                "general language is kept",
                rise,
                allowed_forgetting,
                f"relative rise in bits per byte on {sum(len(t.encode()) for t in texts)} bytes of general text",
            ),
        ),
    )


def general_texts(path: Path | None = None) -> tuple[str, ...]:
    """The passages forgetting is measured on: the package's own, or those of a file, separated by empty lines."""
    source = path if path is not None else resources.files("basewright.prove") / "data" / "general.txt"
    passages = (part.strip() for part in source.read_text("utf-8").split("\n\n"))
    return tuple(passage for passage in passages if passage)
