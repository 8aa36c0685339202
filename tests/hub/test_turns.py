"""Who may fetch while others wait, and that nobody waits for the dead (H028, H029)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from basewright.hub import holder, turns
from basewright.hub.blobs import Blobs
from basewright.hub.digests import Digest, Wanted
from basewright.hub.wire import Patience

DATA = b"x" * 1000
FILE = Wanted("f", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()))
PATIENCE = Patience(stale=1.0)


def place(folder: Path, name: str, data: bytes = b"half") -> Path:
    made = FILE.digest.below(Blobs(folder).partial) / name
    made.mkdir(parents=True)
    (made / "data").write_bytes(data)
    (made / "journal").write_bytes(b"{}\n")
    holder.sign(made)
    return made


def other(made: Path, **changed: object) -> None:
    """Sign it as another process, or another machine, would."""
    one = holder.me()
    values = {"pid": one.pid, "started": one.started, "host": one.host, "place": one.place} | changed
    import json

    (made / "holder").write_text(json.dumps(list(values.values())))


def said(folder: Path) -> tuple[Path | None, list[str], float]:
    words: list[str] = []
    began = time.monotonic()
    with turns.turn(Blobs(folder), FILE, PATIENCE, words.append) as mine:
        if mine is not None:
            assert holder.read(mine) == holder.me()
            words += [f"has {path.read_bytes()!r}" for path in mine.glob("data")]
        return mine, words, time.monotonic() - began


def test_what_is_there_and_whole_needs_no_turn(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    FILE.digest.below(tmp_path / "blobs").write_bytes(DATA)
    assert said(tmp_path)[0] is None


def test_h029_what_a_dead_process_left_is_taken_over_at_once(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = place(tmp_path, "dead")
    other(dead, pid=ended.pid)
    mine, words, seconds = said(tmp_path)
    assert mine is not None
    assert words == ["has b'half'"]
    assert seconds < 0.5
    assert not dead.exists()


def test_h029_a_new_process_with_an_old_number_is_not_taken_for_it(tmp_path: Path) -> None:
    other(place(tmp_path, "old"), started="1")
    assert said(tmp_path)[1] == ["has b'half'"]


def test_h029_a_silent_machine_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    """Its bytes are copied and not taken over: it may still write."""
    far = place(tmp_path, "far")
    other(far, host="far", pid=4242)
    _, words, seconds = said(tmp_path)
    assert words[0] == "waiting for process 4242 on far, f"
    assert words[-1] == "has b'half'"
    assert PATIENCE.stale <= seconds < PATIENCE.stale + 2
    assert (far / "data").read_bytes() == b"half"


def test_h029_a_beating_heart_is_waited_for(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from basewright.hub import holder
holder.BEAT = 0.2
for _ in range(15):
    holder.beat(Path({str(tmp_path)!r}) / "p")
    time.sleep(0.1)
"""
    alive = place(tmp_path, "alive")
    other(alive, host="far")
    os.symlink(alive, tmp_path / "p")
    beats = subprocess.Popen([sys.executable, "-c", code])
    seconds = said(tmp_path)[2]
    beats.wait()
    assert seconds > 1.5


def test_h029_a_holder_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from tests.hub.test_turns import *
with turns.turn(Blobs(Path({str(tmp_path)!r})), FILE, PATIENCE, print) as mine:
    print("in", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert said(tmp_path)[2] < 1.0


def test_h028_a_signature_between_look_and_renaming_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two find the same dead process's folder; the slower one gives back what the faster has signed."""
    dead = place(tmp_path, "dead")
    other(dead, pid=2**22 + 1)
    rename, living = os.rename, holder.Holder(1, "x", "far", "y")

    def slow(source: Path, target: Path) -> None:
        if Path(source) == dead:
            other(dead, pid=living.pid, started=living.started, host=living.host, place=living.place)
        rename(source, target)

    monkeypatch.setattr(os, "rename", slow)
    assert said(tmp_path)[1] == []
    assert holder.read(dead) == living


def test_a_signature_that_is_not_whole_is_no_death_certificate(tmp_path: Path) -> None:
    made = place(tmp_path, "half")
    (made / "holder").write_text("[12")
    assert holder.read(made) is None
    assert said(tmp_path)[2] >= PATIENCE.stale
