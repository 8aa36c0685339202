"""P5: flipped bits and kills at any instant; nothing wrong is ever under a final name. Full counts in the slow lane."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from tests.hub import storm
from tests.hub.fake_hub import Handler, Hub, flipped, of_folder, serve
from tests.hub.test_transfer import CHUNK, DATA, fetch, names
from tests.models import tiny_llama

BIG = 2**18
"""A chunk of the pulls that are killed: about a twentieth of the weights."""


def model(folder: Path) -> Hub:
    """A model of some 5 MB, at some 30 MB a second."""
    return of_folder(tiny_llama(folder, layers=4, width=192, feed_forward=512), pace=5e-4)


def hashes(hub: Hub) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in hub.files.items()}


def flip(folder: Path, count: int, seed: int) -> int:
    """Downloads with one bit flipped on the way, at any place and also behind a resumed range. How many were caught."""
    draw, caught = random.Random(seed), 0
    for number in range(count):
        cut = draw.choice([0, 0, CHUNK + 7, 3 * CHUNK])

        def lie(request: Handler, cut: int = cut) -> bool:
            turn = len(request.hub.asked)
            if cut and turn == 1:
                request.body(200, DATA, {"ETag": request.etag(DATA)}, upto=cut)
            elif turn == (2 if cut else 1):
                request.file(DATA[: request.start] + flipped(DATA[request.start :], draw), etag=request.etag(DATA))
            return turn <= (2 if cut else 1)

        with serve(Hub({"model.safetensors": DATA}, lie=lie)) as hub:
            assert fetch(hub, folder / str(number)).read_bytes() == DATA
            caught += len(hub.asked) > (2 if cut else 1)
        assert len(names(folder / str(number))) == 1
    return caught


def kills(folder: Path, count: int, seed: int) -> Any:
    with serve(model(folder / "source")) as hub:
        seen = storm.ask(
            what="kills",
            url=hub.url,
            root=str(folder),
            count=count,
            seed=seed,
            size=len(hub.files["model.safetensors"]),
            chunk=BIG,
            hashes=hashes(hub),
        )
    assert seen["wrong"] == []
    assert max(seen["refetched"]) <= BIG
    return seen


def crowd(folder: Path, rounds: int, processes: int, seed: int) -> Any:
    hub = model(folder / "source")
    hub.pace = 0.0
    with serve(hub):
        seen = storm.ask(
            what="crowd",
            url=hub.url,
            root=str(folder),
            rounds=rounds,
            processes=processes,
            seed=seed,
            chunk=BIG,
            hashes=hashes(hub),
        )
    assert seen["wrong"] == []
    assert seen["results"] == rounds
    return seen


def test_h024_a_flipped_bit_is_caught(tmp_path: Path) -> None:
    assert flip(tmp_path, 12, seed=1) == 12


def test_h025_a_kill_costs_at_most_a_chunk(tmp_path: Path) -> None:
    assert kills(tmp_path, 12, seed=2)["killed"] == 12


def test_h028_many_at_once_where_locks_do_not_lock(tmp_path: Path) -> None:
    assert crowd(tmp_path, 1, 6, seed=3)["failed"] == []


@pytest.mark.slow
def test_h024_300_flipped_bits(tmp_path: Path) -> None:
    caught = flip(tmp_path, 300, seed=11)
    print(f"\n300 downloads with a flipped bit: {caught} caught, 0 published")
    assert caught == 300


@pytest.mark.slow
def test_h025_200_kills(tmp_path: Path) -> None:
    seen = kills(tmp_path, 200, seed=12)
    again = [count / BIG for count in seen["refetched"]]
    mean = sum(again) / len(again)
    size = max(seen["instants"])
    during = sum(0 <= at < size for at in seen["instants"])
    print(
        f"\n{seen['killed']} kills, {during} of them while the weights came, {seen['instants'].count(size)} after, "
        f"{seen['whole']} pulls whole in between, 0 wrong under a final name; of "
        f"{len(again)} resumptions the worst fetched {max(again):.2f} chunks again, the mean {mean:.2f}"
    )
    assert seen["killed"] == 200


@pytest.mark.slow
def test_h028_sixteen_processes_where_locks_do_not_lock(tmp_path: Path) -> None:
    seen = crowd(tmp_path, 20, 16, seed=13)
    print(f"\n20 rounds of 16 processes: {seen['looks']} looks, 0 wrong, {len(seen['failed'])} processes failed")
