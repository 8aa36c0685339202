"""stories260K, a language model others trained, gives through the engine the numbers a program without torch gave."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from basewright.engine.lm import Request, Sampling
from basewright.engine.torch_lm import TorchLM, open_lm
from basewright.evaluate.perplexity import bits_per_byte
from tests.convert.stories260k import SOURCE, reference, stories260k

NATS = 1e-3


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> TorchLM:
    torch.set_num_threads(1)
    return open_lm(stories260k(tmp_path_factory.mktemp("stories260k")), "stories260K")


@pytest.fixture(scope="module")
def known(lm: TorchLM) -> dict[str, Any]:
    """Float64 numpy forward pass, reference_numpy.json of the material."""
    return reference()


def test_perplexity_of_a_paragraph(lm: TorchLM, known: dict[str, Any]) -> None:
    total = lm.rolling([known["para"]])[0].nats
    assert -total == pytest.approx(sum(known["per_token_nll"]), abs=NATS)
    assert -total / known["predicted_tokens"] == pytest.approx(known["mean_nll"], abs=1e-5)
    assert bits_per_byte(lm, [known["para"]]) == pytest.approx(known["bits_per_byte"], abs=1e-5)


def test_likelihood_of_every_ending_of_the_paragraph(lm: TorchLM, known: dict[str, Any]) -> None:
    """Each place before a word as context, and the whole paragraph after BOS alone."""
    text, nats = known["para"], known["per_token_nll"]
    cuts = [at for at, letter in enumerate(text) if letter == " "]
    answers = lm.loglikelihood([Request(text[:at], (text[at:],)) for at in (0, *cuts)])
    for at, (answer,) in zip((0, *cuts), answers, strict=True):
        border = len(lm.tokenizer.ids(text[:at])) if at else 0
        assert -answer.nats == pytest.approx(sum(nats[border:]), abs=NATS), text[at:]


def test_words_that_may_begin_a_text(lm: TorchLM, known: dict[str, Any]) -> None:
    """Against the reference's logits after BOS, all words in one request."""
    expected = torch.tensor(known["logits_after_bos"], dtype=torch.float64).log_softmax(0)
    words = [word for word in ("He", "a", "the", "and", "to", "was") if len(lm.tokenizer.ids(word)) == 1]
    assert len(words) > 3
    answers = lm.loglikelihood([Request("", tuple(words))])[0]
    for word, answer in zip(words, answers, strict=True):
        assert answer.nats == pytest.approx(float(expected[lm.tokenizer.ids(word)[0]]), abs=NATS), word


def test_greedy_continuation(lm: TorchLM, known: dict[str, Any]) -> None:
    ids = known["greedy_ids"][len(known["prompt_ids"]) :]
    pieces = list(lm.generate(known["prompt"], Sampling(max_tokens=len(ids))))
    assert known["prompt"] + "".join(piece.text for piece in pieces) == known["greedy_text"]
    assert [token.id for piece in pieces for token in piece.tokens] == ids


def test_the_author_s_story(lm: TorchLM, known: dict[str, Any]) -> None:
    """200 greedy steps from BOS, as the author's own program printed them."""
    ids = known["greedy_from_bos_ids"][1:]
    pieces = list(lm.generate("", Sampling(max_tokens=len(ids))))
    assert "".join(piece.text for piece in pieces) == (SOURCE / "expected_stdout_200steps.txt").read_text().strip()
    assert [token.id for piece in pieces for token in piece.tokens] == ids
