"""`basewright serve` as a process of its own: it says where it is, answers, and ends cleanly on Ctrl-C."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from basewright.cli.main import run
from basewright.serve.run import bind
from tests.models import tiny_llama

MAIN = "from basewright.cli.main import main; main()"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_llama(tmp_path_factory.mktemp("models") / "it's tiny"))


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_answers_the_line_it_prints_and_ends_cleanly(model: str, number: signal.Signals) -> None:
    process = start(model, "--json")
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(6)]
        said = json.loads("".join(lines))
        assert said["model"] == "it's tiny"
        assert said["engine"] == "torch"
        told = [process.stderr.readline() for _ in range(3)]
        assert told[0].startswith(f"it's tiny answers on {said['url']}")
        curl = shlex.split(told[2].removeprefix("Try"))
        assert curl[0] == "curl"
        asked = urllib.request.Request(curl[1], curl[5].encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=20) as reply:
            assert json.load(reply)["object"] == "text_completion"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_a_taken_port_is_one_line_and_a_fix(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0, None) as taken:
        port = taken.getsockname()[1]
        capsys.readouterr()
        assert run(["serve", model, "--port", str(port)]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == f"basewright: port {port} of 127.0.0.1 is in use\n  next: add --port {port + 1}\n"


def test_h084_an_open_address_without_a_key_is_refused(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", model, "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "can be reached from other machines" in capsys.readouterr().err


def test_a_model_without_gguf_cannot_be_served_by_llama_cpp(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", model, "--engine", "llama_cpp"]) == 2
    assert "--engine torch" in capsys.readouterr().err


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["serve", str(tmp_path / "none")]) == 2
    assert "no model is called" in capsys.readouterr().err
