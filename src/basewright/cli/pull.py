"""`basewright pull`: bring a model to this machine, whole, verified and through the airlock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show
from basewright.errors import StoreError, UsageError

if TYPE_CHECKING:
    from basewright.hub.pulling import Pulled
    from basewright.hub.reference import Reference
    from basewright.hub.upkeep import Removal
    from basewright.store import Store


@click.command()
@click.argument("ref")
@click.option("--revision", help="A branch, tag or commit [default: main, or what was locked].")
@click.option("--update", is_flag=True, help="Go to another commit than the locked one; says what differs.")
@click.option("--offline", is_flag=True, help="Only what is on this machine already.")
@click.option("--check", "only_check", is_flag=True, help="Hash every file of what was pulled; name the bad ones.")
@click.option(
    "--remove", "only_remove", is_flag=True, help="Show what would go, and who uses it; with --yes, remove it."
)
@click.option("--yes", is_flag=True, help="With --remove: do it.")
@show.runs_option
@show.json_option
def command(
    ref: str,
    revision: str | None,
    update: bool,
    offline: bool,
    only_check: bool,
    only_remove: bool,
    yes: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Bring REF to this machine: OWNER/NAME of the Hugging Face hub, OWNER/NAME:FILE.gguf, a model of the catalog, a
    folder, https:…#sha256=…, file:…#sha256=… or ollama:NAME:TAG.

    \b
    basewright pull foundling-prose
    basewright pull HuggingFaceTB/SmolLM2-135M
    basewright pull HuggingFaceTB/SmolLM2-135M --check
    """
    from basewright.hub import reference

    named, store = reference.parse(ref), show.open_store(runs)
    if only_check and only_remove:
        raise UsageError("--check and --remove are two commands", fix="give one of them")
    if only_check:
        return _check(named, store, as_json)
    if only_remove:
        return _remove(named, store, yes, as_json)
    return _pull(named, store, revision, update, offline, as_json)


def _pull(named: Reference, store: Store, revision: str | None, update: bool, offline: bool, as_json: bool) -> None:
    from basewright.hub import pulling
    from basewright.hub.remote import Ask, Bytes
    from basewright.hub.wire import Wire

    if revision and named.kind != "hub":
        raise UsageError(f"{named.given} has no revisions", fix="leave --revision out")
    with show.progress("pull") as progress:
        line = None if offline else Wire.from_environment()
        done = pulling.pull(named, Ask(revision, update, offline), Bytes(store, line, progress))
    plain = {
        "ref": done.ref,
        "id": done.made.id,
        "folder": str(done.made.folder),
        "cached": done.found,
        "fetched": done.fetched,
        "reused": done.reused,
        "notes": done.notes,
        "record": done.made.record,
    }
    show.result(_text(done), plain, as_json)
    for note in done.notes:
        show.hint(f"Note      {note}")
    show.hint(f"\nNext      basewright complete {done.ref} 'Once upon a time'")


def _text(done: Pulled) -> str:
    from basewright.records import Weights

    record = done.made.record
    files = record.files if isinstance(record, Weights) else (record.file, *record.licences)
    came = "was here, whole" if done.found else f"{show.size(done.fetched)} fetched"
    came += f", {show.size(done.reused)} from another cache" if done.reused else ""
    head = done.ref + (f" at commit {record.revision[:12]}" if record.revision else "")
    lines = [f"{head}: {len(files)} files, {show.size(sum(one.size for one in files))}, verified; {came}"]
    if isinstance(record, Weights):
        card = record.card
        lines.append(
            f"Model     {card.family}, {card.parameters:,} parameters, {record.precision}, licence {card.licence}"
        )
    return "\n".join([*lines, f"Folder    {done.made.folder}"])


def _check(named: Reference, store: Store, as_json: bool) -> None:
    from basewright.hub import upkeep

    found = upkeep.check(named, store)
    bad = [one for one in found if one.fault]
    if not as_json or not bad:  # a failure is one JSON object, the error
        rows = [("BAD" if one.fault else "ok", one.name, show.size(one.size), one.fault) for one in found]
        show.result(show.table(rows, ("", "file", "size", "")), found, as_json)
    if bad:
        raise StoreError(
            f"{len(bad)} of {len(found)} files of {named.given} are bad: {', '.join(one.name for one in bad)}",
            fix=f"basewright pull {named.given} repairs just these",
        )


def _remove(named: Reference, store: Store, yes: bool, as_json: bool) -> None:
    from basewright.hub import upkeep

    removal = upkeep.plan(named, store)
    if yes:
        upkeep.remove(removal, store)
    show.result(_plan(removal, yes), {"removal": removal, "done": yes}, as_json)
    if not yes:
        show.hint(f"\nNothing is removed yet. Next      basewright pull {named.given} --remove --yes")


def _plan(removal: Removal, done: bool) -> str:
    head = f"{removal.ref}: {'removed' if done else 'would remove'}, {show.size(removal.size)} become free"
    results = [f"  {name}" for name in removal.names if not name.startswith("hub/")]
    blobs = len(removal.names) - len(results)
    lines = [
        head.replace("become", "became") if done else head,
        *results,
        f"  {blobs} files below hub/ (--json names them)",
    ]
    if removal.used_by:
        lines.append(f"Made of it, and kept: {', '.join(removal.used_by)}")
    if removal.shared:
        lines.append(f"Files that stay, since they are also of: {', '.join(removal.shared)}")
    return "\n".join(lines)
