"""Every test has its own runs folder and one thread, so that figures do not depend on the machine's cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
"""Third-party material beside the checkout; tests that need it skip where it is absent."""


@pytest.fixture(autouse=True)
def own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEWRIGHT_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("BASEWRIGHT_API_KEY", raising=False)


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder shared/data is absent")
    return SHARED


def pytest_configure() -> None:
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")  # a machine that does other work too is slow, and no test is wrong for it
    os.environ["OMP_NUM_THREADS"] = "1"  # tiny models on many threads only wait for each other
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
