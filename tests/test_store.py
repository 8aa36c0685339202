"""The commit protocol, the cache by inputs, and what a damaged folder does."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright import store
from basewright.errors import StoreError
from basewright.records import Check, Made
from basewright.store import Store, Work


def a_check(value: float = 1.0) -> Check:
    return Check(name="n", value=value, limit=2.0, passed=True, how="h")


def make(root: Path, value: float = 1.0, calls: list[int] | None = None) -> tuple[Made[Check], bool]:
    def maker(work: Work) -> Check:
        if calls is not None:
            calls.append(1)
        (work.out / "data.bin").write_bytes(b"x" * 5000)
        (work.out / "inner").mkdir()
        (work.out / "inner" / "more.txt").write_text("more")
        return a_check(value)

    return Store(root).make("check", {"value": value}, Check, maker)


def test_made_once_then_found(tmp_path: Path) -> None:
    calls: list[int] = []
    first, found_first = make(tmp_path, calls=calls)
    second, found_second = make(tmp_path, calls=calls)
    assert (found_first, found_second, len(calls)) == (False, True, 1)
    assert first.record == second.record
    assert first.stamp == second.stamp
    assert not list((tmp_path / "work").glob("check-*/"))


def test_other_inputs_are_other_work(tmp_path: Path) -> None:
    assert make(tmp_path, 1.0)[0].id != make(tmp_path, 1.5)[0].id


def test_parents_are_inputs(tmp_path: Path) -> None:
    shop = Store(tmp_path)
    one, _ = shop.make("check", {}, Check, lambda _: a_check(), parents=("a",))
    two, _ = shop.make("check", {}, Check, lambda _: a_check(), parents=("b",))
    assert one.id != two.id


@pytest.mark.parametrize("name", ["data.bin", "inner/more.txt", "record.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_h037_a_damaged_folder_is_named_and_made_again(tmp_path: Path, name: str, damage: str) -> None:
    made, _ = make(tmp_path)
    path = made.folder / name
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "flip" else content[:-1])
    assert store.faults(made.folder)
    again, found = make(tmp_path)
    assert not found
    assert store.faults(again.folder) == []


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 4999), bit=st.integers(0, 7))
def test_every_flipped_bit_is_seen(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    made, _ = make(tmp_path_factory.mktemp("flip"))
    path = made.folder / "data.bin"
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)
    assert store.faults(made.folder) == ["data.bin has other content than was written"]


def test_a_maker_that_fails_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    def broken(work: Work) -> Check:
        (work.out / "half").write_text("half")
        raise StoreError("no", fix="yes")

    with pytest.raises(StoreError, match="no"):
        Store(tmp_path).make("check", {}, Check, broken)
    assert not list(tmp_path.glob("check-*"))


@pytest.mark.parametrize("call", ["fsync", "rename", "replace"])
def test_h042_h043_a_failing_call_at_any_time_keeps_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)
    for failing in range(1, 40):
        count = 0

        def sometimes(*args: object, failing: int = failing) -> object:
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args)

        root = tmp_path / f"{call}-{failing}"
        monkeypatch.setattr(os, call, sometimes)
        try:
            make(root)
        except (StoreError, OSError):
            monkeypatch.setattr(os, call, real)
            whole = [folder for folder in root.glob("check-*") if not store.faults(folder)]
            assert len(list(root.glob("check-*"))) == len(whole)
            assert make(root)[0].record == a_check()
            continue
        monkeypatch.setattr(os, call, real)
        assert count < failing
        return
    pytest.fail("the sweep never came to an end")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"disk full: .* MiB are needed"):
        store.reserve(tmp_path, 2**60)


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a":NaN}', "{", "[" * 100_000, ""])
def test_h023_lenient_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(StoreError, match="damaged"):
        store.read_json(tmp_path / "x.json")


def test_an_events_line_cut_by_a_kill_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    store.append_event(path, {"step": 2})
    assert [line for line in path.read_text().splitlines() if line.startswith('{"step"')] == [
        '{"step": 1}',
        '{"step": 2}',
    ]


KILLED = """
import sys, os
from pathlib import Path
from basewright.store import Store
from basewright.records import Check
root, at = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def hook(event, args):
    global count
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "shutil.rmtree"):
        count += 1
        if count == at:
            os._exit(9)
def maker(work):
    sys.addaudithook(hook)
    (work.out / "a").write_text("a" * 1000)
    return Check(name="n", value=1.0, limit=2.0, passed=True, how="h")
Store(root).make("check", {}, Check, maker)
print("made", count)
"""


def test_h039_killed_at_every_file_operation_it_is_whole_or_absent(tmp_path: Path) -> None:
    for at in range(1, 60):
        root = tmp_path / str(at)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(root), str(at)], capture_output=True, text=True, check=False
        )
        for folder in root.glob("check-*"):
            assert store.faults(folder) == [], at
        if done.returncode == 0:
            assert at > 8
            return
        made, _ = Store(root).make("check", {}, Check, lambda _: a_check())
        assert made.record == a_check()
    pytest.fail("the maker never came to its end")


def test_h056_eight_at_once_make_it_once(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom basewright.store import Store\n"
        "from basewright.records import Check\n"
        "def maker(w):\n    open(sys.argv[1] + '/made', 'a').write('x'); time.sleep(0.5)\n"
        "    return Check(name='n', value=1.0, limit=2.0, passed=True, how='h')\n"
        "Store(Path(sys.argv[1])).make('check', {}, Check, maker)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(8)]
    assert [run.wait(60) for run in runs] == [0] * 8
    assert (tmp_path / "made").read_text() == "x"


def test_the_list_leaves_out_what_is_damaged(tmp_path: Path) -> None:
    one, _ = make(tmp_path, 1.0)
    make(tmp_path, 2.0)
    (one.folder / "record.json").write_text(json.dumps({"stamp": 3}))
    assert len(Store(tmp_path).all()) == 1
