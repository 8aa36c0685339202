"""The commands of docs/guides run as they stand there, on small data; whole walks in the slow lane."""

from __future__ import annotations

import importlib
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from basewright.cli import main
from tests.examples.guides import DATA
from tests.models import tiny_llama

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
QUICK = ("new", "")
LONG = ("build", "choose", "serve", "complete", "verify", "runs")


def commands(guide: str) -> list[list[str]]:
    """The arguments of each command in its blocks, as a shell splits them."""
    blocks = re.findall(r"^```\n(.*?)^```", (GUIDES / f"{guide}.md").read_text("utf-8"), flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.split()[0] == "basewright" for line in lines)
    return [_split(line)[1:] for line in lines]


def _split(line: str) -> list[str]:
    """`$'…\\n'` is bash's way to write a new line."""
    return [part.replace("\\n", "\n").removeprefix("$") for part in shlex.split(line)]


@pytest.fixture
def guide(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its data in the current folder, and no connection to anywhere but this machine."""
    name: str = request.param
    DATA[name](tmp_path)
    monkeypatch.chdir(tmp_path)
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        assert isinstance(address, str) or address[0] in ("127.0.0.1", "::1", "localhost"), f"a call to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    return name


def test_every_guide_has_its_data() -> None:
    assert sorted(path.stem for path in GUIDES.glob("*.md")) == sorted(DATA)


@pytest.mark.parametrize("guide", sorted(DATA), indirect=True)
def test_the_first_commands_run_and_the_others_are_spelled_right(
    guide: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands(guide):
        name = command[0] if command else ""
        if name in QUICK:
            assert main.run(command) == 0, capsys.readouterr().err
        else:
            assert name in LONG
            importlib.import_module(f"basewright.cli.{name}").command.make_context(name, command[1:])
            built = command[1].removesuffix(".toml") if len(command) > 1 and "-" not in command[1] else ""
            assert not built or Path(f"{built}.toml").is_file()
    said = capsys.readouterr().out
    if guide == "health-team":
        assert "1 row seems to hold e-mail addresses (line 4)" in said
    if guide == "saas-team":
        assert all(f"{name}.toml" in said for name in ("desk", "pay", "ship"))


@pytest.mark.slow
@pytest.mark.parametrize("guide", sorted(DATA), indirect=True)
def test_every_command_runs(guide: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With two tiny models for candidates, and so few examples that a walk takes seconds."""
    tiny_llama(tmp_path / "one", seed=1, context=512, std=0.08)
    tiny_llama(tmp_path / "two", seed=2, context=512, std=0.08)
    for command in commands(guide):
        if command and command[0] == "serve":
            _serve(command)
        else:
            assert main.run(command) == 0, capsys.readouterr().err
        if command and command[0] == "new":
            _made_small(tmp_path / f"{Path(command[1]).stem}.toml")


def _made_small(recipe: Path) -> None:
    text = recipe.read_text("utf-8")
    for pattern, value in {
        r"^models = .*$": 'models = ["./one", "./two"]\nlicence = "CC0-1.0"',
        r"^shots = .*$": "shots = 2",
        r"^repeats = .*$": "repeats = 1",
        r"^\[choose\]\nexamples = .*$": "[choose]\nexamples = 60",
        r"^\[tune\]\nexamples = .*$": "[tune]\nexamples = 2400\nlearning_rate = 0.004\nrank = 8",
        r"^forgetting = .*$": "forgetting = 9.0",
    }.items():
        text, found = re.subn(pattern, value, text, flags=re.M)
        assert found == 1, pattern
    recipe.write_text(text, "utf-8")


def _serve(command: list[str]) -> None:
    port = _free_port()
    running = subprocess.Popen([sys.executable, "-m", "basewright.cli", *command, "--port", str(port)])
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert running.poll() is None
        raise AssertionError("it did not answer within a minute")
    finally:
        running.terminate()
        running.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
