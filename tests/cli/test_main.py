"""The command line: lazy, one line for every fault, JSON where asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from basewright.cli import main
from basewright.errors import BasewrightError

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "numpy",
    "scipy",
    "pydantic",
    "rich",
    "fastapi",
    "gguf",
    "datasketch",
)


def run(*arguments: str) -> int:
    return main.run(list(arguments))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["build", "--help"], ["runs", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom basewright.cli import main\ncode = main.run(sys.argv[1:])\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_listed_command_is_there_and_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert f"basewright {name} " in text
    assert "--json" in text


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("biuld") == 2
    assert "did you mean 'build'?" in capsys.readouterr().err


def test_an_unknown_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("runs", "--jsn") == 2
    assert "--json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "none.toml"],
        ["build"],
        ["runs", "--kind", "relase"],
        ["pretrain", "none.toml"],
        ["complete", "foundling-pros", "x"],
        ["serve", "nothing-built"],
    ],
)
def test_a_fault_is_two_lines_and_no_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) != 0
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert [line[:11] for line in err.splitlines()] == ["basewright:", "  next: " + err.splitlines()[1][8:11]]


def test_json_errors_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("build", "none.toml", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    assert found["fix"]


def test_runs_of_nothing_say_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("runs", "--runs", str(tmp_path)) == 0
    seen = capsys.readouterr()
    assert "nothing has been made" in seen.out
    assert "basewright build" in seen.err
    assert run("runs", "--runs", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_every_error_has_its_own_exit_code_family() -> None:
    def tree(kind: type[BasewrightError]) -> list[type[BasewrightError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    assert BasewrightError.__module__ == "basewright.errors"
    import basewright.errors as errors

    for kind in tree(BasewrightError):
        assert kind.exit_code > 0
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in (errors.__doc__ or "")
