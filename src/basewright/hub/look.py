"""A look at a repository before it is pulled: what its own small files say, without its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from basewright.catalog import cards
from basewright.errors import ModelFileError
from basewright.hub import api, blobs, lockfile, transfer
from basewright.hub.blobs import Blobs
from basewright.hub.reference import HUB
from basewright.hub.wire import Wire
from basewright.records import ModelFacts, Source

NAMES = ("config.json", "tokenizer_config.json", "chat_template.jinja", "README.md")
LARGEST = 2**20
"""Bytes of one of them; a larger one is left out."""


def facts(repo: str, line: Wire) -> ModelFacts:
    """What is said of the model at the newest commit of `repo`, which the catalog does not know.

    Raises `BasewrightError` for the network, `ModelFileError` for a repository without a config of a known family.
    """
    listing = api.listing(line, repo, "main")
    if all(one.name != "config.json" for one in listing.files):
        raise ModelFileError(f"{repo} holds no config.json", fix="name a repository of a model in safetensors")
    with TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / repo.rpartition("/")[2], Blobs(Path(scratch) / "cache")
        folder.mkdir()
        for one in listing.files:
            if one.name in NAMES and one.size <= LARGEST:
                found = transfer.fetch(
                    line, api.address(line, repo, listing.commit, one.name), one, cache, lambda *_: None
                )
                blobs.share(found, folder / one.name)
        known = cards.facts_from_folder(folder)
    said = tuple(name for name in ("config", "licence", "precision", "context") if getattr(known, name))
    source = Source(
        url=f"{line.endpoint.rstrip('/')}/{repo}/tree/{listing.commit}",
        read_on=lockfile.today(),
        words="its own config.json and README.md, checked by nobody",
        facts=said,
    )
    return replace(known, id=repo, location=HUB + repo, revision=listing.commit, sources=(source,))
