"""Heads on every family that can be run: packed as transformers has them, written so that the airlock knows them, or
refused with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from basewright.catalog import architectures
from basewright.engine import classifier
from basewright.errors import ModelFileError, Refused, UsageError
from basewright.hub import airlock
from basewright.records import Head, Layout, LoraSettings
from basewright.text.encode import Encoded
from basewright.text.tokenizer import open_tokenizer
from basewright.train import adapters, losses
from basewright.train.objectives import Labelled
from basewright.train.opened import open_classifier
from tests.catalog import tiny
from tests.hub.test_families import ENCODERS, RUN, made
from tests.train.test_families import REFUSED

torch.set_num_threads(1)
NONE = {"olmoe"}
"""Families that transformers has no classification head for."""
HEADED = [name for name in RUN if tiny.CONFIGS[name]["model_type"] not in REFUSED | NONE]
ROWS = [tuple(range(5, 5 + length)) for length in (9, 9, 4, 17, 30, 3)]


def head(name: str) -> Head:
    return Head(labels=("a", "b", "c"), pad_id=1, pools="first" if name in ENCODERS else "last")


def model_of(folder: Path, name: str) -> Path:
    """As `made`, with the tokenizer's own padding: RoBERTa's positions count from that id."""
    made(folder, name)
    if "roberta" in name:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 1}))
    return folder


def packed(name: str) -> Any:
    read = 0 if name in ENCODERS else -1
    marked = [Encoded(row, tuple(i == read % len(row) for i in range(len(row)))) for row in ROWS]
    return Labelled(marked, [0, 1, 2, 0, 1, 2], head(name)).pack(range(len(ROWS)))


@pytest.mark.parametrize("name", HEADED)
def test_h070_packed_rows_get_the_loss_gradient_and_file_of_the_plain_model(name: str, tmp_path: Path) -> None:
    folder = model_of(tmp_path / "model", name)
    ours, plain = open_classifier(folder, head(name)).model, classifier.load(folder, head(name)).model
    row = packed(name)
    with torch.no_grad():
        logits, _ = losses.class_logits(ours, row)
        longest = max(map(len, ROWS))
        ids = torch.tensor([[*one, *[1] * (longest - len(one))] for one in ROWS])
        padded = plain(input_ids=ids, attention_mask=(ids != 1).int()).logits
    assert (logits - padded).abs().max() < 1e-4 * max(1.0, float(padded.abs().max()))
    losses.labels(ours, row).backward()
    apart = sum(plain(input_ids=torch.tensor([one]), labels=torch.tensor([i % 3])).loss for i, one in enumerate(ROWS))
    assert isinstance(apart, torch.Tensor)
    apart.backward()
    own, theirs = (
        torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]) for model in (ours, plain)
    )
    assert (own - theirs).norm() / theirs.norm() < 1e-4
    plain.save_pretrained(tmp_path / "written")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / file, tmp_path / "written" / file)
    assert airlock.inspect_classifier(tmp_path / "written")[1] == head(name)
    with pytest.raises(ModelFileError):
        airlock.inspect(tmp_path / "written")  # no engine that writes opens it


@pytest.mark.parametrize("name", ENCODERS)
def test_peft_alone_loads_an_encoders_adapter_with_all_of_its_head(name: str, tmp_path: Path) -> None:
    folder = model_of(tmp_path / "model", name)
    loaded = open_classifier(folder, head(name))
    lora = LoraSettings(rank=2, alpha=4.0, targets=architectures.targets(tiny.CONFIGS[name]))
    model = adapters.put_on(loaded.model, lora, 0, loaded.fresh)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.1)
        ours, _ = losses.class_logits(model, packed(name))
    model.save_pretrained(tmp_path / "adapter")
    airlock.inspect_adapter(tmp_path / "adapter")
    torch.manual_seed(5)
    plain = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    peft = PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    with torch.no_grad():
        theirs = torch.cat([peft(input_ids=torch.tensor([one])).logits for one in ROWS])
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_reads_whole_texts_in_any_batch(name: str, tmp_path: Path) -> None:
    folder = model_of(tmp_path / "model", name)
    engine = classifier.Classifier(
        "tiny",
        classifier.load(folder, head(name)).model,
        open_tokenizer(folder),
        head(name),
        Layout(prompt="{text}", separator="\n\n"),
    )
    texts = ["one clock", "two ropes hold more than 120 threads, says the book", "a"]
    assert engine.ids("a")[-1] == engine.tokenizer.eos_id
    together = engine.classify(texts)
    for said, text in zip(together, texts, strict=True):
        assert said.probabilities == pytest.approx(engine.classify([text])[0].probabilities, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in RUN if name not in HEADED])
def test_other_families_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises((Refused, UsageError), match=r"cannot be tuned here|no classification head"):
        open_classifier(model_of(tmp_path / "model", name), head(name))


def test_a_roberta_whose_positions_count_from_another_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pads with the token 0 and the tokenizer with 1"):
        open_classifier(made(tmp_path / "model", "roberta"), head("roberta"))
