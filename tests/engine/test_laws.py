"""The laws of the waist, run over every engine: what may be asked in any way must be answered in one way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from basewright.engine import torch_lm
from basewright.engine.fake import FakeLM
from basewright.engine.lm import LM, Piece, Request, Sampling
from basewright.engine.remote import endpoint as remote
from basewright.errors import DataError
from basewright.text import encode
from tests.engine import stand_ins
from tests.models import tiny_llama

REQUESTS = (
    Request("The old clock on the wall", (" struck nine", " stopped", " sells sea shells by the shore")),
    Request("The old clock", (" on the wall",)),
    Request("Größe, naïve, fa", ("çade", "ade", "ćwierć")),
    Request(
        "The train leaves at \N{STEAM LOCOMOTIVE}\N{VARIATION SELECTOR-16}", ("07:45", " late", "\N{GRINNING FACE}")
    ),
    Request("", ("The", " the", "")),
    Request("She s", ("ells", "he", "", "e")),
)
ENGINES = (
    *("fake", "remote", "torch tree", "torch prefix", "torch none"),
    pytest.param("llama_cpp", marks=pytest.mark.gguf),
)
Near = Callable[[Any], Any]


@pytest.fixture(scope="module", params=ENGINES)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LM]:
    if request.param == "fake":
        yield FakeLM(context=128)
        return
    if request.param == "remote":
        fake = FakeLM(context=130)
        folder = stand_ins.save_tokenizer(fake.tokenizer, tmp_path_factory.mktemp("tokenizer"))
        with stand_ins.standing(stand_ins.Completions(fake)) as endpoint:
            yield remote.open_lm(endpoint.url, stand_ins.MODEL, folder, "fake")
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tiny_llama(tmp_path_factory.mktemp("llama"), seed=0)
    if request.param == "llama_cpp":
        pytest.importorskip("llama_cpp")
        yield llama_cpp_lm_of(folder)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch_lm, "_proven", lambda _: request.param.removeprefix("torch "))
            yield torch_lm.open_lm(folder, "tiny")
    torch.set_num_threads(threads)


def llama_cpp_lm_of(folder: Path) -> LM:
    from basewright.convert.gguf_writer import to_gguf
    from basewright.engine import llama_cpp_lm

    to_gguf(folder, folder / "tiny-f16.gguf", "f16", {})
    return llama_cpp_lm.open_lm(folder / "tiny-f16.gguf", folder, "tiny")


ROUNDING = {"fake": 1e-12, "remote": 1e-12, "torch": 1e-4, "llama_cpp": 2e-3}
"""Nats that arithmetic may cost: float64, float32, and kernels that round activations to float16 (2**-11 of each),
which llama.cpp chooses by how many ids it is given at once."""


@pytest.fixture(scope="module")
def near(lm: LM) -> Near:
    return lambda value: pytest.approx(value, abs=ROUNDING[lm.engine])


def nats(lm: LM, requests: Sequence[Request]) -> list[tuple[float, ...]]:
    return [tuple(one.nats for one in answer) for answer in lm.loglikelihood(requests)]


def rolled(lm: LM, texts: Sequence[str]) -> list[float]:
    return [one.nats for one in lm.rolling(texts)]


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def ids_of(pieces: Sequence[Piece]) -> list[int]:
    return [token.id for piece in pieces for token in piece.tokens]


# --- log-likelihood -------------------------------------------------------------------------------


def test_batching_changes_nothing(lm: LM, near: Near) -> None:
    together = nats(lm, REQUESTS)
    for request, answer in zip(REQUESTS, together, strict=True):
        assert nats(lm, [request])[0] == near(answer)


def test_order_changes_nothing(lm: LM, near: Near) -> None:
    assert nats(lm, REQUESTS[::-1])[::-1] == [near(answer) for answer in nats(lm, REQUESTS)]


def test_choices_do_not_see_each_other(lm: LM, near: Near) -> None:
    for request, answer in zip(REQUESTS, nats(lm, REQUESTS), strict=True):
        alone = [nats(lm, [Request(request.context, (choice,))])[0][0] for choice in request.continuations]
        assert alone == near(list(answer))


def test_a_shared_beginning_changes_nothing(lm: LM, near: Near) -> None:
    start = "She sells sea shells by the sea shore; the shells"
    requests = [Request(start + rest, (" she sells", " are surely", ".")) for rest in ("", " that", " she has")]
    shared = nats(lm, requests)
    mixed = nats(lm, [Request("Please", (" cancel",)), *requests])[1:]
    assert mixed == [near(answer) for answer in shared]


def test_answers_are_true_log_probabilities(lm: LM) -> None:
    answers = [value for answer in nats(lm, REQUESTS) for value in answer]
    assert all(math.isfinite(value) and value <= 0 for value in answers)


def test_what_follows_sums_to_one(lm: LM) -> None:
    every = Sampling(max_tokens=1, logprobs=lm.tokenizer.size)
    tokens = [token for piece in lm.generate("The old", every) for token in piece.tokens]
    for token in tokens:
        assert sum(math.exp(logprob) for _, logprob in token.top) == pytest.approx(1, abs=1e-5)


def test_the_chain_rule_holds(lm: LM, near: Near) -> None:
    context, first, second = "The old clock", " on", " the wall"
    whole, begun = nats(lm, [Request(context, (first + second, first))])[0]
    (rest,) = nats(lm, [Request(context + first, (second,))])[0]
    assert whole == near(begun + rest)


def test_an_empty_continuation_is_certain(lm: LM) -> None:
    assert nats(lm, [Request("The old clock", ("",)), Request("clock ", ("",)), Request("", ("",))]) == [(0.0,)] * 3
    assert nats(lm, [Request("nothing to score", ())]) == [()]
    assert nats(lm, []) == []


def test_a_continuation_merged_into_its_context_is_still_scored(lm: LM) -> None:
    for context, continuation in (("She s", "ells"), ("she", "lls"), ("th", "e"), ("sea shor", "e")):
        assert nats(lm, [Request(context, (continuation,))])[0][0] < 0


def test_a_space_at_the_end_of_the_context_belongs_to_the_continuation(lm: LM, near: Near) -> None:
    moved, plain = nats(lm, [Request("The old ", ("clock",)), Request("The old", (" clock",))])
    assert moved == near(plain)


def test_an_empty_context_is_the_start_of_a_text(lm: LM, near: Near) -> None:
    assert nats(lm, [Request("", ("The old clock",))])[0] == near((rolled(lm, ["The old clock"])[0],))


def test_an_overlong_text_is_refused_never_cut(lm: LM) -> None:
    long = "A rope of 12 strands. " * lm.context
    with pytest.raises(DataError, match="longer than the model's context"):
        nats(lm, [REQUESTS[0], Request(long, (" yes",))])
    with pytest.raises(DataError, match="longer than the model's context"):
        nats(lm, [Request("Is it?", (" yes", long))])
    with pytest.raises(DataError, match="longer than the model's context"):
        lm.generate(long, Sampling())


def test_the_longest_text_that_fits_is_scored(lm: LM) -> None:
    text = "z" * (lm.context - 3)
    while len(encode.prompt(lm.tokenizer, text)) + len(lm.tokenizer.ids(" y")) < lm.context:
        text += "z"
    assert nats(lm, [Request(text, (" y",))])[0][0] < 0


# --- whole texts ----------------------------------------------------------------------------------


def test_rolling_over_a_short_text_is_one_forward(lm: LM, near: Near) -> None:
    texts = ["Größe, naïve", "The old clock on the wall", "", "\N{GRINNING FACE}"]
    assert rolled(lm, texts) == near([nats(lm, [Request("", (text,))])[0][0] for text in texts])


def test_rolling_predicts_every_token_of_a_long_text(lm: LM) -> None:
    text = "She sells sea shells. " * 60
    tokens = len(lm.tokenizer.ids(text))
    assert tokens > 2 * lm.context
    once, twice = rolled(lm, [text, text + text])
    assert twice < 1.5 * once < 0
    assert once / tokens > -2 * math.log(lm.tokenizer.size)


# --- generation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["The old", "", "fa\u00e7", "She sells sea "])
def test_greedy_takes_the_likeliest(lm: LM, prompt: str) -> None:
    pieces = list(lm.generate(prompt, Sampling(max_tokens=24, logprobs=3)))
    tokens = [token for piece in pieces for token in piece.tokens]
    assert tokens
    for token in tokens:
        assert token.logprob == token.top[0][1] >= token.top[1][1] >= token.top[2][1]


def test_generated_log_probabilities_are_those_of_scoring(lm: LM) -> None:
    prompt = "The old clock"
    compared = 0
    for seed in range(100):
        pieces = list(lm.generate(prompt, Sampling(max_tokens=3, temperature=1.0, seed=seed)))
        tokens = [token for piece in pieces for token in piece.tokens]
        ids = lm.tokenizer.ids(prompt) + [token.id for token in tokens]
        if tokens and lm.tokenizer.ids(prompt + text_of(pieces)) == ids:  # drawn tokens need not be those of their text
            (scored,) = nats(lm, [Request(prompt, (text_of(pieces),))])[0]
            assert scored == pytest.approx(sum(token.logprob for token in tokens), abs=ROUNDING[lm.engine])
            compared += 1
    assert compared > 3


@pytest.mark.parametrize("seed", range(4))
def test_joined_pieces_are_the_text_of_all_ids(lm: LM, seed: int) -> None:
    pieces = list(lm.generate("The old", Sampling(max_tokens=60, temperature=1.0, seed=seed)))
    assert text_of(pieces) == lm.tokenizer.text(ids_of(pieces))
    assert "".join(token.text for piece in pieces for token in piece.tokens) == text_of(pieces)
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish in ("stop", "length")


def test_a_piece_comes_with_every_step_so_that_a_reader_can_leave(lm: LM) -> None:
    pieces = list(lm.generate("The old", Sampling(max_tokens=30, temperature=1.0, seed=1)))
    assert len(pieces) == len(ids_of(pieces)) + 1


def test_the_same_seed_gives_the_same_text(lm: LM) -> None:
    def draw(seed: int) -> str:
        return text_of(list(lm.generate("The old", Sampling(max_tokens=20, temperature=1.0, seed=seed))))

    assert draw(7) == draw(7)
    assert len({draw(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("stops", [(), ("e", "s s")])
def test_many_prompts_at_once_are_answered_as_one_by_one(lm: LM, stops: tuple[str, ...]) -> None:
    shared = "She sells sea shells by the sea shore. "
    prompts = [encode.prompt(lm.tokenizer, text) for text in ("The old clock", "She", shared, shared + "The", "", "z")]
    samplings = [Sampling(max_tokens=n, stops=stops) for n in (12, 0, 9, 30, 12, 25)]
    found = dict(lm.complete(prompts, samplings))
    assert sorted(found) == list(range(len(prompts)))
    for place, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True)):
        alone = list(lm.generate(prompt, sampling))
        assert (found[place].text, found[place].finish) == (text_of(alone), alone[-1].finish)
        assert ids_of([found[place]]) == ids_of(alone)


def test_two_answers_at_once_do_not_mix(lm: LM) -> None:
    """H091: each of two interleaved streams is what it is alone."""
    prompts, settings = ("The old clock", "She sells"), Sampling(max_tokens=12)
    alone = [text_of(list(lm.generate(prompt, settings))) for prompt in prompts]
    streams = [lm.generate(prompt, settings) for prompt in prompts]
    together: list[list[Piece]] = [[], []]
    for pair in zip(*streams, strict=False):
        for kept, piece in zip(together, pair, strict=True):
            kept.append(piece)
    for kept, stream in zip(together, streams, strict=True):
        kept.extend(stream)
    assert [text_of(kept) for kept in together] == alone


def test_max_tokens_is_held_and_said(lm: LM) -> None:
    for count in (0, 1, 5):
        pieces = list(lm.generate("The old", Sampling(max_tokens=count)))
        assert len(ids_of(pieces)) <= count
        if len(ids_of(pieces)) == count:
            assert pieces[-1].finish in ("length", "stop")


def test_an_answer_ends_where_the_context_does(lm: LM) -> None:
    prompt = "z" * (lm.context // 2)
    room = lm.context - len(encode.prompt(lm.tokenizer, prompt))
    pieces = list(lm.generate(prompt, Sampling(max_tokens=10_000, temperature=1.0, seed=3)))
    assert len(ids_of(pieces)) <= room
    if len(ids_of(pieces)) == room:
        assert pieces[-1].finish == "length"


def test_eos_ends_an_answer_with_stop(lm: LM) -> None:
    for seed in range(200):
        pieces = list(lm.generate("The end.", Sampling(max_tokens=60, temperature=1.3, seed=seed)))
        if pieces[-1].finish == "stop":
            assert len(ids_of(pieces)) < 60
            assert lm.tokenizer.eos_id not in ids_of(pieces)
            return
    pytest.fail("EOS never came")


def test_control_tokens_spelled_in_a_prompt_are_text(lm: LM) -> None:
    """H015."""
    (score,) = nats(lm, [Request("a", ("<|endoftext|>",))])[0]
    assert lm.tokenizer.eos_id not in lm.tokenizer.ids("<|endoftext|>")
    assert score < 0
