"""Two processes train what one trains: the same losses and files, and each goes on from the other's checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from basewright import store
from basewright.plain import to_plain
from basewright.records import Adapter, Made, Weights
from basewright.store import Store
from basewright.train import watch
from tests.models import tiny_llama
from tests.train import team
from tests.train.test_pretrain import write_corpus
from tests.train.test_tune import pulled

ROOT = Path(__file__).parents[2]
LOSS, NORM = 2e-6, 2e-5
"""Distance of sums in another order, relative and absolute: losses are logarithms of float32 logits of about ten, each
rounded to 1e-6. What was measured over six steps stands in docs/tuning.md."""
HALF = 4e-3
"""bfloat16's own rounding: once a weight differs at all, an activation may round the other way."""


def torchrun(*words: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more
    )


pytestmark = pytest.mark.slow  # processes that wait for each other: minutes where others work too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process has trained everything, and two have; one begins first what two end, and then the reverse."""
    folder = tmp_path_factory.mktemp("ranks")
    base, runs = pulled(folder, "bfloat16"), Store(folder / "runs")
    write_corpus(folder)
    for kind in team.KINDS:
        team.tuned(runs, base, kind, name="one")
    for kind in ("lora", "full"):
        team.stopped(lambda progress, kind=kind: team.tuned(runs, base, kind, progress, "one, two"))  # type: ignore[misc]
    process = torchrun("tests.train.team", "all", str(folder))
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    for kind in ("lora", "full"):
        team.tuned(runs, base, kind, name="two, one")
    for kind in team.PRETRAINED:
        team.pretrained(runs, folder, kind, "one")
    (folder / "sweep-one").write_text(json.dumps(to_plain(team.searched(runs, base, "one"))))
    return folder


def result(folder: Path, kind: str, name: str) -> Path:
    """What was made already, whoever made it."""

    def never(*_: object) -> Any:
        raise AssertionError("it was not made")

    runs = Store(folder / "runs")
    base: Made[Weights] = runs.make("weights", {}, Weights, never)[0]
    return team.tuned(runs, base, kind, never, name).folder


def steps(folder: Path) -> dict[str, list[float]]:
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return {name: [line[name] for line in lines] for name in ("tokens", "loss", "norm")}


def same(one: Path, two: Path, loss: float = LOSS, norm: float = NORM) -> None:
    a, b = steps(one), steps(two)
    assert len(a["loss"]) == team.SETTINGS.steps
    assert a["tokens"] == b["tokens"]
    assert b["loss"] == pytest.approx(a["loss"], rel=loss, abs=loss)
    assert b["norm"] == pytest.approx(a["norm"], rel=norm, abs=norm)


@pytest.mark.parametrize("kind", team.KINDS)
def test_h054_two_processes_learn_what_one_learns(folder: Path, kind: str) -> None:
    """Losses and norms, in steps where a rank has two micro-batches and the other one, or none."""
    more = {"loss": HALF, "norm": 5 * HALF} if kind == "bfloat16" else {}
    same(result(folder, kind, "one"), result(folder, kind, "two"), **more)


@pytest.mark.parametrize("kind", team.KINDS)
def test_the_files_are_those_of_one_process(folder: Path, kind: str) -> None:
    """Names, shapes, precision and config; the numbers are as near as AdamW leaves them."""
    one, two = (result(folder, kind, name) for name in ("one", "two"))
    names = [entry.name for entry in store.entries(one)]
    assert [entry.name for entry in store.entries(two)] == names
    for name in names:
        if name.endswith(".safetensors"):
            a, b = load_file(one / name), load_file(two / name)
            assert {n: (t.shape, t.dtype) for n, t in a.items()} == {n: (t.shape, t.dtype) for n, t in b.items()}
            assert all(torch.isfinite(t).all() for t in b.values())
        elif name not in ("steps.jsonl", watch.ROWS, store.RECORD):
            assert (one / name).read_bytes() == (two / name).read_bytes()


def test_validation_rows_are_asked_as_one_process_asks_them(folder: Path) -> None:
    """Of the average of the weights, beside replayed text; and the last look is at what is written."""
    one, two = (result(folder, "beside", name) for name in ("one", "two"))
    a, b = (store.load(each, Adapter).record.validation for each in (one, two))
    assert a is not None
    assert b is not None
    assert [point.step for point in b.curve] == [point.step for point in a.curve]
    assert [point.held for point in b.curve] == pytest.approx([point.held for point in a.curve], rel=LOSS, abs=LOSS)
    rows = [json.loads(line) for line in (two / watch.ROWS).read_text().splitlines()]
    asked = sum(row["nats"] for row in rows) / sum(row["tokens"] for row in rows)
    assert asked == pytest.approx(b.curve[-1].held, rel=1e-5)


@pytest.mark.parametrize("kind", team.PRETRAINED)
def test_two_processes_pretrain_what_one_pretrains(folder: Path, kind: str) -> None:
    """With Muon, whose step needs whole matrices; each point of the curve is measured on the whole model."""
    runs = Store(folder / "runs")
    one, two = (team.pretrained(runs, folder, kind, name) for name in ("one", "two"))
    a, b = (
        [json.loads(line) for line in (made.folder / "events.jsonl").read_text().splitlines()] for made in (one, two)
    )
    assert [event["loss"] for event in b] == pytest.approx([event["loss"] for event in a], rel=LOSS, abs=LOSS)
    for p, q in zip(one.record.curve, two.record.curve, strict=True):
        measured = {key: value for key, value in to_plain(p).items() if value is not None}
        assert {key: to_plain(q)[key] for key in measured} == pytest.approx(measured, rel=1e-4)
    assert [entry.name for entry in store.entries(two.folder)] == [entry.name for entry in store.entries(one.folder)]


def test_a_sweep_finds_what_one_process_finds(folder: Path) -> None:
    one, first, second = (json.loads((folder / f"sweep-{which}").read_text())["trials"] for which in ("one", 0, 1))
    assert first == second
    losses = [trial.pop("held") for trial in first]
    assert losses == pytest.approx([trial.pop("held") for trial in one], rel=LOSS, abs=LOSS)
    assert first == one


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("way", ["one, two", "two, one"])
def test_a_checkpoint_goes_on_in_another_number_of_processes(folder: Path, kind: str, way: str) -> None:
    """Stopped by a signal that one of them got; the steps before the stop are not made again."""
    same(result(folder, kind, "one"), result(folder, kind, way))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_h045_in_the_same_number_of_processes_it_goes_on_to_the_bit(folder: Path, kind: str) -> None:
    whole, halves = (result(folder, kind, name) for name in ("two", "two, two"))
    assert [e for e in store.entries(halves) if e.name != store.RECORD] == [
        e for e in store.entries(whole) if e.name != store.RECORD
    ]


def test_h049_a_loss_that_is_not_finite_on_one_rank_stops_all(folder: Path) -> None:
    said = {(folder / f"broken-{rank}").read_text() for rank in (0, 1)}
    assert len(said) == 1
    assert "step 1 has loss nan" in said.pop()


def test_h060_a_process_that_no_longer_answers_ends_the_run_in_one_line(tmp_path: Path) -> None:
    pulled(tmp_path)
    began = time.monotonic()
    process = torchrun("tests.train.team", "frozen", str(tmp_path))
    _, said = process.communicate(timeout=600)
    assert process.returncode
    assert said.count("process 0 of 2 waited for another one, which does not answer") == 1
    assert time.monotonic() - began < 300
    assert not list((tmp_path / "runs").glob("adapter-*"))


ROWS = [{"text": f"the clock {i} on wall {i * i}", "label": "odd" if i % 2 else "even"} for i in range(48)]


@pytest.mark.parametrize("ended", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_ends_whole_and_goes_on(tmp_path: Path, ended: signal.Signals) -> None:
    """torchrun asked to stop saves and stops; with one process killed the other ends too. Run again, it goes on."""
    tiny_llama(tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = ["tune", str(tmp_path / "model"), str(tmp_path / "rows.jsonl"), "--epochs", "12"]
    words += ["--batch-tokens", "256", "--micro-tokens", "64", "--runs", str(tmp_path / "runs")]
    process = torchrun("basewright.cli", *words)
    scratch = tmp_path / "runs" / "work"
    while not list(scratch.glob("adapter-*/step-*/MANIFEST.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(ended) if ended == signal.SIGTERM else os.kill(_second(process.pid), ended)
    out, said = process.communicate(timeout=60)
    assert process.returncode
    assert not out.count("Tuned")
    assert said.count("stopped on request" if ended == signal.SIGTERM else "lost another one") == 1
    kept = max(int(path.name[5:]) for path in scratch.glob("adapter-*/step-*"))
    again = torchrun("basewright.cli", *words)
    out, said = again.communicate(timeout=900)
    assert again.returncode == 0, said
    assert out.count("Tuned") == 1
    events = next((tmp_path / "runs").glob("adapter-*/steps.jsonl")).read_text().splitlines()
    assert len(events) == json.loads(events[-1])["step"] > kept


def _second(parent: int) -> int:
    """The process of rank 1 among the children of torchrun."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status, environment = (path / "stat").read_text(), (path / "environ").read_bytes()
        except OSError:
            continue
        if int(status.rsplit(")", 1)[1].split()[1]) == parent and b"\0RANK=1\0" in environment:
            return int(path.name)
    raise AssertionError("there is no second process")
