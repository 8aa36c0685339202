"""Faults put into rows that a classification head learns, and into how they are packed: each is found by its check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basewright.data import pack
from basewright.data.pack import Packed
from basewright.data.prepare import Options
from basewright.errors import Refused
from basewright.prove import certificate, data_checks, head_checks, row_checks
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import losses, objectives
from basewright.train.objectives import Labelled
from tests.models import tiny_llama
from tests.prove import test_faults as written
from tests.prove.test_faults import CONTEXT, GRADIENT, ISOLATED, LOSS, OPENED, PAD, POSITIONS, Fault, World

HEAD = Options(pools="last")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=CONTEXT)


@pytest.fixture
def world(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(folder=tiny, scratch=tmp_path, patch=monkeypatch, rows=written.labelled(), options=HEAD)


def test_without_a_fault_all_checks_pass(world: World) -> None:
    world.held = [{"text": "a table that was far away", "label": "loss"}]
    made = world.certify()
    assert [check.name for check in made.checks if not check.passed] == []
    assert {POSITIONS, ISOLATED, LOSS, GRADIENT, head_checks.KNOWN} <= {check.name for check in made.checks}
    assert made.supervised_tokens == made.rows
    assert made.labels == {"arrival": 24, "loss": 24}


def test_its_identity_is_that_of_what_is_learned(world: World) -> None:
    from basewright.data import files, prepare

    made, tokenizer = world.certify(), open_tokenizer(world.folder)
    prepared = prepare.prepare(files.read(world.scratch / "rows.jsonl"), tokenizer, CONTEXT, HEAD)
    head = prepared.head(tokenizer)
    assert head is not None
    learned = objectives.labelled(prepared.classified, tokenizer, head)
    assert made.data_hash == learned.identity
    others = replace(learned, head=replace(head, labels=("arrival", "lost")))
    swapped = replace(learned, classes=[1 - number for number in learned.classes])
    assert len({learned.identity, others.identity, swapped.identity}) == 3


def learned(change: Callable[[Labelled, Tokenizer], Labelled]) -> Fault:
    def fault(world: World) -> None:
        real = objectives.labelled
        world.patch.setattr(
            objectives, "labelled", lambda items, tokenizer, head: change(real(items, tokenizer, head), tokenizer)
        )

    return fault


def second(change: Callable[[Encoded, Tokenizer], Encoded]) -> Fault:
    """The second row as a faulty encoder would make it."""
    return learned(lambda found, t: replace(found, rows=[found.rows[0], change(found.rows[1], t), *found.rows[2:]]))


def ids(change: Callable[[list[int]], list[int]]) -> Fault:
    def made(row: Encoded, _: Tokenizer) -> Encoded:
        found = change(list(row.ids))
        return Encoded(tuple(found), (*[False] * (len(found) - 1), True))

    return second(made)


def packed(change: Callable[[Packed], Packed]) -> Fault:
    def fault(world: World) -> None:
        real = pack.judged
        world.patch.setattr(pack, "judged", lambda rows, classes: change(real(rows, classes)))

    return fault


def lossy(change: Callable[[Any, Packed], Any]) -> Fault:
    def fault(world: World) -> None:
        real = losses.labels
        world.patch.setattr(losses, "labels", lambda model, row: change(real(model, row), row))

    return fault


def unknown_label(world: World) -> None:
    world.held = [{"text": "a table that was far away", "label": "fire"}]


def two_attend(world: World) -> None:
    written.attention_of_pairs(world)


FAULTS: dict[str, tuple[Fault, str]] = {
    "one label": (written.one_label, data_checks.SEVERAL),
    "label misspelt": (written.changed(written.labelled, 5, label="arival"), data_checks.SPELT),
    "one text, two labels": (
        written.changed(written.labelled, 5, text="the clock number 0 is gone"),
        data_checks.ONE_LABEL,
    ),
    "columns swapped": (written.swapped, data_checks.REPEATED),
    "too long": (written.changed(written.labelled, 4, text="Where is the ship? " * 60), data_checks.LONG),
    "label of the test rows alone": (unknown_label, head_checks.KNOWN),
    "class of another label": (
        learned(lambda found, _: replace(found, classes=[1 - found.classes[0], *found.classes[1:]])),
        head_checks.NUMBERED,
    ),
    "class that there is not": (
        learned(lambda found, _: replace(found, classes=[2, *found.classes[1:]])),
        head_checks.NUMBERED,
    ),
    "the label in the text": (ids(lambda row: [*row, 70, 71]), head_checks.READS),
    "text cut on the left": (ids(lambda row: [row[0], *row[3:]]), head_checks.READS),
    "read off the first token": (
        second(lambda row, _: replace(row, mask=(True, *[False] * (len(row.ids) - 1)))),
        head_checks.READ_OFF,
    ),
    "read off every token": (second(lambda row, _: replace(row, mask=(True,) * len(row.ids))), head_checks.READ_OFF),
    "read off no token": (second(lambda row, _: replace(row, mask=(False,) * len(row.ids))), head_checks.READ_OFF),
    "BOS missing": (ids(lambda row: row[1:]), row_checks.STARTS),
    "BOS twice": (ids(lambda row: [row[0], *row]), row_checks.STARTS),
    "padding at the end": (ids(lambda row: [*row, PAD]), head_checks.UNPADDED),
    "an id beyond the table": (ids(lambda row: [*row[:2], 384, *row[3:]]), row_checks.INSIDE),
    "no tokens": (second(lambda *_: Encoded((), ())), row_checks.WHOLE),
    "longer than what is trained at once": (ids(lambda row: [row[0], *[70] * CONTEXT]), row_checks.FITS),
    "EOS never trained": (written.eos_never_trained, row_checks.TRAINED),
    "positions that run on": (packed(lambda row: replace(row, positions=np.arange(len(row.ids)))), POSITIONS),
    "classes of the neighbours": (packed(lambda row: replace(row, labels=np.roll(row.labels, 1))), POSITIONS),
    "attention over all": (written.leaking_attention, OPENED),
    "attention over two neighbours": (two_attend, ISOLATED),
    "loss averaged over rows": (lossy(lambda nats, row: nats / len(row.lengths)), LOSS),
    "gradient averaged over rows": (
        lossy(lambda nats, row: nats.detach() + (nats - nats.detach()) / len(row.lengths)),
        GRADIENT,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_h065_h066_h070_h078_a_fault_has_its_check(world: World, name: str) -> None:
    fault, check = FAULTS[name]
    fault(world)
    if check == OPENED:
        with pytest.raises(Refused, match="does not take packed rows"):
            world.certify()
        return
    made = world.certify()
    assert check in [one.name for one in made.checks if not one.passed]
    with pytest.raises(Refused) as caught:
        certificate.require(made)
    assert caught.value.fix


def test_each_check_is_seen_to_fail() -> None:
    known = {check for _, check in FAULTS.values()}
    names = {value for key, value in vars(head_checks).items() if key.isupper() and isinstance(value, str)}
    assert names <= known
