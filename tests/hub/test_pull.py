from __future__ import annotations

import json
import shutil
import warnings
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from basewright import store
from basewright.catalog import cards
from basewright.engine.torch_lm import load_model, open_lm
from basewright.errors import ModelFileError, StoreError
from basewright.hub import airlock, pull
from basewright.plain import to_plain
from basewright.records import FileEntry, ModelCard, Weights
from basewright.store import Store, Work
from tests.hub.folders import CONFIG, random_tensors, weights, write, write_shards
from tests.models import tiny_llama


def work(folder: Path) -> Work:
    made = Work(scratch=folder / "scratch", out=folder / "scratch" / "out")
    made.out.mkdir(parents=True)
    return made


def card(folder: Path) -> ModelCard:
    return cards.get(str(folder))


def test_a_local_folder_is_copied_whole_and_described(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    (source / "pytorch_model.bin").write_bytes(b"left behind")
    job = work(tmp_path)
    made = pull.pull(card(source), job)
    assert made.files == store.entries(job.out / "model")
    assert made.files == airlock.inspect(job.out / "model")
    assert made.precision == "bfloat16"
    assert made.untrained_rows == 0
    assert (made.card.id, made.card.shape) == ("source", card(source).shape)


def test_a_record_holds_no_path_of_this_machine(tmp_path: Path) -> None:
    made = pull.pull(card(write(tmp_path / "source")), work(tmp_path))
    assert made.card.location == "model"
    assert str(tmp_path) not in json.dumps(to_plain(made))


def test_the_commit_is_of_the_content_and_of_nothing_else(tmp_path: Path) -> None:
    first = pull.pull(card(write(tmp_path / "a")), work(tmp_path / "1"))
    other = write(tmp_path / "elsewhere" / "b")
    (other / "notes.txt").write_text("not the model's")
    assert pull.pull(card(other), work(tmp_path / "2")).commit == first.commit
    (other / "model.safetensors").write_bytes(weights(random_tensors(seed=1)))
    assert pull.pull(card(other), work(tmp_path / "3")).commit != first.commit


def test_shards_and_their_precision(tmp_path: Path) -> None:
    made = pull.pull(card(write_shards(tmp_path / "source")), work(tmp_path / "1"))
    assert len(made.files) == 6
    whole = write(tmp_path / "whole", data=weights(random_tensors(), "F16"))
    assert pull.pull(card(whole), work(tmp_path / "2")).precision == "float16"


def test_a_shipped_model_is_found_by_its_package_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "package" / "foundlings" / "foundling-tiny")
    monkeypatch.setattr(pull, "files", lambda _name: tmp_path / "package")
    shipped = replace(card(source), location="package:foundling-tiny")
    made = pull.pull(shipped, work(tmp_path))
    assert made.card == shipped
    with pytest.raises(ModelFileError, match="not there"):
        pull.pull(replace(shipped, location="package:other"), work(tmp_path / "2"))
    with pytest.raises(ModelFileError, match="plain file name"):
        pull.pull(replace(shipped, location="package:../../x"), work(tmp_path / "3"))


SHIPPED = [one for one in cards.find() if one.location.startswith("package:")]


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda card: card.id)
def test_what_the_package_carries_is_what_its_card_says(tmp_path: Path, shipped: ModelCard) -> None:
    try:
        pull.locate(shipped)
    except ModelFileError:
        pytest.skip(f"needs foundlings/{shipped.id}")
    made = pull.pull(shipped, work(tmp_path))
    assert made.precision == shipped.precision
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {entry.name for entry in made.files}
    assert cards.get(str(tmp_path / "scratch" / "out" / "model")).context == shipped.context


def test_files_of_another_shape_than_the_card_are_refused(tmp_path: Path) -> None:
    right = card(write(tmp_path / "source"))
    wrong = replace(right, shape=replace(right.shape, layers=2))
    with pytest.raises(ModelFileError, match="another shape than its card"):
        pull.pull(wrong, work(tmp_path))


def test_h038_a_file_swapped_after_the_check_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "source")
    described = card(source)
    inspect = airlock.inspect

    def swapped(folder: Path) -> tuple[FileEntry, ...]:
        entries = inspect(folder)
        (folder / "new").write_bytes(weights(random_tensors(seed=9)))
        (folder / "new").rename(folder / "model.safetensors")
        return entries

    monkeypatch.setattr(airlock, "inspect", swapped)
    job = work(tmp_path)
    with pytest.raises(ModelFileError, match=r"model\.safetensors changed"):
        pull.pull(described, job)
    assert not (job.out / "model" / "model.safetensors").exists()


def test_h030_the_disk_is_reserved_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = card(write(tmp_path / "source"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(100, 99, 1))
    job = work(tmp_path)
    with pytest.raises(StoreError, match="disk full"):
        pull.pull(described, job)
    assert not list(job.out.iterdir())


def test_a_pull_is_a_result_of_the_store(tmp_path: Path) -> None:
    described = card(write(tmp_path / "source"))
    made, found = Store(tmp_path / "runs").make(
        "weights", {"card": described}, Weights, lambda w: pull.pull(described, w)
    )
    assert not found
    assert (made.folder / "model" / "model.safetensors").is_file()
    again, found = Store(tmp_path / "runs").make(
        "weights", {"card": described}, Weights, lambda w: pull.pull(described, w)
    )
    assert found
    assert again.record == made.record


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_was_pulled_opens_as_the_model_it_was(tmp_path: Path, precision: str) -> None:
    """A folder written by transformers passes, and the engine reads the same weights from the copy."""
    torch.set_num_threads(1)
    source = tiny_llama(tmp_path / "source", layers=1, width=32, tied=precision == "float32", precision=precision)
    job = work(tmp_path)
    made = pull.pull(card(source), job)
    assert made.precision == precision
    assert made.card.precision == precision
    ours, theirs = load_model(job.out / "model"), load_model(source)
    assert made.card.parameters == sum(p.numel() for p in ours.parameters())
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    assert open_lm(job.out / "model", "copy").tokenizer.size <= made.card.shape.vocabulary


def test_shards_written_by_transformers_pass(tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    source = tiny_llama(tmp_path / "source", layers=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LlamaForCausalLM.from_pretrained(source).save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, tmp_path / "sharded" / name)
    made = pull.pull(card(tmp_path / "sharded"), work(tmp_path))
    assert sum(entry.name.endswith(".safetensors") for entry in made.files) > 1
    assert made.precision == "float32"


def test_the_hand_made_model_is_one_that_transformers_opens(tmp_path: Path) -> None:
    model = load_model(write(tmp_path / "source"))
    assert model.config.vocab_size == CONFIG["vocab_size"]
