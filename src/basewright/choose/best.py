"""Every pair of candidates compared on the same items; a winner only if it is separated from every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from basewright.errors import CannotSeparate
from basewright.evaluate import classify
from basewright.records import Choice, Comparison, Scores, Standing, record
from basewright.stats import paired

RULE = (
    "score after a pilot tuning; exact McNemar test for every pair of candidates on the same items, "
    "Bonferroni-corrected over the pairs; the leader wins if it is separated from every other"
)


@record
class Evidence:
    """What was measured of one candidate."""

    model: str
    parameters: int
    few_shot: Scores
    pilot: Scores
    pilot_examples: int


def best(task: str, evidence: Sequence[Evidence], confidence: float) -> Choice:
    """Rank candidates by accuracy after a pilot and say whether the first is a winner.

    The family of all pairs is corrected for, so picking the leader by looking is paid for, and the error rate of
    naming a winner among equals is at most 1 - `confidence`.
    """
    ranked = sorted(evidence, key=lambda e: (-e.pilot.accuracy.value, e.pilot.bits.value, e.parameters, e.model))
    pairs = list(combinations(ranked, 2))
    level = paired.family_confidence(confidence, len(pairs))
    comparisons = tuple(_compare(a, b, level) for a, b in pairs)
    leader = ranked[0]
    tied = [leader, *(e for e in ranked[1:] if not _separated(comparisons, leader.model, e.model))]
    cheapest = min(tied, key=lambda e: (e.parameters, ranked.index(e)))
    return Choice(
        task=task,
        ranked=tuple(_standing(e) for e in ranked),
        comparisons=comparisons,
        verdict="winner" if len(tied) == 1 else "tie",
        winner=cheapest.model,
        tied=tuple(e.model for e in tied) if len(tied) > 1 else (),
        confidence=confidence,
        rule=RULE,
        evaluations=sum(len(e.few_shot.items) + len(e.pilot.items) for e in ranked),
        examples=sum(e.pilot_examples for e in ranked),
    )


def require_winner(choice: Choice, on_tie: str) -> str:
    """The model to go on with. Raises `CannotSeparate` on a tie unless the recipe says to take the cheapest."""
    if choice.verdict == "tie" and on_tie == "stop":
        closest = min(c.p_value for c in choice.comparisons if not c.separated)
        level = 1 - paired.family_confidence(choice.confidence, len(choice.comparisons))
        raise CannotSeparate(
            f"cannot separate {', '.join(choice.tied)} on {choice.ranked[0].pilot.n} items "
            f"(smallest p {closest:.3f}, needed below {level:.3f})",
            fix='add labelled rows, or accept the cheapest: set on_tie = "cheapest" under [choose] in the recipe',
        )
    return choice.winner


def _compare(a: Evidence, b: Evidence, level: float) -> Comparison:
    """Under the candidates' own names: the scores are called after the tuned models."""
    return replace(classify.same_items(a.pilot, b.pilot, level), first=a.model, second=b.model)


def _separated(comparisons: Sequence[Comparison], first: str, second: str) -> bool:
    return any({c.first, c.second} == {first, second} and c.separated for c in comparisons)


def _standing(e: Evidence) -> Standing:
    return Standing(
        model=e.model,
        parameters=e.parameters,
        few_shot=e.few_shot.accuracy,
        pilot=e.pilot.accuracy,
        pilot_bits=e.pilot.bits,
    )
