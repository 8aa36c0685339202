from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basewright.cli import main, show
from basewright.errors import UsageError
from basewright.recipe import read
from basewright.stages import Walk
from tests.hub.fake_hub import Hub, of_folder, serve
from tests.models import tiny_llama
from tests.walks import Collected, prepare


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with serve(of_folder(tiny_llama(tmp_path / "source"))) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def plain(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_pulled_it_completes_and_is_checked_and_removed(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["complete", "maker/model", "x"]) == 65
    assert "basewright pull maker/model" in capsys.readouterr().err
    assert hub.asked == []

    assert main.run(["pull", "maker/model", "--json"]) == 0
    done = plain(capsys)
    assert done["record"]["revision"] == "1" * 40
    assert {one.token for one in hub.asked} == {"Bearer hf_canary"}

    assert main.run(["pull", "maker/model"]) == 0
    assert "was here, whole" in capsys.readouterr().out

    assert main.run(["complete", "maker/model", "The old clock", "--max-tokens", "3", "--json"]) == 0
    assert plain(capsys)["model"] == "maker/model"

    assert main.run(["pull", "maker/model", "--check"]) == 0
    path = Path(done["folder"]) / "model" / "config.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    assert main.run(["pull", "maker/model", "--check", "--json"]) == 74
    assert "files of maker/model are bad: config.json" in capsys.readouterr().err
    assert main.run(["pull", "maker/model"]) == 0
    assert main.run(["pull", "maker/model", "--check"]) == 0
    capsys.readouterr()

    assert main.run(["pull", "maker/model", "--remove"]) == 0
    assert "would remove" in capsys.readouterr().out
    assert Path(done["folder"]).exists()
    assert main.run(["pull", "maker/model", "--remove", "--yes"]) == 0
    assert "removed" in capsys.readouterr().out
    assert not Path(done["folder"]).exists()
    assert main.run(["pull", "maker/model", "--check"]) == 2


def test_a_recipe_names_what_was_pulled(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stage finds the result of the command: nothing is copied or made again."""
    hub.files["README.md"] = b"---\nlicense: mit\n---\n"
    path = prepare(tmp_path, count=40)
    path.write_text(path.read_text().replace("./two", "maker/model"))
    walk = Walk(read(path), tmp_path, show.open_store(tmp_path / "runs"), Collected())
    with pytest.raises(UsageError):
        walk.plan()
    assert main.run(["pull", "maker/model", "--json"]) == 0
    asked = len(hub.asked)
    bases = walk.pull(walk.plan())
    assert bases["maker/model"].id == plain(capsys)["id"]
    assert bases["maker/model"].record.revision == "1" * 40
    assert len(hub.asked) == asked


def test_mistakes_are_one_line(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["maker/model", "--check"],
        ["maker/model", "--check", "--remove"],
        ["maker/model", "--offline"],
        ["foundling-prose", "--revision", "main"],
        ["foundling-pros"],
    ):
        assert main.run(["pull", *arguments]) == 2, arguments
        assert "Traceback" not in capsys.readouterr().err


def test_h034_the_token_is_in_no_output(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def tell(request: Any) -> bool:
        request.body(400, b"", {"X-Error-Code": f"bad token {request.note.token}"})
        return True

    hub.lie = tell
    assert main.run(["pull", "maker/model"]) == 1
    said = capsys.readouterr()
    assert "[token]" in said.err
    assert "hf_canary" not in said.err + said.out
    written = b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert b"hf_canary" not in written


def test_help_loads_no_http_client() -> None:
    code = "import sys, basewright.cli.pull; print([m for m in ('http.client', 'ssl', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
