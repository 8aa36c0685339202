"""A real trained model with a SentencePiece-like tokenizer, against numbers its author and a numpy program made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from basewright.convert.gguf_writer import Quantization, to_gguf
from basewright.convert.readers import LlamaCpp, has_llama_cpp
from basewright.convert.stage import prove
from basewright.engine.torch_lm import open_lm
from basewright.text import encode
from tests.convert.stories260k import reference, stories260k

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stories260k(tmp_path_factory.mktemp("stories260k"))


def test_the_folder_is_the_model(folder: Path) -> None:
    """Reference: float64 numpy forward pass in the material's reference_numpy.json."""
    known: dict[str, Any] = reference()
    lm = open_lm(folder, "stories260K")
    assert encode.prompt(lm.tokenizer, known["para"]) == known["token_ids_with_bos"]
    nats = lm.rolling([known["para"]])[0].nats
    assert -nats / known["predicted_tokens"] == pytest.approx(known["mean_nll"], abs=1e-5)


@pytest.mark.parametrize("quantization", ["f16", "q8_0"])
def test_h019_it_passes_the_gate(quantization: Quantization, folder: Path, tmp_path: Path) -> None:
    known: dict[str, Any] = reference()
    to_gguf(folder, tmp_path / "a.gguf", quantization, {})
    texts = (known["para"], known["greedy_from_bos_text"], known["greedy_text"])
    checks, _ = prove(tmp_path / "a.gguf", open_lm(folder, "stories260K"), texts)
    assert [check for check in checks if not check.passed] == []
    ids = next(check for check in checks if check.name.endswith("transformers: token ids"))
    assert "left out: transformers rebuilds the space" in ids.how


@pytest.mark.gguf
@pytest.mark.skipif(not has_llama_cpp(), reason="llama-cpp-python is not here")
def test_llama_cpp_tells_the_author_s_story(folder: Path, tmp_path: Path) -> None:
    """Greedy from BOS: the 200 ids that the reference program chose."""
    known: dict[str, Any] = reference()
    to_gguf(folder, tmp_path / "a.gguf", "f16", {})
    ids: list[int] = known["greedy_from_bos_ids"]
    reader = LlamaCpp(tmp_path / "a.gguf", len(ids))
    assert reader.ids(known["para"]) == known["token_ids_with_bos"]
    assert reader.logprobs(ids).argmax(-1).tolist()[:-1] == ids[1:]
