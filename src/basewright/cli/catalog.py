"""`basewright catalog`: which base models there are, what is known of them and from where, and which fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.catalog.query import Entry


@click.command()
@click.argument("name", required=False)
@click.option("--kind", "kinds", multiple=True, help="decoder, encoder, image encoder, recurrent or hosted.")
@click.option("--nature", "natures", multiple=True, help="base or instruct.")
@click.option("--family", "families", multiple=True)
@click.option("--licence", "licences", multiple=True, help="An SPDX id, or the name after LicenseRef-.")
@click.option("--language", "languages", multiple=True, help="As in the table: en, de …")
@click.option("--modality", "modalities", multiple=True, help="text or image.")
@click.option("--min-size", help="Parameters at least, like 1B.")
@click.option("--max-size", help="Parameters at most, like 8B.")
@click.option("--context", type=click.IntRange(1), help="Tokens of context at least.")
@click.option("--open", "open_only", is_flag=True, help="Leave out what asks for a name or a promise first.")
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
    column: str,
    descending: bool,
    online: bool,
    as_json: bool,
) -> None:
    """List base models; of NAME, show all that is known, from which source, and what it needs on this machine.

    NAME is a model of the catalog, a folder, or with --online any repository of the hub.

    \b
    basewright catalog --licence apache-2.0 --max-size 8B --sort size
    basewright catalog llama-3.1-8b
    """
    from basewright.catalog import query
    from basewright.catalog.query import Filter

    if name is not None:
        _show_page(name, online, as_json)
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
    show.result(_table(entries), entries, as_json)
    show.hint(
        f"\n{len(entries)} models\nNext      basewright catalog NAME      what it needs here, and its licence's duties"
    )


def _show_page(name: str, online: bool, as_json: bool) -> None:
    from basewright.cli import catalog_page

    one = _entry(name, online)
    show.result(catalog_page.page(one, ()), one, as_json)


def _entry(name: str, online: bool) -> Entry:
    """A model of the catalog, of a folder, or of a repository that is read now."""
    from basewright.catalog import cards, query
    from basewright.catalog.query import Entry

    if Path(name).expanduser().is_dir():
        facts = cards.facts_from_folder(Path(name).expanduser())
    elif online and not query.knows(name):
        from basewright.hub import look
        from basewright.hub.wire import Wire

        facts = look.facts(name, Wire.from_environment())
    else:
        return query.find(name)
    return Entry(facts=facts, card=cards.card(facts, curated=False))


def _table(entries: Sequence[Entry]) -> str:
    head = ("name", "kind", "size", "context", "trained on", "licence", "released", "asks first")
    return show.table([_row(one) for one in entries], head)


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
