"""Encoders: packed rows give what each gives alone, in loss and in gradient, and see no neighbour (H070)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from basewright.data.pack import IGNORE, Packed, joined, segment
from basewright.engine import classifier
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.hub import airlock
from basewright.records import Head
from basewright.train import losses, quick
from basewright.train.opened import open_classifier, open_model
from tests.hub.test_families import ENCODERS, made

torch.set_num_threads(1)
WINDOW = {"local_attention": 8, "num_hidden_layers": 4}
"""Two layers of four see a window that is shorter than the rows."""
LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=8)


def rows(lengths: list[int], seed: int) -> list[Packed]:
    """Segments of random tokens, some of them to be predicted; never the padding id, which RoBERTa does not number."""
    draw = np.random.default_rng(seed)
    found = []
    for length in lengths:
        ids = draw.integers(5, 300, length)
        labels = np.where(draw.random(length) < 0.5, draw.integers(5, 300, length), IGNORE)
        found.append(segment(ids, labels))
    return found


def plain_loss(model: Any, row: Packed) -> torch.Tensor:
    logits = model(input_ids=torch.from_numpy(row.ids)[None]).logits[0].float()
    return functional.cross_entropy(logits, torch.from_numpy(row.labels), reduction="sum", ignore_index=IGNORE)


def gradient(model: Any) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


@pytest.fixture(scope="module", params=ENCODERS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    changes = WINDOW if request.param == "modernbert" else {}
    folder = made(tmp_path_factory.mktemp("m") / "model", request.param, **changes)
    return open_model(folder), load_model(folder)


@given(lengths=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_h070_packed_rows_give_the_loss_and_gradient_of_the_plain_model(
    pair: tuple[Any, Any], lengths: list[int], seed: int
) -> None:
    packed, plain = pair
    segments = rows(sorted(lengths), seed)
    together, apart = losses.masked(packed, joined(segments)), sum(plain_loss(plain, row) for row in segments)
    assert isinstance(apart, torch.Tensor)
    assert together.item() == pytest.approx(apart.item(), rel=1e-5)
    if together.item():
        together.backward()
        apart.backward()
        ours, theirs = gradient(packed), gradient(plain)
        assert (ours - theirs).norm() / theirs.norm() < 1e-4


@given(lengths=st.lists(st.integers(2, 40), min_size=2, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_h070_another_neighbour_changes_nothing(pair: tuple[Any, Any], lengths: list[int], seed: int) -> None:
    model, _ = pair
    first, *rest = rows(lengths, seed)
    _, *others = rows(lengths, seed + 100)
    with torch.no_grad():
        one, other = (losses.hidden(model, joined([first, *around]))[0][: lengths[0]] for around in (rest, others))
    assert torch.allclose(one, other, atol=1e-5)


def test_h070_gradients_written_out_are_those_of_the_plain_model(tmp_path: Path) -> None:
    folder = made(tmp_path / "model", "modernbert", **WINDOW)
    ours, plain = open_model(folder), load_model(folder)
    quick.quicken(ours)
    segments = rows([9, 9, 23, 40], 5)
    losses.masked(ours, joined(segments)).backward()
    torch.stack([plain_loss(plain, row) for row in segments]).sum().backward()
    theirs = gradient(plain)
    assert (gradient(ours) - theirs).norm() / theirs.norm() < 1e-5


def test_padding_is_hidden_where_causality_does_not_hide_it(pair: tuple[Any, Any]) -> None:
    """The same rows in an order in which they share a call, and in one in which they do not."""
    model, _ = pair
    short, long = rows([5, 40], 0)
    near = rows([9], 1)[0]
    with torch.no_grad():
        padded = losses.masked(model, joined([short, near, long]))
        apart = losses.masked(model, joined([short, long, near]))
    assert padded.item() == pytest.approx(apart.item(), rel=1e-6)


HEAD = Head(labels=("a", "b", "c"), pad_id=0, pools="first")


@pytest.mark.parametrize("name", ENCODERS)
def test_a_head_on_packed_rows_says_what_transformers_says(name: str, tmp_path: Path) -> None:
    """Of each row alone, and in a padded batch; what is written passes the airlock."""
    folder = made(tmp_path / "model", name)
    packed = open_classifier(folder, HEAD, seed=3).model
    plain = classifier.load(folder, HEAD, seed=3).model
    data = [row.ids for row in rows([3, 17, 9, 9, 30], 4)]
    judged = joined([segment(ids, np.where(np.arange(len(ids)) == 0, 0, IGNORE)) for ids in data])
    batch = torch.tensor([[*ids, *[HEAD.pad_id] * (30 - len(ids))] for ids in data])
    with torch.no_grad():
        ours, _ = losses.class_logits(packed, judged)
        alone = torch.cat([plain(input_ids=torch.from_numpy(ids)[None]).logits for ids in data])
        padded = plain(input_ids=batch, attention_mask=(batch != HEAD.pad_id).int()).logits
    assert (ours - alone).abs().max() < 1e-4
    assert (ours - padded).abs().max() < 1e-4
    assert alone.std() > 1e-3
    some = replace(judged, labels=np.where(np.arange(len(judged.ids)) < 20, judged.labels, IGNORE))
    with torch.no_grad():
        assert torch.equal(losses.class_logits(packed, some)[0], ours[:2])
    plain.save_pretrained(folder)
    assert airlock.inspect_classifier(folder)[1].labels == HEAD.labels


def test_an_encoder_of_another_family_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "model", "deberta-v2")
    assert json.loads((folder / "config.json").read_text())["model_type"] == "deberta-v2"
    with pytest.raises(Refused, match="cannot be tuned here"):
        open_model(folder)
