"""A model of every family that can be run: through the airlock into the engine, where it answers as the plain model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from basewright.catalog import cards
from basewright.catalog.allowed import SUPPORTED
from basewright.catalog.architectures import FAMILIES
from basewright.engine import torch_lm
from basewright.engine.lm import Pair
from basewright.errors import ModelFileError, UsageError
from basewright.hub import airlock
from basewright.serve.artifact import open_artifact
from basewright.text.tokenizer import open_tokenizer
from tests import models
from tests.catalog import tiny

torch.set_num_threads(1)
RUN = [name for name, config in tiny.CONFIGS.items() if config["model_type"] in SUPPORTED and name not in tiny.REFUSED]
ENCODERS = [name for name in RUN if FAMILIES[tiny.CONFIGS[name]["model_type"]].kind == "encoder"]
DECODERS = [name for name in RUN if name not in ENCODERS]
LENGTHS = ("max_position_embeddings", "n_positions")


def made(folder: Path, name: str, *, context: int = 128, **changes: Any) -> Path:
    """A saved model of `name` with random weights, wide enough that nothing is flat, and a tokenizer beside it."""
    folder.mkdir(exist_ok=True)
    tokenizer = models.tiny_tokenizer(folder, context=context)
    config = {**tiny.CONFIGS[name], **changes, "vocab_size": tokenizer.get_vocab_size()}
    if config["model_type"] == "modernbert":  # whose defaults are ids of its own vocabulary
        config |= dict.fromkeys(("cls_token_id", "sep_token_id"), 0)
    config |= {key: context for key in LENGTHS if key in config}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tiny.build(config, tiny.class_of(name))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0.0, 0.2)
        model.save_pretrained(folder)
    return folder


def test_every_family_that_can_be_run_has_an_example() -> None:
    assert {tiny.CONFIGS[name]["model_type"] for name in RUN} == set(SUPPORTED)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_passes_the_airlock_and_continues_no_text(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", name)
    assert {"model.safetensors", "config.json"} <= {entry.name for entry in airlock.inspect(folder)}
    assert cards.card_from_folder(folder).kind == "encoder"
    with pytest.raises(UsageError, match="continues no text"):
        torch_lm.open_lm(folder, "tiny")
    with pytest.raises(UsageError, match="continues no text"):
        open_artifact(folder)


@pytest.mark.parametrize("name", DECODERS)
def test_a_model_passes_the_airlock_and_answers_as_the_plain_model_does(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", name)
    assert {"model.safetensors", "config.json"} <= {entry.name for entry in airlock.inspect(folder)}
    assert cards.card_from_folder(folder).parameters > 0
    lm = torch_lm.open_lm(folder, "tiny")
    tokenizer = open_tokenizer(folder)
    pairs = [Pair(tuple(tokenizer.ids(text)[:24]), tuple(tokenizer.ids(text)[24:30])) for text in models.TEXTS[:3]]
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    for place, answer in lm.score(pairs):
        context, continuation = pairs[place].context, pairs[place].continuation
        with torch.inference_mode():
            logits = plain(torch.tensor([[*context, *continuation]]), use_cache=False).logits[0].log_softmax(-1)
        told = [logits[len(context) - 1 + i, token].item() for i, token in enumerate(continuation)]
        assert answer.logprobs == pytest.approx(told, abs=2e-4)


def stored(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return tensors


def store(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_old_files_without_the_models_own_name_before_their_tensors_are_taken(tmp_path: Path) -> None:
    """As the first GPT-2 lies on its hub: `wte.weight`, and a mask in each layer."""
    folder = made(tmp_path / "model", "gpt2")
    told = [answer for _, answer in torch_lm.open_lm(folder, "new").score([Pair((5, 6, 7), (8, 9))])]
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 128, 128) for layer in range(3)}
    store(folder, {name.removeprefix("transformer."): tensor for name, tensor in stored(folder).items()} | masks)
    airlock.inspect(folder)
    assert [answer for _, answer in torch_lm.open_lm(folder, "old").score([Pair((5, 6, 7), (8, 9))])] == told


def test_old_berts_with_other_names_of_norms_and_a_guess_about_sentences_are_taken(tmp_path: Path) -> None:
    """As bert-base-uncased lies on its hub."""
    folder = made(tmp_path / "model", "bert")
    ids = torch.arange(5, 25)[None]
    told = torch_lm.load_model(folder)(ids).logits
    names = {
        name: name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta") for name in stored(folder)
    }
    extra = {"bert.pooler.dense.weight": (32, 32), "bert.pooler.dense.bias": (32,), "cls.seq_relationship.bias": (2,)}
    held = {names[name]: tensor for name, tensor in stored(folder).items()}
    store(folder, held | {name: torch.ones(shape) for name, shape in extra.items()})
    airlock.inspect(folder)
    assert torch.equal(torch_lm.load_model(folder)(ids).logits, told)


@pytest.mark.parametrize("name", RUN)
def test_no_family_takes_a_file_that_lacks_a_tensor_or_holds_another(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", name)
    whole = stored(folder)
    for missing in list(whole)[:: max(1, len(whole) // 6)]:
        store(folder, {name: tensor for name, tensor in whole.items() if name != missing})
        with pytest.raises(ModelFileError, match=r"lack|hold"):
            airlock.inspect(folder)
    store(folder, whole | {"model.layers.0.extra.weight": torch.ones(2)})
    with pytest.raises(ModelFileError, match="extra"):
        airlock.inspect(folder)


@pytest.mark.parametrize("name", RUN)
def test_h005_no_family_lets_a_key_that_runs_code_pass(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", name)
    config = json.loads((folder / "config.json").read_text())
    for poisoned in (
        {**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        {**config, "transformers.js_config": {"inner": [{"_attn_implementation_internal": "someone/kernel"}]}},
        {**config, "rope_scaling": {"rope_type": "default", "trust_remote_code": True}},
        {**config, "made_up": 1},
    ):
        (folder / "config.json").write_text(json.dumps(poisoned))
        with pytest.raises(ModelFileError):
            airlock.inspect(folder)


@pytest.mark.parametrize("name", RUN)
def test_h016_no_family_takes_a_tokenizer_larger_than_its_embedding(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", name)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 5000, "content": "<|far|>"})
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(ModelFileError, match="5000"):
        airlock.inspect(folder)
