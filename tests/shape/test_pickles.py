"""Pickles beside, inside and under the names of a model's files: nothing that a command does opens one (H001, H002)."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from tests.hub.test_airlock import GADGET
from tests.models import tiny_llama
from tests.walks import prepare

PLACES = (
    "pytorch_model.bin",
    "model.pt",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    ".metadata",
    "adapter_model.bin",
    "vocab.joblib",
    "model.ckpt",
    "original/consolidated.00.pth",
    "weights.7z",
    "events.pkl",
)
WATCHED = """
import sys
seen = []
def hear(event, arguments):
    if event == "pickle.find_class" or event == "socket.connect" or event == "os.system":
        seen.append((event, repr(arguments)[:200]))
sys.addaudithook(hear)
from basewright.cli.main import main
codes = []
for arguments in {commands!r}:
    try:
        codes.append(main(arguments))
    except SystemExit as stop:
        codes.append(stop.code)
print("\\nSEEN", seen, "CODES", codes)
"""


def watched(folder: Path, commands: list[list[str]]) -> str:
    """The last line of a process that ran the commands in turn: what was heard, and how each ended."""
    program = WATCHED.replace("{commands!r}", repr(commands))
    run = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert run.stdout, run.stderr
    return run.stdout.splitlines()[-1]


def plant(folder: Path) -> None:
    for place in PLACES:
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(GADGET)
    with zipfile.ZipFile(folder / "nested.zip", "w") as archive:
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as deeper:
            deeper.writestr("data.pkl", GADGET)
        archive.writestr("archive/data.pkl", GADGET)
        archive.writestr("deeper.zip", inner.getvalue())
    np.savez(folder / "arrays.npz", np.array([{"a": 1}], dtype=object))


def test_h001_gadgets_in_fifteen_places_are_never_opened(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model", layers=1)
    plant(model)
    told = watched(tmp_path, [["complete", str(model), "Once", "--max-tokens", "2"], ["nature", str(model)]])
    assert told == "SEEN [] CODES [0, 0]"
    assert not (tmp_path / "canary").exists()
    (model / "model.safetensors").write_bytes(GADGET)
    assert watched(tmp_path, [["complete", str(model), "Once"]]) == "SEEN [] CODES [65]"
    assert not (tmp_path / "canary").exists()


def test_h002_a_whole_walk_unpickles_nothing(tmp_path: Path) -> None:
    recipe = prepare(tmp_path, count=80, examples=200)
    told = watched(tmp_path, [["choose", str(recipe), "--json"]])
    assert "SEEN []" in told
    assert json.loads(told.rpartition("CODES ")[2]) in ([0], [70])
