"""`basewright catalog`: which base models there are, what is known of them and from where, and which fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from basewright.cli import show
from basewright.records import Job

if TYPE_CHECKING:
    from basewright.catalog.query import Entry
    from basewright.plan.survey import Room


@click.command()
@click.argument("name", required=False)
@click.option("--kind", "kinds", multiple=True, help="decoder, encoder, image encoder, recurrent or hosted.")
@click.option("--nature", "natures", multiple=True, help="base or instruct.")
@click.option("--family", "families", multiple=True)
@click.option(
    "--licence", "licences", multiple=True, help="As the table spells it: MIT, apache-2.0, LicenseRef-Gemma …"
)
@click.option("--language", "languages", multiple=True, help="As en or de.")
@click.option("--modality", "modalities", multiple=True, help="text or image.")
@click.option("--min-size", help="Parameters at least, like 1B.")
@click.option("--max-size", help="Parameters at most, like 8B.")
@click.option("--context", type=click.IntRange(1), help="Tokens of context at least, and for which it must fit.")
@click.option("--open", "open_only", is_flag=True, help="Leave out what asks for a name or a promise first.")
@click.option("--fits", is_flag=True, help="Only those that --job fits on --machine, with what it needs.")
@click.option("--job", type=click.Choice(get_args(Job)), default="complete", show_default=True, help="With --fits.")
@click.option("--machine", default="this", show_default=True, help="A device, as h200, rtx-4090 or m3-24gb.")
@click.option("--sort", "column", default="name", show_default=True, help="A column; what is unknown comes last.")
@click.option("--descending", is_flag=True)
@click.option("--online", is_flag=True, help="Read the config of NAME on the hub, where the catalog does not know it.")
@show.json_option
def command(
    name: str | None,
    kinds: tuple[str, ...],
    natures: tuple[str, ...],
    families: tuple[str, ...],
    licences: tuple[str, ...],
    languages: tuple[str, ...],
    modalities: tuple[str, ...],
    min_size: str | None,
    max_size: str | None,
    context: int | None,
    open_only: bool,
    fits: bool,
    job: Job,
    machine: str,
    column: str,
    descending: bool,
    online: bool,
    as_json: bool,
) -> None:
    """List base models; of NAME, show all that is known, from which source, and what each job needs of a machine.

    NAME is a model of the catalog, a folder, or with --online any repository of the hub.

    \b
    basewright catalog --licence apache-2.0 --max-size 8B --sort size
    basewright catalog --fits --job lora --machine rtx-4090
    basewright catalog llama-3.1-8b
    basewright catalog --family foundling     with what each scores on held-out text
    """
    from basewright.catalog import query
    from basewright.catalog.query import Filter

    if name is not None:
        _show_page(name, online, machine, context, as_json)
        return
    asked = Filter(
        kinds=kinds,
        natures=natures,
        families=families,
        licences=licences,
        languages=languages,
        modalities=modalities,
        least=query.number(min_size) if min_size else None,
        most=query.number(max_size) if max_size else None,
        context=context,
        open_only=open_only,
    )
    entries = query.ordered(query.select(query.entries(), asked), column, descending=descending)
    rooms = _rooms(entries, job, machine, context) if fits else {}
    shown = [one for one in entries if not fits or (one.facts.id in rooms and rooms[one.facts.id].fits)]
    plain = [{"facts": one.facts, "card": one.card, "room": rooms.get(one.facts.id)} for one in shown]
    show.result(_table(shown, rooms), plain, as_json)
    if _measures(shown):
        show.hint("\nBits per byte of each one's own held-out text, the model's beside other ways: lower is better")
    left = f"; {len(entries) - len(shown)} more do not fit, or too little is known of them" if fits else ""
    show.hint(
        f"\n{len(shown)} models{left}\nNext      basewright catalog NAME      what it needs, and its licence's duties"
    )


def _rooms(entries: Sequence[Entry], job: Job, machine: str, context: int | None) -> dict[str, Room]:
    from basewright.plan import asking, survey

    there = asking.machine_of(machine, Path(), timed=False)
    return survey.rooms([one.card for one in entries if one.card], there, job, context)


def _show_page(name: str, online: bool, machine: str, context: int | None, as_json: bool) -> None:
    from basewright.cli import catalog_page

    one = _entry(name, online)
    needs = {job: _rooms([one], job, machine, context).get(one.facts.id) for job in catalog_page.JOBS}
    text = catalog_page.page(one, needs, f"{machine} machine" if machine == "this" else machine)
    show.result(text, {"facts": one.facts, "card": one.card, "needs": needs}, as_json)


def _entry(name: str, online: bool) -> Entry:
    """A model of the catalog, of a folder, or of a repository that is read now."""
    from basewright.catalog import cards, query
    from basewright.catalog.query import Entry

    if Path(name).expanduser().is_dir():
        facts = cards.facts_from_folder(Path(name).expanduser())
    elif online and not cards.named(name):
        from basewright.hub import look
        from basewright.hub.wire import Wire

        facts = look.facts(name, Wire.from_environment())
    else:
        return query.find(name)
    return Entry(facts=facts, card=cards.card(facts, curated=False))


def _table(entries: Sequence[Entry], rooms: Mapping[str, Room]) -> str:
    head: tuple[str, ...] = ("name", "kind", "size", "context", "trained on", "licence", "released", "asks first")
    rows = [_row(one) for one in entries]
    if measured := _measures(entries):
        head = (*head, *measured)
        rows = [(*row, *_held_out(one, measured)) for row, one in zip(rows, entries, strict=True)]
    if rooms:
        head = (*head, "needs")
        rows = [(*row, show.size(rooms[one.facts.id].need)) for row, one in zip(rows, entries, strict=True)]
    return show.table(rows, head)


def _measures(entries: Sequence[Entry]) -> list[str]:
    """What is measured on held-out text, where that is known of every decoder in the list: of a family, not of all."""
    if not all(one.facts.held_out for one in entries if one.facts.kind == "decoder"):
        return []
    return list(dict.fromkeys(name for one in entries for name in one.facts.held_out))


def _held_out(one: Entry, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = one.facts.held_out.get(name)
        yield show.UNKNOWN if value is None else f"{value:.3f}"


def _row(one: Entry) -> tuple[str, ...]:
    known = one.facts
    kind = known.kind if known.nature == "base" else f"{known.kind}, {known.nature}"
    asks = show.UNKNOWN if known.gated is None else "yes" if known.gated else "no"
    return (
        known.id,
        kind,
        show.count(one.parameters),
        show.tokens(one.context, ""),
        f"{show.count(known.tokens_seen)} tokens" if known.tokens_seen else show.UNKNOWN,
        known.licence,
        known.released or show.UNKNOWN,
        asks,
    )
