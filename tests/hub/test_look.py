"""A repository that the catalog does not know is shown from its own small files, and its weights stay there."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright.cli.main import run
from basewright.errors import ModelFileError
from basewright.hub import look
from basewright.hub.wire import Wire
from tests.hub.fake_hub import Hub, of_folder, serve
from tests.hub.folders import write
from tests.hub.test_transfer import QUICK


def hub(folder: Path) -> Hub:
    write(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return of_folder(folder)


def test_facts_are_those_of_its_own_files(tmp_path: Path) -> None:
    with serve(hub(tmp_path / "source")) as running:
        known = look.facts("maker/model", Wire(running.url, True, "", QUICK))
        asked = {one.path.rpartition("/")[2] for one in running.of_files()}
    assert (known.id, known.licence, known.revision) == ("maker/model", "mit", "1" * 40)
    assert known.sources[0].url.endswith(f"maker/model/tree/{'1' * 40}")
    assert asked == {"config.json", "tokenizer_config.json", "README.md"}


def test_without_a_config_there_is_nothing_to_show(tmp_path: Path) -> None:
    with (
        serve(Hub({"README.md": b"words"})) as running,
        pytest.raises(ModelFileError, match=r"holds no config\.json"),
    ):
        look.facts("maker/model", Wire(running.url, True, "", QUICK))


def test_the_command_says_that_nobody_checked_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(hub(tmp_path / "source")) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        assert run(["catalog", "maker/model"]) == 2  # nothing is asked of the network unless the person says so
        assert "--online" in capsys.readouterr().err
        assert running.asked == []
        assert run(["catalog", "maker/model", "--online"]) == 0
    text = capsys.readouterr().out
    assert "not curated" in text
    assert "MIT License" in text
