"""`basewright verify` finds what was changed in a release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from basewright.cli.main import run
from basewright.records import Built
from tests.walks import prepare, walk


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return walk(prepare(tmp_path_factory.mktemp("verify")))[0]


def test_a_release_is_whole(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "small", "--runs", str(built.release.folder.parent)]) == 0
    assert "FAILED" not in capsys.readouterr().out
    assert run(["verify", str(built.release.folder), "--json"]) == 0
    assert all(check["passed"] for check in json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("name", ["proof.json", "README.md", "model/model.safetensors", "basewright.json"])
def test_a_changed_file_is_named(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    folder = shutil.copytree(built.release.folder, tmp_path / "release")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert run(["verify", str(folder)]) == 70
    assert name in capsys.readouterr().out


def test_what_is_no_release_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(tmp_path)]) == 2
    assert "neither a release nor a model" in capsys.readouterr().err
