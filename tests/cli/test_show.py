"""What is shown while something works."""

from __future__ import annotations

import pytest

from basewright.cli import show


def test_a_resumed_run_is_timed_by_its_own_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("basewright.cli.show.time.monotonic", lambda: clock[0])
    with show.progress("tune") as progress:
        for done in (801, 802, 803):  # 800 steps lie in the checkpoint that it goes on from
            clock[0] += 20
            progress("steps", done, 1003)
    assert capsys.readouterr().err.splitlines()[-1].endswith("803/1003 steps · 1:06:40 left")
