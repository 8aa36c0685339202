"""Every error of the airlock says what is wrong for programs too: a code, and the file at fault."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import get_args

import pytest

from basewright.cli.fail import guarded
from basewright.errors import FileCode, ModelFileError

SOURCE = Path(__file__).parents[2] / "src" / "basewright"
GATE = [
    *sorted((SOURCE / "formats").glob("*.py")),
    *sorted((SOURCE / "catalog" / "architectures").glob("*.py")),
    SOURCE / "catalog" / "config.py",
    SOURCE / "hub" / "airlock.py",
    SOURCE / "hub" / "adapter.py",
]


@pytest.mark.parametrize("path", GATE, ids=lambda path: str(path.relative_to(SOURCE)))
def test_h011_the_gate_names_a_code_and_a_file(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ModelFileError":
            assert {"code", "file"} <= {keyword.arg for keyword in node.keywords}, f"line {node.lineno}"


def test_codes_are_in_the_page() -> None:
    page = (SOURCE.parents[1] / "docs" / "airlock.md").read_text("utf-8")
    assert [code for code in get_args(FileCode) if f"| `{code}` |" not in page] == []


def test_json_shows_code_file_and_offset(capsys: pytest.CaptureFixture[str]) -> None:
    def faulty() -> None:
        raise ModelFileError("a ends", fix="get it again", code="cut-off", file="a", offset=7)

    assert guarded(faulty, as_json=True) == 65
    told = json.loads(capsys.readouterr().out)
    assert (told["code"], told["file"], told["offset"]) == ("cut-off", "a", 7)
