"""Packed rows give what each row gives alone, in loss and in gradient (H070)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from basewright.data.pack import pack
from basewright.engine.torch_lm import load_model
from basewright.text.encode import Encoded
from basewright.train import attention, losses
from tests.models import tiny_llama

ROWS = [
    Encoded(tuple(range(5, 5 + length)), (False, False, *([True] * (length - 2))))
    for length in (9, 9, 4, 17, 17, 17, 3, 20, 31, 5)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    attention.install()
    return tiny_llama(tmp_path_factory.mktemp("m"))


def gradient(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_h070_packed_equals_alone_and_the_reference(folder: Path) -> None:
    packed, alone = (load_model(folder, attention=attention.NAME) for _ in range(2))
    plain = load_model(folder)
    together = losses.next_token(packed, pack(ROWS))
    together.backward()
    apart = sum(losses.next_token(alone, pack([row])) for row in ROWS)
    assert isinstance(apart, torch.Tensor)
    apart.backward()
    reference = torch.zeros(())
    for row in ROWS:
        logits = plain(input_ids=torch.tensor([row.ids])).logits[0, :-1].float()
        labels = torch.tensor([i if m else -100 for i, m in zip(row.ids[1:], row.mask[1:], strict=True)])
        reference = reference + functional.cross_entropy(logits, labels, reduction="sum")
    reference.backward()
    assert together.item() == pytest.approx(apart.item(), rel=1e-6)
    assert together.item() == pytest.approx(reference.item(), rel=1e-5)
    for model in (alone, plain):
        assert (gradient(packed) - gradient(model)).norm() / gradient(packed).norm() < 1e-5


def test_many_chunks_equal_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = (load_model(folder, attention=attention.NAME) for _ in range(2))
    losses.next_token(one, pack(ROWS)).backward()
    monkeypatch.setattr(losses, "CHUNK", 7)
    losses.next_token(many, pack(ROWS)).backward()
    assert (gradient(one) - gradient(many)).norm() / gradient(one).norm() < 1e-6


def test_short_segments_of_like_length_share_a_call() -> None:
    lengths = (3, 4, 9, 16, 17, 30, 200, 200, 205)
    runs = attention._runs(lengths)
    assert [run.lengths for run in runs] == [(3, 4, 9, 16), (17, 30), (200, 200), (205,)]
    assert [run.tokens for run in runs] == [32, 47, 400, 205]
