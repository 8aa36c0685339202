"""From a base and its adapter to proven files, in one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from basewright.convert import gguf_writer, parity, stage
from basewright.convert.merge import merge
from basewright.convert.stage import convert
from basewright.errors import Refused, UsageError
from basewright.formats import gguf
from basewright.plain import from_plain, to_plain
from basewright.records import (
    Adapter,
    Converted,
    Layout,
    LoraSettings,
    Made,
    ModelCard,
    Shape,
    Stamp,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Work, sha256_of
from tests.models import TEXTS, tiny_adapter, tiny_llama

torch.set_num_threads(1)


def stamp(name: str) -> Stamp:
    return Stamp(id=name, kind=name, version="0", parents=(), inputs={}, started="", seconds=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Made[Weights]:
    folder = tmp_path_factory.mktemp("base")
    tiny_llama(folder / "model", precision="bfloat16")
    shape = Shape(layers=2, width=64, heads=4, kv_heads=2, head_dim=16, feed_forward=96, vocabulary=384, tied=True)
    card = ModelCard(
        id="someone/tiny",
        family="tiny",
        kind="decoder",
        nature="base",
        location=".",
        licence="MIT",
        parameters=1,
        active_parameters=1,
        shape=shape,
        config={},
        precision="bfloat16",
        context=128,
        languages=("en",),
        tokens_seen=None,
        sources=(),
        curated=False,
    )
    record = Weights(card=card, commit="c" * 64, files=(), precision="bfloat16", untrained_rows=0)
    return Made(record=record, stamp=stamp("weights-1"), folder=folder)


@pytest.fixture(scope="module")
def adapter(base: Made[Weights], tmp_path_factory: pytest.TempPathFactory) -> Made[Adapter]:
    folder = tmp_path_factory.mktemp("tuned")
    tiny_adapter(base.folder / "model", folder / "adapter", std=0.05)
    record = Adapter(
        base="someone/tiny",
        base_commit="c" * 64,
        lora=LoraSettings(rank=4, alpha=8.0, targets=("q_proj",)),
        train=TrainSettings(
            steps=1,
            batch_tokens=1,
            micro_tokens=1,
            learning_rate=1.0,
            warmup=0,
            weight_decay=0.0,
            clip=1.0,
            seed=0,
        ),
        data_hash="d" * 64,
        layout=Layout(prompt="Text: {text}\nLabel:", separator="\n\n"),
        bos=True,
        stop_ids=(0,),
        trainable=1,
        tokens=1,
        flops=1.0,
        first_loss=1.0,
        last_loss=1.0,
        sha256="",
    )
    return Made(record=record, stamp=stamp("adapter-1"), folder=folder)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    (tmp_path / "out").mkdir()
    return Work(scratch=tmp_path, out=tmp_path / "out")


def test_everything_is_made_proven_and_listed(base: Made[Weights], adapter: Made[Adapter], work: Work) -> None:
    seen: list[tuple[int, int]] = []
    made = convert(
        base, adapter, ("gguf:f16", "gguf:q8_0"), TEXTS, work, lambda _what, done, total: seen.append((done, total))
    )
    assert (made.base, made.adapter) == ("weights-1", "adapter-1")
    assert [(a.format, a.quantization) for a in made.artifacts] == [
        ("safetensors", "bfloat16"),
        ("gguf", "f16"),
        ("gguf", "q8_0"),
    ]
    assert made.artifacts[1].files[0].name == "gguf/someone-tiny-f16.gguf"
    for artifact in made.artifacts:
        assert artifact.checks
        assert all(check.passed for check in artifact.checks)
        assert artifact.size == sum(file.size for file in artifact.files)
        for file in artifact.files:
            assert (work.out / file.name).stat().st_size == file.size
            assert sha256_of(work.out / file.name) == file.sha256
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)
    assert from_plain(Converted, json.loads(json.dumps(to_plain(made), allow_nan=False))) == made


def test_the_file_carries_layout_and_lineage(base: Made[Weights], adapter: Made[Adapter], work: Work) -> None:
    convert(base, adapter, ("gguf:f16",), TEXTS, work, silent)
    metadata = gguf.read(work.out / "gguf" / "someone-tiny-f16.gguf").metadata
    assert json.loads(metadata["basewright.layout"])["prompt"] == adapter.record.layout.prompt
    assert json.loads(metadata["basewright.stop_ids"]) == [0]
    assert metadata["basewright.base_commit"] == "c" * 64
    assert metadata["basewright.adapter"] == "adapter-1"
    assert metadata["general.license"] == "MIT"


def test_what_could_not_be_checked_is_said(
    base: Made[Weights], adapter: Made[Adapter], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "has_llama_cpp", lambda: False)
    made = convert(base, adapter, ("gguf:f16",), TEXTS, work, silent)
    assert made.skipped == ("gguf:f16: llama.cpp was not asked, llama-cpp-python is not installed",)
    assert not any("llama.cpp" in check.name for check in made.artifacts[1].checks)


def test_an_unknown_format_names_the_nearest(base: Made[Weights], adapter: Made[Adapter], work: Work) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'gguf:q8_0'\?"):
        convert(base, adapter, ("gguf:f16", "gguf:q8"), TEXTS, work, silent)
    assert not list(work.out.iterdir())


def test_h020_an_adapter_of_another_base_is_refused(base: Made[Weights], adapter: Made[Adapter], work: Work) -> None:
    plain = to_plain(adapter.record) | {"base_commit": "e" * 64}
    other = Made(record=from_plain(Adapter, plain), stamp=adapter.stamp, folder=adapter.folder)
    with pytest.raises(Refused, match="was trained on someone/tiny eeeeeeeeeeee, not on"):
        convert(base, other, (), TEXTS, work, silent)


def test_h020_a_wrong_merge_stops_the_walk(
    base: Made[Weights], adapter: Made[Adapter], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge that loses the scale, as one that reads `r` for `lora_alpha` would."""

    def wrong(base: Path, adapter: Path, out: Path, stop_ids: tuple[int, ...], layout: Layout) -> None:
        path = adapter / "adapter_config.json"
        before = path.read_text("utf-8")
        path.write_text(before.replace('"lora_alpha": 8.0', '"lora_alpha": 4.0'), "utf-8")
        merge(base, adapter, out, stop_ids, layout)
        path.write_text(before, "utf-8")

    monkeypatch.setattr(stage, "merge", wrong)
    with pytest.raises(Refused, match=r"merged: divergence: .*, the limit is 0\.001"):
        convert(base, adapter, ("gguf:f16",), TEXTS, work, silent)
    assert not (work.out / "gguf").exists()


def test_h019_a_wrong_rope_base_stops_the_walk(
    base: Made[Weights], adapter: Made[Adapter], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = gguf_writer._add_facts

    def wrong(writer: Any, config: Any) -> None:
        right(writer, config)
        writer.add_rope_freq_base(500000.0)

    monkeypatch.setattr(gguf_writer, "_add_facts", wrong)
    with pytest.raises(Refused, match=r"llama\.rope\.freq_base is 500000\.0, the trained model has 10000\.0"):
        convert(base, adapter, ("gguf:f16",), TEXTS, work, silent)
