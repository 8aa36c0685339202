"""Masked tokens: which are hidden is a pure function, a killed run is the same run, what comes out opens anywhere."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM, AutoTokenizer

from basewright import store
from basewright.catalog import cards
from basewright.data.pack import IGNORE
from basewright.data.windows import Tokens
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused, UsageError
from basewright.hub import airlock
from basewright.records import Checkpoint, Made, silent
from basewright.serve.artifact import open_artifact
from basewright.store import Store
from basewright.text import encode
from basewright.text.tokenizer import open_tokenizer
from basewright.train import losses, masked
from basewright.train.masked import PAD, Marks, Masked, marks
from basewright.train.opened import open_model
from tests import models
from tests.train.test_kills import FORKS
from tests.train.test_pretrain import SETTINGS, write_corpus

ENCODER = replace(
    SETTINGS, name="encoder", kind="encoder", masked=0.3, heads=4, kv_heads=4, window=32, window_until=50,
    validate_every=20,
    train=replace(SETTINGS.train, precision="float32", optimizer="muon", steps=80, save_every=20),
)  # fmt: skip
MARKS = Marks(start=0, end=1, mask=3, text=np.arange(4, 200))


def objective(rate: float = 0.3, seed: int = 0, hidden: float = 0.8, size: int = 50) -> Masked:
    tokens = Tokens(np.random.default_rng(7).integers(4, 200, 1000).astype(np.uint16), (400, 600))
    return Masked(tokens.windows(size), MARKS, rate, seed, hidden)


@given(row=st.integers(0, 19), step=st.integers(0, 10**6), seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_p1_what_is_hidden_depends_on_seed_step_and_window_alone(row: int, step: int, seed: int) -> None:
    alone = objective(seed=seed).pack([row], step)
    among = objective(seed=seed).pack([(row + 1) % 20, row], step)
    assert np.array_equal(among.ids[-len(alone.ids) :], alone.ids)
    assert np.array_equal(among.labels[-len(alone.ids) :], alone.labels)
    other_step, other_seed = objective(seed=seed).pack([row], step + 1), objective(seed=seed + 1).pack([row], step)
    assert not np.array_equal(other_step.labels, alone.labels)
    assert not np.array_equal(other_seed.labels, alone.labels)


@given(rate=st.floats(0.01, 0.9), size=st.integers(2, 60), step=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_only_what_is_asked_for_changes_and_never_the_ends(rate: float, size: int, step: int) -> None:
    small = objective(rate, size=size)
    for row in range(3):
        text, packed = small.windows[row], small.pack([row], step)
        asked = packed.labels != IGNORE
        assert packed.lengths == (len(text) + 2,)
        assert packed.supervised == max(1, round(rate * len(text)))
        assert (packed.ids[0], packed.ids[-1]) == (MARKS.start, MARKS.end)
        assert not asked[0]
        assert not asked[-1]
        assert np.array_equal(packed.labels[asked], text[asked[1:-1]])
        assert np.array_equal(packed.ids[~asked][1:-1], text[~asked[1:-1]])


def test_of_what_is_asked_for_eighty_percent_are_hidden_and_ten_are_others() -> None:
    whole = objective()
    kinds = Counter[str]()
    for step in range(200):
        packed = whole.pack(range(20), step)
        asked = packed.labels != IGNORE
        seen, told = packed.ids[asked], packed.labels[asked]
        kinds["hidden"] += int((seen == MARKS.mask).sum())
        kinds["same"] += int((seen == told).sum())
        kinds["other"] += int(((seen != MARKS.mask) & (seen != told)).sum())
        assert set(np.unique(seen[seen != MARKS.mask])) <= set(MARKS.text)
    # 60,000 draws: four standard deviations are 0.7 points; one in 196 of the others is the same token by chance
    for kind, share in (("hidden", 0.8), ("other", 0.1), ("same", 0.1)):
        assert kinds[kind] / kinds.total() == pytest.approx(share, abs=0.007)


def test_a_decoders_tokenizer_cannot_hide(tmp_path: Path) -> None:
    models.tiny_tokenizer(tmp_path)
    with pytest.raises(Refused, match="hides another"):
        marks(open_tokenizer(tmp_path))


def make(root: Path, runs: str) -> Made[Checkpoint]:
    made, _ = Store(root / runs).make(
        "checkpoint", {}, Checkpoint, lambda work: masked.pretrain(ENCODER, root, work, silent)
    )
    return made


def write_sentences(root: Path) -> Path:
    """What is held out is no text of the corpus, and made as those are."""
    write_corpus(root)
    held = "".join(f"The ship {number % 6} came home, and the sailors sang. " for number in range(40))
    (root / "texts" / "held.txt").write_text(held)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made[Checkpoint]:
    return make(write_sentences(tmp_path_factory.mktemp("corpus")), "runs")


def test_it_learns_more_than_how_often_tokens_come(made: Made[Checkpoint]) -> None:
    told = [point.masked for point in made.record.curve]
    assert None not in told
    assert told[-1] < made.record.baselines["unigram"] < made.record.baselines["uniform"]  # type: ignore[operator]
    assert made.record.curve[-1].bits_per_byte is None


def test_it_is_an_encoder_like_any_other(made: Made[Checkpoint]) -> None:
    airlock.inspect(made.folder)
    card = cards.get(str(made.folder))
    assert card.kind == "encoder"
    assert (card.parameters, card.shape, card.context) == (
        made.record.card.parameters, made.record.card.shape, made.record.card.context,
    )  # fmt: skip
    with pytest.raises(UsageError, match="continues no text"):
        open_artifact(made.folder)
    packed = open_model(made.folder)
    assert losses.is_encoder(packed)


def test_the_model_that_is_written_is_the_model_that_was_measured(made: Made[Checkpoint]) -> None:
    """transformers by itself, row by row, finds hidden tokens as easily as the record says."""
    model = AutoModelForMaskedLM.from_pretrained(made.folder, dtype="float32").eval()
    tokenizer = open_tokenizer(made.folder)
    (held,) = [path.read_text() for path in (made.folder.parent.parent / "texts").glob("held.txt")]
    ids = tokenizer.ids(held)
    tokens = Tokens(np.array(ids, dtype=np.uint16), (len(ids),))
    asked = Masked(tokens.windows(30), marks(tokenizer), 0.15, seed=0, hidden=1.0)
    nats, count = 0.0, 0
    for row in range(len(asked.windows.lengths)):
        packed = asked.pack([row], 0)
        with torch.no_grad():
            logits = model(input_ids=torch.from_numpy(packed.ids)[None]).logits[0].log_softmax(-1)
        for at in np.flatnonzero(packed.labels != IGNORE):
            nats -= logits[at, packed.labels[at]].item()
            count += 1
    assert made.record.held_out is not None
    assert nats / count == pytest.approx(made.record.held_out.masked, rel=1e-4)


def test_its_tokenizer_is_read_alike_by_transformers_and_by_us(made: Made[Checkpoint]) -> None:
    ours, theirs = open_tokenizer(made.folder), AutoTokenizer.from_pretrained(made.folder)
    for text in (*models.TEXTS, "", " two  spaces\n", "ćwierć 東京 🎈", "a [MASK] spelled"):
        assert encode.document(ours, text)[1:-1] == ours.ids(text)
        if "[MASK]" not in text:  # which transformers takes for the token, and we for text (H015)
            assert encode.document(ours, text) == theirs(text)["input_ids"]
        assert ours.text(ours.ids(text)) == text
    assert ours.mask_id not in ours.ids("a [MASK] spelled")
    assert (ours.bos_id, ours.eos_id) == (theirs.cls_token_id, theirs.sep_token_id)
    assert (ours.pad_id, ours.mask_id) == (theirs.pad_token_id, theirs.mask_token_id)
    assert theirs.pad_token == PAD
    assert theirs("one", "two")["input_ids"] == [
        ours.bos_id, *ours.ids("one"), ours.eos_id, *ours.ids("two"), ours.eos_id,
    ]  # fmt: skip


def killed_after(job: Callable[[], object], runs: Path, step: int) -> None:
    """kill -9 as soon as the checkpoint of `step` is there, in the middle of the steps behind it."""
    child = FORKS.Process(target=job)
    child.start()
    while child.is_alive() and not list(runs.glob(f"work/*/step-{step:08d}")):
        time.sleep(0.002)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_p1_killed_and_run_again_it_is_the_same_model(tmp_path: Path, made: Made[Checkpoint]) -> None:
    """In the short windows and in the long ones behind them."""
    write_sentences(tmp_path)
    for step in (20, 60):
        killed_after(partial(make, tmp_path, "cut"), tmp_path / "cut", step)
    cut = make(tmp_path, "cut")
    assert cut.record == made.record
    assert store.sha256_of(cut.folder / "model.safetensors") == store.sha256_of(made.folder / "model.safetensors")


def test_an_encoder_is_loaded_with_its_masked_head(made: Made[Checkpoint]) -> None:
    assert type(load_model(made.folder)).__name__ == "ModernBertForMaskedLM"
