"""A finished walk made by hand: records with plausible values over tiny files, so that no test needs torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from basewright import store
from basewright.records import (
    Adapter,
    Artifact,
    Certificate,
    Check,
    Choice,
    Comparison,
    Converted,
    Duel,
    FileEntry,
    How,
    Interval,
    Item,
    ItemScore,
    Layout,
    Ledger,
    LoraSettings,
    Made,
    ModelCard,
    Overlay,
    Proof,
    Question,
    Release,
    Rung,
    Scores,
    Shape,
    Source,
    Spent,
    Stamp,
    Standing,
    Task,
    TrainSettings,
    Weights,
)
from basewright.release import stage

BASE = "foundling-prose"
LAYOUT = Layout(prompt="Clause: {text}\nKind:", separator="\n\n")
LABELS = ("payment", "term", "liability")
COMMIT = hashlib.sha256(b"the base").hexdigest()
DATA = hashlib.sha256(b"every token id").hexdigest()
SHAPE = Shape(layers=2, width=8, heads=2, kv_heads=1, head_dim=4, feed_forward=16, vocabulary=64, tied=True)
BASE_FILES = {"config.json": b"{}", "model.safetensors": b"base weights", "tokenizer.json": b"{}"}


@dataclass
class Walk:
    """What a walk made, in folders under `root`; change a part before `release`."""

    root: Path
    name: str
    weights: Made[Weights]
    adapter: Made[Adapter]
    proof: Made[Proof]
    certificate: Made[Certificate]
    choice: Made[Choice]
    converted: Made[Converted]
    task: Task

    def stage(self, out: Path) -> Release:
        out.mkdir(parents=True)
        return stage.release(
            self.name,
            self.weights,
            self.adapter,
            self.proof,
            self.certificate,
            self.choice,
            self.converted,
            self.task,
            store.Work(scratch=self.root, out=out),
        )

    def commit(self, where: Path) -> Path:
        """A release as the store publishes it: record, manifest, final name."""
        release = self.stage(where / "half")
        record = {"schema": 1, "stamp": stamp("release"), "type": "Release", "record": release}
        store.write_json(where / "half" / store.RECORD, record)
        store.commit(where / "half", where / "release-0")
        return where / "release-0"


def walk(
    root: Path,
    *,
    name: str = "contract-clauses",
    licence: str = "CC0-1.0",
    base_files: Mapping[str, bytes] | None = None,
    formats: tuple[str, ...] = ("f16", "q8_0"),
) -> Walk:
    return Walk(
        root=root,
        name=name,
        weights=_weights(root, licence, {**BASE_FILES, **(base_files or {})}),
        adapter=_adapter(root),
        proof=_made("proof", _proof(), root),
        certificate=_made("certificate", _certificate(), root),
        choice=_made("choice", _choice(), root),
        converted=_converted(root, formats),
        task=_task(),
    )


def check(name: str, *, value: float = 0.0, limit: float = 0.0, passed: bool = True) -> Check:
    return Check(name=name, value=value, limit=limit, passed=passed, how=f"{name}, by comparison | of both")


def stamp(kind: str) -> Stamp:
    """Times and costs as they would differ from run to run; none of them may reach the release's own files."""
    return Stamp(
        id=f"{kind}-{hashlib.sha256(kind.encode()).hexdigest()[:16]}",
        kind=kind,
        version="0.1.0",
        parents=(),
        inputs={},
        started="2026-11-22T10:00:00+00:00",
        seconds=12.5,
        measured={"peak_memory": 1e9},
    )


def write(folder: Path, files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return tuple(
        FileEntry(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )


def _made(kind: str, record: Any, root: Path) -> Made[Any]:
    folder = root / f"{kind}-folder"
    folder.mkdir(parents=True, exist_ok=True)
    return Made(record=record, stamp=stamp(kind), folder=folder)


def _weights(root: Path, licence: str, files: Mapping[str, bytes]) -> Made[Weights]:
    card = ModelCard(
        id=BASE,
        family="foundling",
        kind="decoder",
        nature="base",
        location=f"package:{BASE}",
        licence=licence,
        parameters=3_221_952,
        active_parameters=3_221_952,
        shape=SHAPE,
        config={},
        precision="bfloat16",
        context=1024,
        languages=("en",),
        tokens_seen=4_915_200,
        sources=(Source(url="docs/foundlings.md", read_on="2026-11-22"),),
        curated=True,
    )
    entries = write(root / "weights-folder" / "model", files)
    weights = Weights(card=card, commit=COMMIT, files=entries, precision="bfloat16", untrained_rows=2)
    return _made("weights", weights, root)


def _adapter(root: Path) -> Made[Adapter]:
    folder = root / "adapter-folder" / "adapter"
    entries = write(folder, {"adapter_config.json": b'{"r": 16}', "adapter_model.safetensors": b"A and B"})
    adapter = Adapter(
        base=BASE,
        base_commit=COMMIT,
        lora=LoraSettings(rank=16, alpha=32.0, targets=("q_proj", "v_proj")),
        train=TrainSettings(
            steps=40,
            batch_tokens=2048,
            micro_tokens=2048,
            learning_rate=2e-3,
            warmup=2,
            weight_decay=0.0,
            clip=1.0,
            seed=0,
        ),
        data_hash=DATA,
        layout=LAYOUT,
        bos=False,
        stop_ids=(0,),
        trainable=12_288,
        tokens=80_000,
        flops=4.0 * 3_221_952 * 80_000,
        first_loss=5.25,
        last_loss=0.31,
        sha256=entries[1].sha256,
    )
    return _made("adapter", adapter, root)


def _converted(root: Path, formats: tuple[str, ...]) -> Made[Converted]:
    folder = root / "converted-folder"
    model = write(
        folder, {"model/config.json": b'{"model_type": "llama"}', "model/model.safetensors": b"merged weights"}
    )
    artifacts = [_artifact("safetensors", "bfloat16", model)]
    for quantization in formats:
        files = write(folder, {f"gguf/model-{quantization}.gguf": b"GGUF " + quantization.encode()})
        artifacts.append(_artifact("gguf", quantization, files))
    converted = Converted(
        base=stamp("weights").id,
        adapter=stamp("adapter").id,
        artifacts=tuple(artifacts),
        skipped=("llama.cpp is not installed, so q8_0 was not run in it",),
    )
    return _made("converted", converted, root)


def _artifact(form: Any, quantization: str, files: tuple[FileEntry, ...]) -> Artifact:
    return Artifact(
        format=form,
        quantization=quantization,
        files=files,
        size=sum(entry.size for entry in files),
        checks=(check("largest difference in log-probability", value=1e-4, limit=1e-2),),
    )


def _task() -> Task:
    def items(split: str, n: int) -> tuple[Item, ...]:
        return tuple(
            Item(id=f"{split}{i}", text=f"The {split} party | pays `{i}` 'days' late – “{i}” 😀", label=LABELS[i % 3])
            for i in range(n)
        )

    return Task(
        name="contract-clauses",
        version="0123456789abcdef",
        kind="classify",
        labels=LABELS,
        layout=LAYOUT,
        shots=8,
        train=items("train", 9),
        choose=items("choose", 6),
        test=items("test", 6),
        ledger=Ledger(read=22, used=21, duplicates=1, near_duplicates=2, duplicate_examples=("same",)),
    )


def _interval(value: float, n: int = 6) -> Interval:
    return Interval(value=value, low=value - 0.1, high=value + 0.1, n=n, confidence=0.95, method="Wilson")


def _scores(model: str, accuracy: float, shots: int) -> Scores:
    return Scores(
        model=model,
        task="contract-clauses",
        split="test",
        version="1",
        metrics={"accuracy": _interval(accuracy), "bits": _interval(1.4 - accuracy)},
        majority=1 / 3,
        items=tuple(
            ItemScore(item=f"test{i}", answer="term", values={"accuracy": float(i % 2 == 0), "bits": 0.7})
            for i in range(6)
        ),
        expected=6,
        how=How(
            engine="torch",
            precision="float32",
            weights="beef",
            shots=shots,
            sampler="fixed",
            normalisation="none",
            stops=(),
            prompt_hash="f00d",
            prompt="Clause: a",
            prompt_ids=(1, 2, 3),
            bos=0,
        ),
    )


def _comparison(first: str, second: str) -> Comparison:
    return Comparison(
        first=first,
        second=second,
        difference=_interval(0.4),
        only_first=4,
        only_second=0,
        p_value=0.004,
        separated=True,
    )


def _proof() -> Proof:
    return Proof(
        before=_scores(BASE, 0.45, 8),
        after=_scores(f"{BASE} tuned", 0.85, 0),
        gain=_comparison(f"{BASE} tuned", BASE),
        general_bits_before=2.104,
        general_bits_after=2.131,
        checks=(check("general language is kept", value=0.013, limit=0.1),),
    )


def _certificate() -> Certificate:
    return Certificate(
        base=BASE,
        data_hash=DATA,
        rows=9,
        tokens=240,
        supervised_tokens=27,
        longest=31,
        labels={"payment": 3, "term": 3, "liability": 3},
        bos_id=None,
        eos_id=0,
        pad_id=1,
        overlays=(Overlay(item="train0", tokens=(("a word of a training row", False), (" term", True))),),
        checks=(check("every row is ended by a supervised EOS"),),
    )


def _choice() -> Choice:
    def standing(model: str, score: float) -> Standing:
        return Standing(
            model=model,
            kind="base model",
            parameters=3_221_952,
            few_shot=None,
            rungs=(Rung(examples=600, accuracy=_interval(score), bits=_interval(0.8)),),
            score=_interval(score),
            seeds=(score,),
            forecast=None,
            hint=None,
            costs=(),
            frontier=True,
            dropped=None,
            spent=Spent(examples=600, evaluations=12, tunings=1),
        )

    duel = Duel(
        first=BASE,
        second="foundling-code",
        difference=0.3,
        items=12,
        on_items=_interval(0.3),
        pool=_interval(0.3),
        seed_error=0.03,
        low=0.05,
        high=0.55,
        outcome="better",
    )
    question = Question(
        task="contract-clauses",
        decides="tuned",
        margin=0.01,
        confidence=0.95,
        rungs=(600,),
        target=3000,
        repeats=1,
        budget=None,
        seed=0,
    )
    return Choice(
        question=question,
        items=12,
        ranked=(standing(BASE, 0.8), standing("foundling-code", 0.5)),
        duels=(duel,),
        verdict="winner",
        winner=BASE,
        tied=(),
        beaten_by=(),
        seed_sd=0.012,
        spent=Spent(examples=1200, evaluations=24, tunings=2),
        exhaustive=Spent(examples=1200, evaluations=24, tunings=2),
        rule="highest accuracy after a pilot",
    )


def failing(proof: Made[Proof]) -> Made[Proof]:
    bad = check("general language is kept", value=0.5, limit=0.1, passed=False)
    return replace(proof, record=replace(proof.record, checks=(bad,)))
