"""One model of the catalog on one page: what it is, what its licence asks, and where each fact was read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from basewright.catalog import licences
from basewright.catalog.query import Entry
from basewright.cli import show
from basewright.plan.survey import Room
from basewright.records import Job, ModelFacts, PublishedScore, Shape, Source

WIDTH = 110
LABEL = 12
JOBS: tuple[Job, ...] = ("complete", "evaluate", "lora", "qlora", "full", "serve")


def page(one: Entry, needs: Mapping[Job, Room | None], where: str) -> str:
    """The page of a model; `needs` is what each job takes of the memory of the machine called `where`."""
    known = one.facts
    curated = "" if one.card is None or one.card.curated else "; not curated: from its own config"
    lines = [f"{known.id}: {_kind(known)} of the family {known.family}{curated}", ""]
    for label, text in _facts(one):
        lines += _labelled(label, text)
    lines += _needs(one, needs, where)
    lines += ["", "Sources", *(line for source in known.sources for line in _source(source))]
    return "\n".join(lines)


def _needs(one: Entry, needs: Mapping[Job, Room | None], where: str) -> list[str]:
    known = {job: room for job, room in needs.items() if room}
    if not known:
        return []
    budget = next(iter(known.values())).budget
    lines = ["", f"Needs on {where}, of {show.size(budget)} (basewright plan {one.facts.id} --job JOB explains each)"]
    for job, room in known.items():
        lines.append(f"  {job:<10}{show.size(room.need):>10}  {'fits' if room.fits else 'does not fit'}")
    return lines


def _kind(known: ModelFacts) -> str:
    article = "an" if known.nature == "instruct" else "a"
    return f"{article} {known.nature} model ({known.kind})"


def _facts(one: Entry) -> Iterator[tuple[str, str]]:
    known, card = one.facts, one.card
    yield "Size", _size(one)
    if card:
        yield "Shape", _shape(card.shape)
    yield "Context", show.tokens(one.context)
    yield "Weights", f"{known.precision or show.UNKNOWN}, {_place(known)}"
    seen = f"{show.count(known.tokens_seen)} tokens" if known.tokens_seen else f"{show.UNKNOWN} number of tokens"
    yield "Trained on", f"{seen}; languages: {', '.join(known.languages) or show.UNKNOWN}"
    asks = {None: show.UNKNOWN, True: "yes: its makers ask for a name or a promise", False: "no"}[known.gated]
    yield "Released", f"{known.released or show.UNKNOWN}; gated: {asks}"
    if known.held_out:
        yield "Held out", f"bits per byte: {', '.join(f'{name} {value:.3f}' for name, value in known.held_out.items())}"
    if known.sibling:
        yield "Sibling", f"{known.sibling} ({'instruct' if known.nature == 'base' else 'base'})"
    for at, text in enumerate(_licence(known.licence)):
        yield "Licence" if at == 0 else "", text
    for at, text in enumerate(_scores(known.scores)):
        yield "Published" if at == 0 else "", text


def _size(one: Entry) -> str:
    printed = f"published as {one.facts.published}" if one.facts.published else f"published size {show.UNKNOWN}"
    if one.card is None:
        return printed
    counted = f"{one.card.parameters:,} parameters, counted from its config"
    if one.card.active_parameters != one.card.parameters:
        counted += f"; {one.card.active_parameters:,} for one token"
    return f"{counted}; {printed}"


def _shape(shape: Shape) -> str:
    parts = [f"{shape.layers} layers of {shape.width:,}", f"{shape.heads} heads of {shape.head_dim}"]
    if shape.kv_heads != shape.heads:
        parts.append(f"{shape.kv_heads} for keys and values")
    parts.append(f"feed-forward {shape.feed_forward:,}")
    if shape.experts:
        parts.append(f"{shape.experts} experts of {shape.expert_feed_forward:,}, {shape.experts_active} for a token")
    if shape.window and shape.windowed:
        parts.append(f"{shape.windowed} layers see {shape.window:,} tokens")
    return ", ".join([*parts, f"vocabulary {shape.vocabulary:,}{', tied' if shape.tied else ''}"])


def _place(known: ModelFacts) -> str:
    where, _, name = known.location.partition(":")
    return {
        "package": "in this package",
        "hub": f"{name} on the hub (basewright pull {known.id})",
        "remote": f"only hosted, as {name}",
    }.get(where, known.location)


def _licence(licence: str) -> Iterator[str]:
    for name, terms in zip(licences.parts(licence), licences.find(licence), strict=True):
        if terms is None:
            yield f"{name}: read what its makers say before you build on it"
            continue
        yield f"{terms.title} ({name}), {terms.source.url}" + ("" if terms.checked else "; its text was not read")
        yield from (f"- {duty}" for duty in terms.duties)


def _scores(scores: Sequence[PublishedScore]) -> Iterator[str]:
    """Those of one source together, its address last."""
    for url, own in groupby(sorted(scores, key=lambda score: score.url), key=lambda score: score.url):
        yield f"{'; '.join(map(_score, own))}"
        yield f"  {url}"


def _score(score: PublishedScore) -> str:
    shots = "shots not said" if score.shots is None else f"{score.shots} shots"
    return f"{score.task} {score.value:g} ({score.metric}, {shots})"


def _source(source: Source) -> Iterator[str]:
    yield f"  {source.url}, read {source.read_on}"
    facts = f" for {', '.join(source.facts)}" if source.facts else ""
    words = f"“{source.words}”{facts}" if source.words else facts.strip()
    yield from textwrap.wrap(words, WIDTH, initial_indent="    ", subsequent_indent="    ")


def _labelled(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label.ljust(LABEL),
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
