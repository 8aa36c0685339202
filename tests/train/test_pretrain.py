"""A base model from scratch: it learns, resumes to the bit, never sees what is held out, and opens anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from basewright import store
from basewright.catalog import cards
from basewright.data import pack
from basewright.engine.lm import Sampling
from basewright.engine.torch_lm import open_lm
from basewright.errors import DataError
from basewright.hub import airlock
from basewright.records import Checkpoint, Corpus, Made, PretrainSettings, TrainSettings, silent
from basewright.store import Store
from basewright.train import pretrain

SETTINGS = PretrainSettings(
    name="small", licence="CC0-1.0", languages=("en",),
    corpus=Corpus(
        paths=("texts",), suffixes=(".txt",), exclude=(), held_out=("texts/held.txt",), max_bytes=100_000,
        held_out_bytes=2_000, sources=(),
    ),
    vocabulary=300, layers=1, width=32, heads=4, kv_heads=2, feed_forward=64, context=64,
    train=TrainSettings(
        steps=30, batch_tokens=256, micro_tokens=128, learning_rate=0.01, warmup=3, weight_decay=0.1, clip=1.0, seed=0,
        save_every=10, precision="bfloat16",
    ),
    validate_every=6,
)  # fmt: skip


def write_corpus(root: Path) -> Path:
    folder = root / "texts"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"The ship {number} came home, and the sailors sang. " * 60)
    (folder / "held.txt").write_text("The ship came home, and only the cook sang. " * 20)
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


def make(root: Path, runs: str, settings: PretrainSettings = SETTINGS) -> Made[Checkpoint]:
    made, _ = Store(root / runs).make(
        "checkpoint", {"s": settings}, Checkpoint, lambda work: pretrain.pretrain(settings, root, work, silent)
    )
    return made


def test_it_learns_and_is_a_model_like_any_other(corpus: Path) -> None:
    made = make(corpus, "runs")
    curve = [point.bits_per_byte or 8.0 for point in made.record.curve]
    assert len(curve) == 5
    assert curve[-1] < curve[0] < made.record.baselines["uniform"]
    assert made.record.held_out is not None
    assert made.record.held_out.bits_per_byte == pytest.approx(curve[-1], rel=0.02)  # rounded to bfloat16
    airlock.inspect(made.folder)
    card = cards.get(str(made.folder))
    assert card.parameters == made.record.card.parameters
    assert card.shape == made.record.card.shape
    lm = open_lm(made.folder, "small")
    assert lm.tokenizer.bos
    assert lm.tokenizer.pad_id != lm.tokenizer.eos_id
    assert "".join(piece.text for piece in lm.generate("The ship", Sampling(max_tokens=5)))


MUON = replace(
    SETTINGS, window=16, window_until=20, train=replace(SETTINGS.train, optimizer="muon", decay="linear", decay_from=10)
)


@pytest.mark.parametrize("settings", [SETTINGS, MUON], ids=["adamw", "muon"])
def test_p1_interrupted_and_resumed_it_is_the_same_model(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, settings: PretrainSettings
) -> None:
    whole = make(corpus, "whole", settings)
    real = pack.pack
    calls = 0

    class Killed(Exception):
        pass

    def sometimes(rows: object) -> object:
        nonlocal calls
        calls += 1
        if calls in (7, 30, 50):
            raise Killed
        return real(rows)  # type: ignore[arg-type]

    monkeypatch.setattr("basewright.train.pretrain.pack", sometimes)
    for _ in range(3):
        with pytest.raises(Killed):
            make(corpus, "cut", settings)
    cut = make(corpus, "cut", settings)
    assert cut.record == whole.record
    assert store.sha256_of(cut.folder / "model.safetensors") == store.sha256_of(whole.folder / "model.safetensors")


def test_the_run_writes_the_card(corpus: Path) -> None:
    made = make(corpus, "runs", replace(SETTINGS, cautions=("Ships only.",), context=128))
    card = (made.folder / "README.md").read_text()
    assert card.startswith('---\nlicense: cc0-1.0\nlanguage: ["en"]\n')
    for name, value in made.record.baselines.items():
        assert f"| {name} | {value:.4f} |" in card
    assert made.record.held_out is not None
    assert f"| **small** | **{made.record.held_out.bits_per_byte:.4f}** |" in card
    for point in made.record.curve:
        assert f"| {point.step} | {point.tokens:,} | {point.bits_per_byte:.4f} |" in card
    found = made.record.memorisation
    assert found is not None
    assert f"| learned | {100 * found.learned:.1f} % | {found.learned_nats:.3f} |" in card
    assert "- Ships only." in card


def test_h078_held_out_text_is_not_in_the_corpus(corpus: Path) -> None:
    made = make(corpus, "runs")
    assert made.record.documents == 6
    assert "cook" in (corpus / "texts" / "held.txt").read_text()
    without = replace(SETTINGS, corpus=replace(SETTINGS.corpus, paths=("texts/held.txt",)))
    with pytest.raises(DataError, match="holds no document"):
        make(corpus, "other", without)


def test_another_corpus_is_another_run(corpus: Path) -> None:
    before = pretrain.fingerprint(SETTINGS, corpus)
    (corpus / "texts" / "6.txt").write_text("more")
    assert pretrain.fingerprint(SETTINGS, corpus) != before


def test_a_corpus_that_is_not_there_is_named(corpus: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        make(corpus, "runs", replace(SETTINGS, corpus=replace(SETTINGS.corpus, paths=("none",))))
