"""The engine over vLLM, against a stand-in with the documented interface of `vllm.LLM`; vLLM itself is not here."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from basewright import signals
from basewright.engine import draw, vllm_lm
from basewright.engine.fake import FakeLM
from basewright.engine.lm import Pair, Piece, Request, Sampling
from basewright.errors import BasewrightError, DataError, Interrupted, UsageError
from tests.engine.stand_ins import save_tokenizer

FAKE = FakeLM(context=130)
REQUESTS = [
    Request("The old clock on the wall", (" struck nine", " stopped", "")),
    Request("Größe, naïve, fa", ("çade", "\N{GRINNING FACE}")),
    Request("", ("The", " the")),
]


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """The fields the engine sets, with vLLM's defaults; another field is a TypeError, as it is there."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True


@dataclass(slots=True)
class Logprob:
    logprob: float
    rank: int | None
    decoded_token: str | None = None


@dataclass(slots=True)
class LLM:
    model: str
    dtype: str
    trust_remote_code: bool
    calls: list[tuple[int, SamplingParams]] = field(default_factory=list)

    @property
    def llm_engine(self) -> Any:
        return SimpleNamespace(model_config=SimpleNamespace(max_model_len=FAKE.context))

    def generate(self, prompts: list[dict[str, Any]], *, sampling_params: SamplingParams, use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        self.calls.append((len(prompts), sampling_params))
        return [self._answer(prompt["prompt_token_ids"], sampling_params) for prompt in prompts]

    def _answer(self, ids: list[int], params: SamplingParams) -> Any:
        assert params.max_tokens
        assert len(ids) + params.max_tokens <= FAKE.context
        prompt = None
        if params.prompt_logprobs is not None:
            prompt = [None, *(_row(ids[:at], ids[at], params.prompt_logprobs) for at in range(1, len(ids)))]
        settings = Sampling(temperature=params.temperature, top_p=params.top_p, seed=params.seed or 0)
        made: list[int] = []
        finish = "length"
        for token in draw.tokens(FAKE.tokenizer, FAKE._predict, ids, params.max_tokens, settings):
            made.append(token.id)
            text = FAKE.tokenizer.text(made)
            ends = [FAKE.tokenizer.eos_id, *(params.stop_token_ids or ())]
            if token.id in ends or any(stop in text for stop in params.stop or ()):
                finish = "stop"
                break
        rows = [_row([*ids, *made[:at]], number, params.logprobs or 0) for at, number in enumerate(made)]
        logprobs = None if params.logprobs is None else rows
        output = SimpleNamespace(token_ids=made, logprobs=logprobs, finish_reason=finish)
        return SimpleNamespace(prompt_logprobs=prompt, outputs=[output])


def _row(before: list[int], number: int, count: int) -> dict[int, Logprob]:
    row = FAKE._predict(before)
    top = (-row).argsort(kind="stable")[:count].tolist()
    return {n: Logprob(float(row[n]), int((row >= row[n]).sum())) for n in dict.fromkeys([number, *top])}


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> vllm_lm.VllmLM:
    module = ModuleType("vllm")
    vars(module).update(LLM=LLM, SamplingParams=SamplingParams, TokensPrompt=dict)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return vllm_lm.open_lm(save_tokenizer(FAKE.tokenizer, tmp_path), "fake", "float32")


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UsageError) as caught:
        vllm_lm.open_lm(tmp_path, "a")
    assert "pip install vllm" in caught.value.fix


def test_it_is_opened_without_remote_code(lm: vllm_lm.VllmLM, tmp_path: Path) -> None:
    assert (lm.model.model, lm.model.dtype, lm.model.trust_remote_code) == (str(tmp_path), "float32", False)
    assert (lm.engine, lm.precision, lm.context) == ("vllm", "float32", 128)


def test_scores_are_those_of_the_model_in_one_call(lm: vllm_lm.VllmLM) -> None:
    assert lm.loglikelihood(REQUESTS) == FAKE.loglikelihood(REQUESTS)
    ((count, params),) = lm.model.calls
    assert count == 6
    assert params == SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False)


def test_batches_are_bounded_and_change_nothing(lm: vllm_lm.VllmLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_lm, "BATCH_TOKENS", 40)
    ticks: list[int] = []
    texts = [f"{n} clocks on {n * n} walls" for n in range(20)]
    assert lm.rolling(texts, lambda _what, done, _total: ticks.append(done)) == FAKE.rolling(texts)
    assert max(count for count, _ in lm.model.calls) == 2
    assert ticks == list(range(1, 21))


@pytest.mark.parametrize("stops", [(), ("a", "e")])
@pytest.mark.parametrize("seed", range(4))
def test_text_is_that_of_the_model(lm: vllm_lm.VllmLM, seed: int, stops: tuple[str, ...]) -> None:
    def plain(piece: Piece) -> tuple[Any, ...]:
        return piece.text, [(t.id, t.text, t.logprob, t.top) for t in piece.tokens], piece.finish

    settings = Sampling(max_tokens=40, temperature=1.0, seed=seed, stops=stops, logprobs=3)
    found, expected = lm.generate("The old", settings), FAKE.generate("The old", settings)
    assert [plain(piece) for piece in found] == [plain(piece) for piece in expected]
    ids = [FAKE.tokenizer.eos_id, *FAKE.tokenizer.ids("The old")]
    assert "".join(p.text for p in lm.generate(ids, settings)) == "".join(p.text for p in FAKE.generate(ids, settings))


def test_no_room_makes_no_call(lm: vllm_lm.VllmLM) -> None:
    (piece,) = lm.generate("a", Sampling(max_tokens=0))
    assert (piece.text, piece.finish, lm.model.calls) == ("", "length", [])


def test_an_overlong_text_is_refused_never_cut(lm: vllm_lm.VllmLM) -> None:
    longest = "a" * (lm.context - 1)
    assert lm.loglikelihood([Request(longest, ("b",))]) == FAKE.loglikelihood([Request(longest, ("b",))])
    for ask in (lambda: lm.loglikelihood([Request(longest + "a", ("b",))]), lambda: lm.generate("a" * 128, Sampling())):
        with pytest.raises(DataError, match="longer than the model's context"):
            ask()


def test_equally_likely_tokens_are_each_the_likeliest() -> None:
    """vLLM ranks by how many are at least as likely, so that neither of two has rank 1."""
    row = {65: Logprob(-0.7, 2), 66: Logprob(-0.7, 2)}
    assert vllm_lm._likelihood(Pair((1,), (65,)), [None, row]).greedy
    assert not vllm_lm._likelihood(Pair((1,), (65,)), [None, {65: Logprob(-0.8, 2), 66: Logprob(-0.7, 1)}]).greedy


def test_answers_without_log_probabilities_are_one_line() -> None:
    several: tuple[Any, ...] = (None, [None], [None, {}, {}])
    for rows in several:
        with pytest.raises(BasewrightError, match="no log-probabilities"):
            vllm_lm._likelihood(Pair((1,), (65,)), rows)


def test_h050_a_signal_ends_it_between_batches(lm: vllm_lm.VllmLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_lm, "BATCH_TOKENS", 1)
    found = lm.score([Pair((65,), (66,))] * 5)
    next(found)
    monkeypatch.setattr(signals, "_received", [2])
    with pytest.raises(Interrupted):
        list(found)
    assert len(lm.model.calls) == 1
