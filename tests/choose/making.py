"""Answers of every kind, for the tests of what is said about them and drawn of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from basewright.plain import from_plain, to_plain
from basewright.records import (
    Choice,
    Cost,
    Decides,
    Dropped,
    DroppedAt,
    Duel,
    Forecast,
    Interval,
    Question,
    Rung,
    Spent,
    Standing,
)

ITEMS = 2000
MARGIN = 0.01
RUNGS = (200, 400, 800, 1600)


def interval(value: float, half: float, n: int = ITEMS) -> Interval:
    return Interval(value=value, low=value - half, high=value + half, n=n, confidence=0.95, method="Wilson")


def costs(parameters: int) -> tuple[Cost, ...]:
    sizes = {"f16": 2.0, "q8_0": 1.0625}
    return tuple(
        Cost(
            quantization=name,
            memory=int(parameters * width) + 2**20,
            disk=int(parameters * width),
            flops=2.0 * 120 * parameters,
        )
        for name, width in sizes.items()
    )


def base(
    model: str,
    score: float,
    parameters: int = 400_000_000,
    *,
    seeds: int = 3,
    drift: float = 0.0,
    frontier: bool = False,
    tuned: bool = True,
) -> Standing:
    """A base model that came to the end; `drift` bends the end of its learning curve, in bits."""
    surprise = [2.0 * (1 - score) + 0.9 * (200 / examples) ** 0.5 for examples in RUNGS]
    rungs = tuple(
        Rung(
            examples=examples,
            accuracy=interval(score - 0.12 * (bits - surprise[-1]), 0.016),
            bits=interval(bits, 0.04),
        )
        for examples, bits in zip(RUNGS, surprise, strict=True)
    )
    ahead = interval(surprise[-1] - 0.12 + drift, 0.06)
    return Standing(
        model=model,
        kind="base model",
        parameters=parameters,
        few_shot=interval(score - 0.2 if tuned else score, 0.022),
        rungs=rungs if tuned else (),
        score=interval(score, 0.016),
        seeds=tuple(score + 0.01 * (seed - (seeds - 1) / 2) for seed in range(seeds)) if tuned else (),
        forecast=Forecast(examples=10_000, bits=ahead, law="rectified") if tuned else None,
        hint=None,
        costs=costs(parameters),
        frontier=frontier,
        dropped=None,
        spent=Spent(examples=sum(RUNGS) + (seeds - 1) * RUNGS[-1], evaluations=3 * ITEMS, tunings=3 + seeds),
    )


def dropped(model: str, at: DroppedAt, by: str = "", parameters: int = 300_000_000) -> Standing:
    reasons = {
        "plan": ("nothing", "tuning needs 9,120 MiB of 4,096"),
        "certificate": ("nothing", "it has no end-of-text token, so it would never stop"),
        "curve": ("400 examples", "its learning curve does not reach the leader's"),
        "items": ("1,600 examples, 740 items", "behind by more than the margin"),
        "budget": ("200 examples", "the budget could not carry it further"),
    }
    reached = {"plan": 0, "certificate": 0, "curve": 2, "items": 4, "budget": 1}[at]
    whole = base(model, 0.78, parameters)
    when, reason = reasons[at]
    return replace(
        whole,
        rungs=whole.rungs[:reached],
        few_shot=whole.few_shot if reached else None,
        score=None,
        seeds=(),
        forecast=whole.forecast if reached > 1 else None,
        hint=None,
        dropped=Dropped(at=at, when=when, by=by, reason=reason),
        spent=Spent(examples=sum(RUNGS[:reached]), evaluations=256 * reached, tunings=reached),
    )


def rival(model: str, score: float, frontier: bool = True) -> Standing:
    whole = base(model, score, 40_000)
    cost = Cost(quantization="float64", memory=320_000, disk=320_000, flops=0.0)
    return replace(
        whole,
        kind="classical",
        few_shot=None,
        rungs=(),
        seeds=(score,),
        forecast=None,
        hint=None,
        costs=(cost,),
        frontier=frontier,
        spent=Spent(examples=0, evaluations=ITEMS, tunings=0),
    )


def duel(
    first: Standing,
    second: Standing,
    half: float = 0.011,
    seed_error: float = 0.008,
) -> Duel:
    """As `choose.duels` decides it."""
    assert first.score is not None
    assert second.score is not None
    gap = round(first.score.value - second.score.value, 6)
    low, high = gap - half - seed_error, gap + half + seed_error
    tied = low > -MARGIN and high < MARGIN
    return Duel(
        first=first.model,
        second=second.model,
        difference=gap,
        items=ITEMS,
        on_items=interval(gap, half),
        pool=interval(gap, 0.0),
        seed_error=seed_error,
        low=low,
        high=high,
        outcome="better" if low > 0 else "worse" if high < 0 else "tie within the margin" if tied else "not separated",
    )


def choice(
    finalists: Sequence[Standing],
    out: Sequence[Standing] = (),
    *,
    winner: str | None = None,
    half: float = 0.011,
    seed_error: float = 0.008,
    decides: Decides = "tuned",
    task: str = "support-intents",
) -> Choice:
    """An answer over those who came to the end, in any order; who wins or is tied follows from their scores."""
    ranked = sorted(finalists, key=lambda one: -one.score.value if one.score else 0.0)
    models = [one for one in ranked if one.kind == "base model"]
    duels = tuple(duel(models[0], one, half, seed_error) for one in ranked if one is not models[0])
    kinds = {one.model: one for one in models}
    tied = [models[0], *(kinds[one.second] for one in duels if one.second in kinds and one.outcome != "better")]
    cheapest = min(tied, key=lambda one: one.parameters)
    best = winner or cheapest.model
    score = next(one.score.value for one in models if one.model == best and one.score)
    everyone = (*ranked, *out)
    return Choice(
        question=Question(
            task=task,
            decides=decides,
            margin=MARGIN,
            confidence=0.95,
            rungs=RUNGS if decides != "few-shot" else (),
            target=10_000,
            repeats=3,
            budget=20_000,
            seed=0,
        ),
        items=ITEMS,
        ranked=everyone,
        duels=duels,
        verdict="winner" if len(tied) == 1 else "tie",
        winner=best,
        tied=tuple(one.model for one in tied) if len(tied) > 1 else (),
        beaten_by=tuple(
            one.model for one in ranked if one.kind == "classical" and one.score and one.score.value > score
        ),
        seed_sd=0.012,
        spent=Spent(
            examples=sum(one.spent.examples for one in everyone),
            evaluations=sum(one.spent.evaluations for one in everyone),
            tunings=sum(one.spent.tunings for one in everyone),
        ),
        exhaustive=Spent(examples=7_000 * len(everyone), evaluations=9_000 * len(everyone), tunings=6 * len(everyone)),
        rule="Pilots of growing size, a race on items, other seeds for the finalists.",
    )


TFIDF = "TF-IDF + logistic regression"
HOSTILE = (
    '"><script>alert(1)</script>',
    "</style><style>*{display:none}",
    "</title></svg><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% for x in y %}",
    "javascript:alert(1)",
    "<!-- --><a href='//x'>",
    "]]><!DOCTYPE x>",
    "\x1b[2J\x1b[31mred",
    "a\u202eb\u2066c",
    "two\nlines\r\ttab",
    "nul\x00\ufeff\u200b",
    "half \ud800",
    "&amp;lt;b&gt;",
    "x" * 5000,
    "日" * 300,
)
"""Names that try to be more than text."""


def winner_of_two() -> Choice:
    two = [base("pythia-410m", 0.873, 405_000_000, frontier=True), base("opt-350m", 0.846, 331_000_000, frontier=True)]
    return choice([*two, rival(TFIDF, 0.802)])


def tie_of_three() -> Choice:
    three = [
        base("pythia-410m", 0.873, 405_000_000),
        base("opt-350m", 0.871, 331_000_000),
        base("SmolLM2-135M", 0.870, 135_000_000, frontier=True),
    ]
    return choice([*three, rival(TFIDF, 0.802)], half=0.004, seed_error=0.002)


def not_separated() -> Choice:
    three = [
        base("pythia-410m", 0.873, 405_000_000, frontier=True),
        base("opt-350m", 0.861, 331_000_000, drift=-0.2),
        base("SmolLM2-135M", 0.868, 135_000_000, frontier=True),
    ]
    return choice([*three, rival(TFIDF, 0.802)], [dropped("bloom-560m", "budget")])


def classical_wins() -> Choice:
    two = [base("foundling-prose", 0.81, 3_000_000, frontier=True), base("foundling-code", 0.77, 2_900_000)]
    return choice([*two, rival(TFIDF, 0.912), rival("linear probe of foundling-prose", 0.79, False)])


def classical_wins_unproven() -> Choice:
    two = [base("foundling-prose", 0.81, 3_000_000, frontier=True), base("foundling-code", 0.77, 2_900_000)]
    return choice([*two, rival(TFIDF, 0.822)])


def few_shot_only() -> Choice:
    two = [base("Llama-3.2-1B", 0.71, 1_240_000_000, tuned=False, frontier=True), base("opt-1.3b", 0.62, tuned=False)]
    return replace(
        choice(two, decides="few-shot", seed_error=0.0), spent=Spent(examples=0, evaluations=4000, tunings=0)
    )


def one_candidate() -> Choice:
    return choice([base("gpt2", 0.8, 124_000_000, frontier=True)])


def only_one_left() -> Choice:
    return choice([base("gpt2", 0.8, 124_000_000, frontier=True)], [dropped("opt-125m", "curve", "gpt2")])


def twelve() -> Choice:
    finalists = [
        base("pythia-410m", 0.873, 405_000_000, frontier=True),
        base("pythia-160m", 0.846, 162_000_000, frontier=True),
        base("bloom-560m", 0.841, 559_000_000),
        base("SmolLM2-135M", 0.838, 135_000_000, frontier=True),
        base("SmolLM2-360M", 0.835, 362_000_000, drift=-0.3),
        base("opt-350m", 0.829, 331_000_000),
        rival(TFIDF, 0.802),
    ]
    lead = finalists[0].model
    out = [
        dropped("opt-125m", "items", lead),
        dropped("gpt2", "curve", lead),
        dropped("cerebras-gpt-256m", "curve", lead),
        dropped("Qwen3-0.6B-Base", "budget"),
        dropped("foundling-prose", "certificate"),
        dropped("Llama-3.2-3B", "plan", parameters=3_210_000_000),
    ]
    return choice(finalists, out)


def long_names() -> Choice:
    stem = "an-organisation-with-a-very-long-name/base-model-of-the-third-generation"
    return renamed(
        not_separated(),
        {
            "pythia-410m": f"{stem}-with-410-million-parameters-trained-on-four-trillion-tokens",
            "opt-350m": f"{stem}-with-350-million-parameters-trained-on-four-trillion-tokens",
            "SmolLM2-135M": f"{stem}-with-135-million-parameters-trained-on-four-trillion-tokens",
        },
    )


def unicode_names() -> Choice:
    return renamed(
        twelve(), {"pythia-410m": "日本語の基礎模型-410m", "pythia-160m": "עברית-بسيط-160m", "gpt2": "gpt2 🦜 <&>\"'"}
    )


def renamed(made: Choice, names: Mapping[str, str]) -> Choice:
    def change(value: object) -> object:
        if isinstance(value, dict):
            return {key: change(item) for key, item in value.items()}
        if isinstance(value, list):
            return [change(item) for item in value]
        return names.get(value, value) if isinstance(value, str) else value

    found: Choice = from_plain(Choice, change(to_plain(made)))
    return found


CASES = {
    made.__name__: made()
    for made in (
        winner_of_two,
        tie_of_three,
        not_separated,
        classical_wins,
        classical_wins_unproven,
        few_shot_only,
        one_candidate,
        only_one_left,
        twelve,
        long_names,
        unicode_names,
    )
}
