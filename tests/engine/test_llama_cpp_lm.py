"""The GGUF engine: it says what is missing or broken in one line, prints nothing, and agrees with torch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from basewright.engine import llama_cpp_lm, torch_lm
from basewright.engine.lm import Request
from basewright.errors import ModelFileError, UsageError
from tests.models import tiny_llama

REQUESTS = [Request("The old clock on the wall", (" struck nine", " stopped")), Request("", ("She sells sea shells",))]


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(UsageError) as caught:
        llama_cpp_lm.open_lm(tmp_path / "a.gguf", tmp_path, "a")
    assert "basewright[gguf]" in caught.value.fix


@pytest.mark.gguf
def test_a_broken_file_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llama_cpp")
    folder = tiny_llama(tmp_path / "model")
    capfd.readouterr()
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelFileError, match=r"cannot load a\.gguf"):
        llama_cpp_lm.open_lm(tmp_path / "a.gguf", folder, "a")
    assert capfd.readouterr() == ("", "")


@pytest.mark.gguf
def test_it_agrees_with_torch_and_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llama_cpp")
    from basewright.convert.gguf_writer import to_gguf

    torch.set_num_threads(1)
    folder = tiny_llama(tmp_path / "model")
    to_gguf(folder, tmp_path / "tiny-f16.gguf", "f16", {})
    capfd.readouterr()
    lm = llama_cpp_lm.open_lm(tmp_path / "tiny-f16.gguf", folder, "tiny")
    assert (lm.context, lm.precision) == (128, "f16")
    expected = torch_lm.open_lm(folder, "tiny").loglikelihood(REQUESTS)
    for found, wanted in zip(lm.loglikelihood(REQUESTS), expected, strict=True):
        assert [one.nats for one in found] == pytest.approx([one.nats for one in wanted], rel=5e-3)
    assert capfd.readouterr() == ("", "")
