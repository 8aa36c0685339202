"""The sentences of an answer, pure functions of the record: the terminal, the JSON and the page say the same."""

from __future__ import annotations

from collections.abc import Callable

from basewright.choose import lookup
from basewright.choose.lookup import future, leader, shown, standing, tuned
from basewright.pages.phrases import against, count, joined, percent, plural, points, share, size
from basewright.records import Choice, Duel, Interval, Standing, record

ROLES: dict[lookup.Role, str] = {
    "winner": "take this",
    "tied": "tied",
    "rival": "classical rival",
    "base": "",
    "dropped": "left early",
}
PREFER = "labelled rows are scarce, wording will drift, or you need more than a label"


@record
class Claim:
    scope: str
    meaning: str
    finding: str


def label(choice: Choice, one: Standing) -> str:
    """What one of the standings is in this answer, in two words."""
    if one.model in choice.beaten_by:
        return "classical, wins" if one == lookup.strongest(choice) else "classical rival"
    return "best base model" if choice.beaten_by and one.model == choice.winner else ROLES[lookup.role(choice, one)]


@shown
def asked(choice: Choice) -> str:
    """What was asked and how it was measured."""
    question, candidates = choice.question, sum(one.kind == "base model" for one in choice.ranked)
    each = "each " if candidates > 1 else ""
    how = f"{each}asked few-shot as it is"
    if tuned(choice) and question.rungs:
        how = f"{each}tuned on up to {count(question.rungs[-1])} of your examples"
        how += " and asked few-shot" if question.decides == "both" else ""
    return (
        f"{plural(candidates, 'base model')}, {how}, then tested on {plural(choice.items, 'row')} of yours that it "
        f"never saw (the items). You said that a difference below {points(question.margin)} does not matter."
    )


# --- the verdict ----------------------------------------------------------------------------------


@shown
def verdict(choice: Choice) -> list[str]:
    """What to take, how sure that is, and why: two or three sentences; a classical rival that wins comes first."""
    if not lookup.against_models(choice):
        said = _alone(choice)
    else:
        said = _winner(choice) if choice.verdict == "winner" else _tie(choice)
    if choice.beaten_by:
        return [_beaten(choice), *said]
    if unbeaten := lookup.unbeaten(choice):
        said.append(f"Not covered: {joined(unbeaten)}, left out when the budget ended and not beaten.")
    return said


@shown
def facts(choice: Choice) -> list[tuple[str, str]]:
    """The answer in a few cells: what to take, how sure that is, how right it is, what it needs."""
    best = lookup.strongest(choice) if choice.beaten_by else standing(choice, choice.winner)
    cells = [("Take", best.model), ("Confidence", _confidence(choice))]
    if best.score:
        cells.append(("Accuracy", percent(best.score.value)))
    held = lookup.memory(best)
    if held is not None:
        cells.append(("Memory in use", size(held)))
    if choice.beaten_by:
        cells.append(("Best base model", choice.winner))
    elif others := [name for name in choice.tied if name != choice.winner]:
        cells.append(("Tied with", ", ".join(others)))
    return cells


def _confidence(choice: Choice) -> str:
    sure, duels = share(choice.question.confidence), lookup.against_models(choice)
    if choice.beaten_by:
        return (
            f"{sure} that it beats the base models" if lookup.rival_proven(choice) else f"below {sure}: lead not proven"
        )
    if not duels:
        return "nothing to compare with"
    if choice.verdict == "winner":
        return f"{sure} that it is the best{' of those measured' if lookup.unbeaten(choice) else ' base model'}"
    if _level(choice, duels):
        return f"{sure} that those tied are within {points(choice.question.margin)}"
    return f"below {sure}: not separated"


def _beaten(choice: Choice) -> str:
    rival, base = lookup.strongest(choice), standing(choice, choice.winner)
    wins = "wins" if lookup.rival_proven(choice) else "wins on these items, though not provably beyond them"
    return (
        f"{rival.model}, a classical method, {wins}: {_score(rival)} right against {_score(base)} for the base model "
        f"{base.model}; prefer that one only if {PREFER}."
    )


def _score(one: Standing) -> str:
    return percent(one.score.value) if one.score else "not scored"


def _take(choice: Choice) -> str:
    return f"Of the base models take {choice.winner}" if choice.beaten_by else f"Take {choice.winner}"


def _alone(choice: Choice) -> list[str]:
    """No other base model came to the end, or none was compared with it."""
    score = standing(choice, choice.winner).score
    others = [one for one in choice.ranked if one.kind == "base model" and one.model != choice.winner]
    why = "it was the only candidate"
    if others:
        why = "it alone came to the end" if all(one.dropped for one in others) else "it has the best score of them"
    said = [f"{_take(choice)}: {why}{f', with {percent(score.value)} of the items right' if score else ''}."]
    return [*said, _within(score)] if score else said


def _within(score: Interval) -> str:
    low, high = percent(score.low), percent(score.high)
    return f"With {share(score.confidence)} confidence its accuracy on new items is between {low} and {high}."


def _winner(choice: Choice) -> list[str]:
    closest = lookup.against_models(choice)[0]
    second = standing(choice, closest.second)
    low, high, scope = _widest(closest, tuned(choice))
    right = f"it answers {_score(standing(choice, choice.winner))} of the items right"
    return [
        f"{_take(choice)}: {right}; the closest base model, {second.model}, {_score(second)}.",
        f"With {share(choice.question.confidence)} confidence it is {against(low, high, second.model)}{scope}.",
    ]


def _widest(duel: Duel, was_tuned: bool) -> tuple[float, float, str]:
    """The bounds of the widest claim that holds, and what it is about."""
    if not was_tuned:
        return *lookup.on_items(duel), ", also on new items"
    if future(duel)[0] > 0 or duel.on_items.low <= 0:
        return *future(duel), ", also on new items and if both are tuned again"
    return *lookup.on_items(duel), " on new items, with these tunings: tuned again, the order may change"


def _guide(choice: Choice) -> str:
    """Why this one, where nothing is proven."""
    tied = [standing(choice, model) for model in choice.tied]
    chosen = standing(choice, choice.winner)
    if chosen.hint is not None and chosen.hint == max(one.hint for one in tied if one.hint is not None):
        return "whose frozen features promise most"
    if chosen.parameters == min(one.parameters for one in tied):
        return "the cheapest"
    return "the highest score"


def _level(choice: Choice, duels: list[Duel]) -> bool:
    """Whether all that are tied are shown to be within the margin, not only not told apart."""
    return all(duel.outcome == "tie within the margin" for duel in duels if duel.second in choice.tied)


def _tie(choice: Choice) -> list[str]:
    sure = share(choice.question.confidence)
    duels = [duel for duel in lookup.against_models(choice) if duel.second in choice.tied]
    chosen = next((duel for duel in duels if duel.second == choice.winner), None)
    if duels and _level(choice, duels):
        return [_same(choice), f"With {sure} confidence {_apart(chosen or _far(duels))}."]
    none = "Among the base models there is no" if choice.beaten_by else "No"
    said = (
        f"{none} proven winner: take {choice.winner} to go on, {_guide(choice)} of {len(choice.tied)} that "
        f"{plural(choice.items, 'item')} cannot separate."
    )
    if not duels:
        return [said]
    return [said, f"With {sure} confidence no more is known than this: {_apart(chosen or duels[0])}."]


def _same(choice: Choice) -> str:
    first, margin = leader(choice), points(choice.question.margin)
    if choice.winner == first:
        return f"{_take(choice)}: it scores best and is the cheapest of the {len(choice.tied)} within {margin} of it."
    near = f"it is within {margin} of the best, {first}"
    return f"{_take(choice)}: {near}, and the cheapest of the {len(choice.tied)} that are."


def _far(duels: list[Duel]) -> Duel:
    return max(duels, key=lambda duel: max(map(abs, future(duel))))


def _apart(duel: Duel) -> str:
    return f"{duel.first} is {against(*future(duel), duel.second)}"


# --- why ------------------------------------------------------------------------------------------


@shown
def claims(choice: Choice) -> list[Claim]:
    """Three claims, from the narrow to the wide: who the leader beats, equals, loses to. None where nothing duelled.

    A finding is said of `lookup.leader`, who is not named in it: it begins with the verb.
    """
    if not choice.duels:
        return []
    sure = share(choice.question.confidence)
    wide = _finding(choice, future) if tuned(choice) else "nothing is claimed, since nothing was tuned"
    return [
        Claim(
            scope="These items",
            meaning=f"the models as they are now, on the {plural(choice.items, 'item')} at hand",
            finding=_finding(choice, lookup.pool),
        ),
        Claim(
            scope="Future items",
            meaning=f"the models as they are now, on new items of the same kind, with {sure} confidence",
            finding=_finding(choice, lookup.on_items),
        ),
        Claim(
            scope="Future tunings",
            meaning=f"the bases tuned again with other seeds, on new items, with {sure} confidence",
            finding=wide,
        ),
    ]


def _finding(choice: Choice, bounds: Callable[[Duel], tuple[float, float]]) -> str:
    margin = choice.question.margin
    unknown, loses, level, beats = "is not separated from", "is beaten by", f"is within {points(margin)} of", "beats"
    said: dict[str, list[str]] = {unknown: [], loses: [], level: [], beats: []}
    for duel in choice.duels:
        low, high = bounds(duel)
        within = level if max(-low, high) <= margin else unknown
        said[beats if low > 0 else loses if high < 0 else within].append(duel.second)
    whole = len(choice.duels) if len(choice.duels) > 2 else 0
    return "; ".join(
        f"{word} {f'all {whole} others' if len(names) == whole else joined(names)}"
        for word, names in said.items()
        if names
    )


@shown
def rivals(choice: Choice) -> list[str]:
    """What each classical rival says about the need for a base model."""
    best, said = standing(choice, choice.winner), []
    for one in (one for one in choice.ranked if one.kind == "classical"):
        held = lookup.memory(one)
        takes = f" and takes {size(held)}" if held is not None else ""
        if one.score is None or best.score is None:
            said.append(f"{one.model} was not scored.")
        else:
            ahead = best.score.value - one.score.value
            said.append(
                f"{one.model} answers {_score(one)} right{takes}; {best.model} is {against(ahead, ahead, 'it')}."
            )
    return [*said, f"Prefer a base model if {PREFER}."] if said else []


@shown
def cheapest(choice: Choice) -> str:
    """The cheapest within the margin of the best, by measured accuracy; empty where memory is not known."""
    known = [(one, held) for one in lookup.scored(choice) if (held := lookup.memory(one)) is not None and one.score]
    if len(known) < 2:
        return ""
    top = max(one.score.value for one, _ in known if one.score)
    near = [(held, one) for one, held in known if one.score and one.score.value >= top - choice.question.margin]
    held, one = min(near, key=lambda found: found[0])
    return (
        f"The cheapest within {points(choice.question.margin)} of the best measured accuracy is {one.model}: "
        f"{_score(one)} in {size(held)}."
    )


# --- terms ----------------------------------------------------------------------------------------


def terms(choice: Choice) -> dict[str, str]:
    """Words a reader may not know, in plain ones."""
    margin, moved = points(choice.question.margin), points(choice.seed_sd)
    return {
        "Base model": "A network trained on a large body of text and not yet on any task: what your own model is "
        "built from.",
        "Pilot tuning": "A short, complete training of a candidate on some of your examples, to see how it takes to "
        "them before paying for all.",
        "Interval": "Where the true value lies, with the confidence stated. More items make it narrower.",
        "Margin": f"The smallest difference that matters to you, here {margin}. Models closer than that are tied, and "
        "the cheapest is taken.",
        "Seed": "What chance in a tuning starts from. Tuned again with another, the same model scores about "
        f"{moved} higher or lower.",
    }
