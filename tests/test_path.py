"""The whole walk on small models: made once, found again, and stopped for real at every stage."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from basewright import store
from basewright.convert import gguf_writer
from basewright.errors import (
    BasewrightError,
    CannotSeparate,
    DataError,
    DoesNotFit,
    ModelFileError,
    Refused,
    UsageError,
)
from basewright.records import Adapter, Built
from basewright.release import verify
from basewright.stages import STAGES
from basewright.text import encode, layout
from basewright.text.encode import Encoded
from basewright.train import loop
from tests.models import tiny_llama
from tests.walks import Collected, prepare, rows, walk, write_rows


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built, Collected]:
    recipe = prepare(tmp_path_factory.mktemp("walk"))
    return recipe, *walk(recipe)


@pytest.fixture
def copied(first: tuple[Path, Built, Collected], tmp_path: Path) -> Path:
    """A recipe with everything of the first walk already in its runs folder."""
    shutil.copytree(first[0].parent, tmp_path / "walk")
    return tmp_path / "walk" / "recipe.toml"


@pytest.fixture
def fresh(first: tuple[Path, Built, Collected], tmp_path: Path) -> Path:
    """The same recipe and models, with nothing made yet."""
    shutil.copytree(first[0].parent, tmp_path / "walk", ignore=shutil.ignore_patterns("runs"))
    return tmp_path / "walk" / "recipe.toml"


def edit(recipe: Path, old: str, new: str) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))


def test_every_stage_was_made(first: tuple[Path, Built, Collected]) -> None:
    _, built, watch = first
    assert watch.stages == dict.fromkeys(STAGES, False)
    assert built.proof.record.after.accuracy.value > built.proof.record.before.accuracy.value
    assert all(check.passed for check in verify.verify(built.release.folder))


def test_the_second_time_every_stage_is_found(first: tuple[Path, Built, Collected]) -> None:
    recipe, built, _ = first
    again, watch = walk(recipe)
    assert [stage for stage, cached in watch.stages.items() if not cached] == ["read", "plan"]
    assert again.release.id == built.release.id


def test_another_rank_runs_tune_and_what_follows(copied: Path, first: tuple[Path, Built, Collected]) -> None:
    edit(copied, "rank = 8", "rank = 6")
    built, watch = walk(copied)
    assert [stage for stage, cached in watch.stages.items() if cached] == ["pull", "choose", "certify"]
    assert built.choice.id == first[1].choice.id
    assert built.adapter.record.lora.rank == 6


def test_one_more_candidate_measures_only_that_one(copied: Path) -> None:
    """Counted by the engine: what the others had answered stays as it was, and no pilot of theirs is made again."""
    tiny_llama(copied.parent / "three", seed=3, context=512, std=0.08)
    edit(copied, '"./one", "./two"', '"./one", "./two", "./three"')
    runs = copied.parent / "runs"
    answers, adapters = counted(runs), set(runs.glob("adapter-*"))
    _, watch = walk(copied)
    assert not watch.stages["choose"]
    now = counted(runs)
    assert answers.items() <= now.items()
    made = [store.load(folder, Adapter).record.base for folder in set(runs.glob("adapter-*")) - adapters]
    assert "three" in made
    assert len(now) - len(answers) == len([base for base in made if base == "three"])


def counted(runs: Path) -> dict[str, int]:
    """Answers kept, by file: one for each model and pilot."""
    found = {}
    for path in (runs / "answers").glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as answers:
            found[path.name] = answers.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
    return found


def test_two_walks_from_nothing_give_the_same_bytes(first: tuple[Path, Built, Collected], fresh: Path) -> None:
    again, _ = walk(fresh)
    for name in ("choice", "certificate", "adapter", "proof", "converted", "release"):
        one, two = getattr(first[1], name), getattr(again, name)
        assert one.record == two.record, name
        assert one.id == two.id
    for entry in store.entries(first[1].release.folder):
        if entry.name != store.RECORD:  # it carries when and how long
            assert store.sha256_of(again.release.folder / entry.name) == entry.sha256, entry.name


# --- every stage fails once, for real -------------------------------------------------------------


def stopped(recipe: Path, kind: type[BasewrightError], stage: str, says: str) -> None:
    """The walk stops at `stage` with one line that `says` so, a next command, and nothing half made."""
    with pytest.raises(kind, match=says) as caught:
        walk(recipe)
    assert caught.value.stage == stage
    assert "\n" not in caught.value.message
    assert caught.value.fix
    for folder in (recipe.parent / "runs").glob("*-*"):
        if folder.name != "work":
            assert store.faults(folder) == []


def test_read_overlapping_split(fresh: Path) -> None:
    write_rows(fresh.parent / "test.jsonl", rows(40, seed=9) + rows(160)[5:6])
    edit(fresh, "shots = 4", 'shots = 4\ntest = "test.jsonl"')
    stopped(fresh, Refused, "read", "test.jsonl overlaps the training rows")


def test_plan_the_impossible(fresh: Path) -> None:
    edit(fresh, "[choose]", '[limits]\nmemory = "10 MiB"\n[choose]')
    stopped(fresh, DoesNotFit, "plan", "no candidate fits; the closest is .* MiB of 10 MiB")


def test_plan_an_unknown_model(fresh: Path) -> None:
    edit(fresh, '"./one"', '"foundling-pose"')
    stopped(fresh, UsageError, "plan", "did you mean 'foundling-prose'")


def test_pull_a_truncated_model(fresh: Path) -> None:
    path = fresh.parent / "one" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    stopped(fresh, ModelFileError, "pull", "model.safetensors")


def test_choose_tied_candidates(fresh: Path) -> None:
    shutil.rmtree(fresh.parent / "two")
    shutil.copytree(fresh.parent / "one", fresh.parent / "two")
    edit(fresh, 'on_tie = "cheapest"\n', "")
    stopped(fresh, CannotSeparate, "choose", "cannot separate one, two")


def test_h065_certify_a_bad_loss_mask(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encode.example

    def loss_on_the_prompt(*args: Any) -> Encoded:
        row = real(*args)
        return replace(row, mask=(False, *(True for _ in row.mask[1:])))

    monkeypatch.setattr(encode, "example", loss_on_the_prompt)
    stopped(fresh, Refused, "certify", "loss counts on the answers and on nothing else: 89")


def test_h065_certify_an_eos_that_is_masked(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encode.example

    def pad_is_eos(*args: Any) -> Encoded:
        row = real(*args)
        return replace(row, mask=(*row.mask[:-1], False))

    monkeypatch.setattr(encode, "example", pad_is_eos)
    stopped(fresh, Refused, "certify", "every row learns to stop: 89")


def test_h049_tune_with_a_rate_that_diverges(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that a recipe may name can end in luck on data as small as this; no luck survives this one."""
    monkeypatch.setattr(loop, "learning_rate", lambda step, settings: 1e30)
    stopped(fresh, Refused, "choose", "the weights were not changed")


def test_prove_labels_that_mean_nothing(fresh: Path) -> None:
    noise = rows(160)
    draw = random.Random(3)
    for row in noise:
        row["label"] = draw.choice(["warm", "cold"])
    write_rows(fresh.parent / "rows.jsonl", noise)
    edit(fresh, "examples = 1600", "examples = 200")
    stopped(fresh, Refused, "prove", "tuning gained on held-out items|better than the most frequent label")


def test_h019_convert_a_wrong_rope_base(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(copied, '["gguf:f16", "gguf:q8_0"]', '["gguf:f16"]')
    real = gguf_writer.to_gguf

    def another_base(model: Path, out: Path, *more: Any) -> None:
        wrong = shutil.copytree(model, tmp_path / "wrong")
        config = json.loads((wrong / "config.json").read_text())
        config["rope_parameters"]["rope_theta"] = 500_000.0
        (wrong / "config.json").write_text(json.dumps(config))
        real(wrong, out, *more)

    monkeypatch.setattr("basewright.convert.stage.to_gguf", another_base)
    stopped(copied, Refused, "convert", r"rope\.freq_base is 500000")


def test_h009_convert_a_cut_gguf(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(copied, '["gguf:f16", "gguf:q8_0"]', '["gguf:f16"]')
    real = gguf_writer.to_gguf

    def cut(model: Path, out: Path, *more: Any) -> None:
        real(model, out, *more)
        out.write_bytes(out.read_bytes()[:-1000])

    monkeypatch.setattr("basewright.convert.stage.to_gguf", cut)
    stopped(copied, ModelFileError, "convert", "cut off")


def test_convert_an_unknown_format(copied: Path) -> None:
    edit(copied, '"gguf:q8_0"', '"gguf:q8"')
    stopped(copied, UsageError, "convert", "did you mean 'gguf:q8_0'")


def test_release_without_a_licence(fresh: Path) -> None:
    edit(fresh, 'licence = "CC0-1.0"\n', "")
    stopped(fresh, Refused, "release", "licence")


def test_a_damaged_result_is_made_again(copied: Path, first: tuple[Path, Built, Collected]) -> None:
    adapter = copied.parent / "runs" / first[1].adapter.id / "adapter" / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[len(content) // 2] ^= 1
    adapter.write_bytes(content)
    built, watch = walk(copied)
    assert not watch.stages["tune"]
    assert built.adapter.record == first[1].adapter.record
    assert list((copied.parent / "runs").glob("*.damaged-*"))


def test_rows_that_cannot_be_used(fresh: Path) -> None:
    write_rows(fresh.parent / "rows.jsonl", [*rows(40), {"text": "x y z", "label": "wram"}])
    stopped(fresh, DataError, "read", "'wram' is seen once")
    (fresh.parent / "rows.jsonl").write_text("")
    stopped(fresh, DataError, "read", "holds no rows")


def test_results_carry_no_path_of_this_machine(first: tuple[Path, Built, Collected]) -> None:
    recipe, built, _ = first
    for path in (recipe.parent / "runs").glob("*/record.json"):
        assert str(recipe.parent) not in path.read_text(), path.parent.name
    for path in built.release.folder.rglob("*"):
        if path.suffix in (".json", ".md", "") and path.is_file():
            assert str(recipe.parent) not in path.read_text("utf-8"), path.name
    assert json.loads((built.release.folder / "proof.json").read_text())


@pytest.mark.gguf
def test_llama_cpp_completes_with_the_gguf_that_was_built(first: tuple[Path, Built, Collected]) -> None:
    pytest.importorskip("llama_cpp", reason="the gguf extra is not installed")
    from basewright.engine import llama_cpp_lm, torch_lm
    from basewright.engine.lm import Sampling

    folder = first[1].release.folder
    prompt = layout.prompt(first[1].task.layout, first[1].task.test[0].text)
    trained = torch_lm.open_lm(folder / "model", "merged")
    native = llama_cpp_lm.open_lm(next((folder / "gguf").glob("*-f16.gguf")), folder / "model", "gguf")
    answers = ["".join(p.text for p in lm.generate(prompt, Sampling(max_tokens=8))) for lm in (trained, native)]
    assert answers[0] == answers[1]
    assert answers[0].strip() in first[1].task.labels  # and it stopped by itself after the label
