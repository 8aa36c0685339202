"""Endpoints: what they say is read right or refused in one line, and a key goes nowhere but where it belongs."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright import signals
from basewright.engine.fake import FakeLM
from basewright.engine.lm import Pair, Piece, Request, Sampling
from basewright.engine.remote import endpoint as remote
from basewright.engine.remote import streaming, transport
from basewright.engine.remote.endpoint import RemoteLM
from basewright.engine.remote.key import open_wire
from basewright.engine.remote.ways import WAYS, Unread
from basewright.engine.remote.work import polled
from basewright.errors import BasewrightError, DataError, Interrupted, UsageError
from tests.engine.stand_ins import MODEL, Answer, Completions, Reply, Seen, Standing, Style, as_json, refused, standing
from tests.engine.stand_ins import save_tokenizer as save
from tests.models import tiny_llama, tiny_tokenizer
from tests.serve.serving import running

LM = FakeLM(context=130)
KEY = "sk-canary-0123456789abcdef"
REQUESTS = [
    Request("The old clock on the wall", (" struck nine", " stopped", "")),
    Request("Größe, naïve, fa", ("çade", "\N{GRINNING FACE}")),
    Request("", ("The", " the")),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PAUSE", 0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(LM.tokenizer, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BASEWRIGHT_API_KEY", KEY)
    return KEY


@pytest.fixture
def vllm() -> Iterator[Standing]:
    with standing(Completions(LM)) as endpoint:
        yield endpoint


def opened(endpoint: Standing, folder: Path, **settings: Any) -> RemoteLM:
    return remote.open_lm(endpoint.url, MODEL, folder, "fake", **{"context": LM.context, **settings})


def primed(endpoint: Standing, folder: Path, **settings: Any) -> RemoteLM:
    """An engine that knows its way, so that the next request is the one for an answer."""
    lm = opened(endpoint, folder, **settings)
    lm.loglikelihood([Request("a", ("b",))])
    list(lm.generate("a", Sampling(max_tokens=1)))
    endpoint.seen.clear()
    return lm


def text_of(pieces: Iterator[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


# --- what endpoints say ---------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["vllm", "openai", "together"])
def test_scores_are_those_of_the_engine_behind(style: Style, folder: Path) -> None:
    with standing(Completions(LM, style)) as endpoint:
        lm = opened(endpoint, folder)
        assert lm.loglikelihood(REQUESTS) == LM.loglikelihood(REQUESTS)
        likeliest = text_of(LM.generate("The old", Sampling(max_tokens=1)))
        for continuation in (likeliest, "~"):
            request = Request("The old", (continuation,))
            assert lm.loglikelihood([request]) == LM.loglikelihood([request])
        asked = [seen.json["prompt"] for seen in endpoint.seen if seen.method == "POST"]
        assert isinstance(asked[-1], str) == (style == "together")
        assert (lm.engine, lm.precision, lm.context) == ("remote", "as served", 128)


@pytest.mark.parametrize("style", ["vllm", "openai", "together", "llama-server"])
@pytest.mark.parametrize("stops", [(), ("a",), ("\N{REPLACEMENT CHARACTER}", "e", "i", "o", "u", "zz")])
def test_text_is_that_of_the_engine_behind(style: Style, stops: tuple[str, ...], folder: Path) -> None:
    with standing(Completions(LM, style)) as endpoint:
        lm = opened(endpoint, folder)
        for seed in range(4):
            settings = Sampling(max_tokens=40, temperature=1.0, seed=seed, stops=stops)
            expected, found = list(LM.generate("The old", settings)), list(lm.generate("The old", settings))
            assert text_of(iter(found)) == text_of(iter(expected))
            assert found[-1].finish == expected[-1].finish
            assert all(piece.finish is None for piece in found[:-1])
            if style in ("vllm", "llama-server"):
                assert [token.id for p in found for token in p.tokens] == [t.id for p in expected for t in p.tokens]


def test_a_prompt_of_ids_is_asked_as_it_is(folder: Path) -> None:
    ids = [LM.tokenizer.eos_id, *LM.tokenizer.ids("The old")]
    for style in ("vllm", "together"):
        with standing(Completions(LM, style)) as endpoint:
            found = opened(endpoint, folder).generate(ids, Sampling(max_tokens=9))
            assert text_of(found) == text_of(LM.generate("The old", Sampling(max_tokens=9)))


def test_an_endpoint_that_only_generates_says_so_in_one_line(folder: Path) -> None:
    with standing(Completions(LM, "llama-server")) as endpoint:
        lm = opened(endpoint, folder)
        with pytest.raises(UsageError, match=r"no log-probabilities of a prompt: .*echo") as caught:
            lm.loglikelihood(REQUESTS)
        assert "vLLM" in caught.value.fix
        assert lm.spent.requests == 4


def test_our_own_server_generates_and_does_not_score(folder: Path) -> None:
    with running(FakeLM(name="fake", context=128)) as server:
        lm = remote.open_lm(server.base_url, "fake", folder, "fake", context=128)
        assert text_of(lm.generate("The old", Sampling(max_tokens=12))) == text_of(
            LM.generate("The old", Sampling(max_tokens=12))
        )
        with pytest.raises(UsageError, match="echo is not offered here"):
            lm.loglikelihood(REQUESTS)


def test_openais_own_client_can_talk_to_the_stand_in() -> None:
    with (
        standing(Completions(LM, "openai", KEY)) as endpoint,
        openai.OpenAI(base_url=endpoint.url, api_key=KEY, max_retries=0) as client,
    ):
        ids = [LM.tokenizer.eos_id, *LM.tokenizer.ids("The old")]
        answer = client.completions.create(model=MODEL, prompt=ids, echo=True, logprobs=1, max_tokens=1)
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.token_logprobs is not None
        (expected,) = LM.loglikelihood([Request("", ("The old",))])[0]
        assert tuple(logprobs.token_logprobs[1:-1]) == expected.logprobs
        stream = client.completions.create(model=MODEL, prompt="The old", max_tokens=9, temperature=0, stream=True)
        text = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
        assert text == text_of(LM.generate("The old", Sampling(max_tokens=9)))
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model=MODEL, prompt="a", extra_body={"prompt_logprobs": 1})


@pytest.mark.gguf
def test_h074_the_echo_of_llama_cpp_python_is_read_right(tmp_path: Path) -> None:
    """It takes texts alone, adds the start token, and hides it."""
    llama_cpp = pytest.importorskip("llama_cpp")
    from basewright.convert.gguf_writer import to_gguf
    from basewright.engine import llama_cpp_lm

    model = tiny_llama(tmp_path / "model")
    gguf = tmp_path / "tiny-f16.gguf"
    to_gguf(model, gguf, "f16", {})
    library = llama_cpp.Llama(str(gguf), logits_all=True, n_ctx=256, verbose=False)
    lock = threading.Lock()

    def answer(seen: Seen) -> Reply:
        known = ("prompt", "max_tokens", "temperature", "echo", "logprobs")
        asked = {name: value for name, value in seen.json.items() if name in known}
        if not isinstance(asked["prompt"], str):
            return refused("prompt: Input should be a valid string", 422)
        with lock:
            return as_json(json.loads(json.dumps(library.create_completion(**asked), default=float)))

    requests = [REQUESTS[0], Request("A rope of 12 strands", (" holds more", " sells sea shells by the shore"))]
    with standing(answer) as endpoint:
        lm = remote.open_lm(endpoint.url, "tiny", model, "tiny", context=128)
        found = lm.loglikelihood(requests)
        with pytest.raises(BasewrightError, match="no log-probability of the first token"):
            lm.loglikelihood([Request("", ("The",))])
    library.close()
    for ours, theirs in zip(llama_cpp_lm.open_lm(gguf, model, "tiny").loglikelihood(requests), found, strict=True):
        assert [one.nats for one in theirs] == pytest.approx([one.nats for one in ours], abs=0.05)
        assert [one.greedy for one in theirs] == [one.greedy for one in ours]


def test_h074_a_missing_start_token_is_found_out(folder: Path) -> None:
    """An endpoint that hides the start token and one that adds none repeat the same tokens; their counts differ."""
    completions = Completions(LM, "openai")

    def without(seen: Seen) -> Reply:
        if not isinstance(seen.json["prompt"], str):
            return refused("prompt: expected a string")
        reply = completions(seen)
        value = json.loads(reply.body)
        if "choices" in value:
            row = value["choices"][0]["logprobs"]
            for name in ("tokens", "token_logprobs", "top_logprobs"):
                row[name] = row[name][1:]
            row["token_logprobs"][0] = None
            value["usage"]["prompt_tokens"] -= hidden
            return as_json(value)
        return reply

    for hidden in (0, 1):
        with standing(without) as endpoint:
            lm = opened(endpoint, folder)
            if hidden:
                with pytest.raises(UsageError, match="tokenizer is not the one given"):
                    lm.loglikelihood(REQUESTS[:1])
            else:
                assert lm.loglikelihood(REQUESTS[:1]) == LM.loglikelihood(REQUESTS[:1])


def test_the_window_is_found_where_it_is_said(tmp_path: Path, folder: Path) -> None:
    for style in ("vllm", "together", "llama-server"):
        with standing(Completions(LM, style)) as endpoint:
            assert remote.open_lm(endpoint.url, MODEL, folder, "fake").context == 128
    with standing(Completions(LM, "openai")) as endpoint:
        told = save(LM.tokenizer, tmp_path / "told", context=64)
        assert remote.open_lm(endpoint.url, MODEL, told, "fake").context == 62
        assert remote.open_lm(endpoint.url, MODEL, told, "fake", context=32).context == 30
        with pytest.raises(UsageError, match="nothing says how many tokens"):
            remote.open_lm(endpoint.url, MODEL, folder, "fake")
    with standing(lambda _: refused("no list here", 404)) as endpoint:
        assert remote.open_lm(endpoint.url, MODEL, told, "fake").context == 62


def test_what_was_spent_is_counted(vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder, price_per_million=2.0)
    before = (lm.spent.requests, lm.spent.prompt_tokens, lm.spent.completion_tokens)
    lm.loglikelihood([Request("abc", ("de", "f"))])
    spent = lm.spent
    assert (spent.requests, spent.prompt_tokens, spent.completion_tokens) == (
        before[0] + 2,
        before[1] + 11,
        before[2] + 2,
    )
    assert spent.money == pytest.approx((spent.prompt_tokens + spent.completion_tokens) * 2e-6)
    list(lm.generate("abc", Sampling(max_tokens=5)))
    assert spent.prompt_tokens == before[1] + 15
    assert opened(vllm, folder).spent.money is None


def test_requests_in_flight_are_bounded_and_answers_come_as_they_come(folder: Path) -> None:
    lock, inside, most = threading.Lock(), 0, 0
    others = threading.Semaphore(0)
    completions = Completions(LM)

    def slow(seen: Seen) -> Reply:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if seen.method == "POST" and seen.json["prompt"][1:] == LM.tokenizer.ids("slowly"):
            assert all(others.acquire(timeout=10) for _ in range(1 + 12))  # one to find the way
            time.sleep(0.2)
        else:
            time.sleep(0.01)
            others.release()
        with lock:
            inside -= 1
        return completions(seen)

    with standing(slow) as endpoint:
        lm = opened(endpoint, folder, in_flight=3)
        texts = ["slowly", *(f"text {n}" for n in range(12))]
        pairs = [Pair((LM.tokenizer.eos_id,), tuple(LM.tokenizer.ids(text))) for text in texts]
        ticks: list[int] = []
        places = [place for place, _ in lm.score(pairs, lambda _what, done, _total: ticks.append(done))]
    assert sorted(places) == list(range(13))
    assert places[-1] == 0
    assert most == 3
    assert ticks == list(range(1, 14))


NAMES = (
    "choices",
    "prompt_logprobs",
    "logprobs",
    "tokens",
    "token_logprobs",
    "top_logprobs",
    "prompt",
    "content",
    "text",
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["a", "token_id:97", "token_id:-1", "length"])
)
KEYS = st.sampled_from([*NAMES, "logprob", "decoded_token", "id", "finish_reason", "97", "98", "a"])
ANSWERS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=30
)


@given(row=st.dictionaries(KEYS, ANSWERS, max_size=6), answer=ANSWERS)
def test_no_answer_breaks_the_readers(row: dict[str, Any], answer: Any) -> None:
    """Whatever is said, it is read, or it is `Unread`, or another tokenizer's."""
    for said_so in (answer, row, {"choices": [row]}, {"prompt": [{"logprobs": row}], "choices": [row]}):
        for way in WAYS:
            with contextlib.suppress(Unread, UsageError):
                for position in way.read(said_so, LM.tokenizer.ids("ab"), 1, LM.tokenizer):
                    assert position.own <= 0
        with contextlib.suppress(Unread):
            list(streaming.pieces(iter([said_so]), LM.tokenizer, [256], 5, Sampling(logprobs=2)))


# --- texts and tokenizers -------------------------------------------------------------------------


def test_another_tokenizer_is_found_out(tmp_path: Path) -> None:
    """A small BPE tokenizer where the endpoint reads bytes."""
    tiny_tokenizer(tmp_path)
    for style in ("vllm", "openai", "together"):
        with standing(Completions(LM, style)) as endpoint:
            lm = opened(endpoint, tmp_path)
            with pytest.raises(UsageError, match=r"tokenizer is not the one given|no log-probabilities of a prompt"):
                lm.loglikelihood(REQUESTS)


def test_the_same_count_of_other_tokens_is_found_out(tmp_path: Path) -> None:
    """Ids are taken, and mean other bytes there."""
    tokenizer = json.loads(LM.tokenizer.backend.to_str())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
    swapped = FakeLM().tokenizer.backend.from_str(json.dumps(tokenizer))
    other = save(type(LM.tokenizer)(swapped, True, 256, 256, 0, 257), tmp_path)
    for style in ("vllm", "openai"):
        with (
            standing(Completions(LM, style)) as endpoint,
            pytest.raises(UsageError, match="its tokens have other texts"),
        ):
            opened(endpoint, other).loglikelihood(REQUESTS)


def test_h015_a_control_token_spelled_in_a_text_is_not_sent_where_it_would_be_one(folder: Path) -> None:
    with standing(Completions(LM, "together")) as endpoint:
        lm = primed(endpoint, folder)
        with pytest.raises(DataError, match="spells the control token"):
            lm.loglikelihood([Request("a <|endoftext|>", (" b",))])
        with pytest.raises(DataError, match="spells the control token"):
            list(lm.generate("a <|endoftext|>", Sampling()))
        assert not any(b"endoftext" in seen.body for seen in endpoint.seen)


def test_h074_ids_that_no_text_begins_with_are_not_sent_as_text(folder: Path) -> None:
    """A later window of a long text has no start token, and the endpoint would add one."""
    with standing(Completions(LM, "together")) as endpoint:
        lm = primed(endpoint, folder)
        with pytest.raises(DataError, match="not those of a text from its start"):
            list(lm.score([Pair((65, 66), (67,))]))
        assert not endpoint.seen


# --- faults ---------------------------------------------------------------------------------------


def test_h034_a_key_is_not_taken_along_to_another_host(key: str, folder: Path) -> None:
    with standing(Completions(LM, key=None)) as other:
        location = f"{other.url}/completions"
        for status in (301, 302, 303, 307, 308):
            with standing(redirecting(status, location)) as first:
                with pytest.raises(UsageError, match=f"sends the request on .{status}."):
                    primed(first, folder)
                with pytest.raises(UsageError, match="is not followed") as caught:
                    list(opened(first, folder).generate("a", Sampling()))
                assert all(seen.headers["authorization"] == f"Bearer {key}" for seen in first.seen)
                assert "final address" in caught.value.fix
        assert not other.seen


def redirecting(status: int, location: str) -> Answer:
    return lambda _: Reply(status, headers={"Location": location})


def test_h034_a_key_is_for_the_host_whose_users_keep_it_there(
    vllm: Standing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    opened(vllm, folder)
    assert all("authorization" not in seen.headers for seen in vllm.seen)
    assert open_wire("https://api.openai.com/v1").secrets == (KEY,)
    assert open_wire("https://api.openai.com.example.org/v1").secrets == ()


def test_h034_a_key_is_not_sent_over_plain_http_to_another_machine(key: str) -> None:
    for url in ("http://example.org/v1", "http://10.0.0.1:8000/v1", "http://127.0.0.1.example.org", "http://[::2]/v1"):
        with pytest.raises(UsageError, match="not sent over plain http"):
            open_wire(url)
    for url in ("http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:80/v1", "https://example.org/v1"):
        assert open_wire(url).secrets == (key,)


def test_a_network_without_keys_may_be_plain() -> None:
    assert open_wire("http://10.0.0.1:8000/v1").secrets == ()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/v1",
        "api.openai.com",
        "https://",
        "https://u:p@a/v1",
        "https://a/v1?key=b",
        "https://a:99999/",
        "https://a/v 1",
        "https://ä/v1",
        "http://[::1/v1",
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_wire(url)
    assert "u:p" not in said(caught.value)
    assert "key=b" not in said(caught.value)


def test_a_key_that_is_none_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEWRIGHT_API_KEY", "sk-one\nsk-two")
    with pytest.raises(UsageError, match="characters that no key has") as caught:
        open_wire("https://a/v1")
    assert "sk-" not in said(caught.value)


def said(error: BaseException) -> str:
    """All that an error shows in any way."""
    parts = [str(error), repr(error), *traceback.format_exception(error)]
    if isinstance(error, BasewrightError):
        parts += [error.message, error.fix]
    return "\n".join(parts)


LEAKS: list[Reply] = [
    refused(f"Incorrect API key provided: {KEY}", 401),
    refused(f"{KEY} is not allowed here", 403),
    refused(f"Bearer {KEY} has no such model", 404),
    refused(f"bad request by {KEY}", 400),
    Reply(400, f"<h1>{KEY}</h1>".encode()),
    Reply(302, headers={"Location": f"https://{KEY}.example.org/?k={KEY}"}),
    Reply(200, f"{{'{KEY}'".encode()),
    as_json({"choices": [{"prompt_logprobs": KEY}]}),
    as_json({"choices": [{"prompt_logprobs": [None, KEY, KEY]}]}),
    as_json({KEY: KEY}),
    refused(f"slow down, {KEY}", 429, Retry_After="9999"),
]


@pytest.mark.parametrize("reply", LEAKS)
def test_h034_no_error_log_or_repr_holds_the_key(
    reply: Reply, key: str, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with standing(Completions(LM, key=key)) as endpoint:
        lm = primed(endpoint, folder)
        for asked in (lambda: lm.loglikelihood([Request("a", ("b",))]), lambda: list(lm.generate("a", Sampling()))):
            endpoint.faults.append(reply)
            with pytest.raises(BasewrightError) as caught:
                asked()
            assert key not in said(caught.value)
            assert len(caught.value.message) < 500
            assert "\n" not in caught.value.message + caught.value.fix
        assert endpoint.seen[0].headers["authorization"] == f"Bearer {key}"
    assert key not in repr(lm) + repr(lm.wire) + repr(lm.spent) + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_stays_wrong_is_asked_once(status: int, vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    vllm.faults.append(refused("so it is", status))
    with pytest.raises(UsageError, match=str(status)) as caught:
        lm.loglikelihood([Request("a", ("b",))])
    assert caught.value.fix
    assert len(vllm.seen) == 1


@pytest.mark.parametrize(
    "faults", [[Reply(503)] * 3, [Reply(cut=True)] * 2, [Reply(429), Reply(500), Reply(cut=True), Reply(504)]]
)
def test_what_passes_is_asked_again(faults: list[Reply], vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    vllm.faults.extend(faults)
    assert lm.loglikelihood(REQUESTS[:1]) == LM.loglikelihood(REQUESTS[:1])
    vllm.faults.extend(faults)
    assert text_of(lm.generate("a", Sampling(max_tokens=4))) == text_of(LM.generate("a", Sampling(max_tokens=4)))
    assert not vllm.faults


def test_patience_ends_in_one_line(vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    for reply, reason in ((refused("too busy", 503), "answers 503: too busy"), (Reply(cut=True), "RemoteDisconnected")):
        vllm.faults = deque([reply] * 20)
        vllm.seen.clear()
        with pytest.raises(BasewrightError, match=f"did not answer in 6 tries: .*{reason}"):
            lm.loglikelihood([Request("a", ("b",))])
        assert len(vllm.seen) in (6, 7)  # a kept connection that was closed costs no try


def test_nobody_there_is_one_line(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(BasewrightError, match="did not answer in 6 tries: no connection"):
            remote.open_lm(url, MODEL, folder, "fake")


def test_a_rate_limit_is_waited_out_as_long_as_it_says(vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    vllm.faults.append(refused("slow down", 429, Retry_After="0.4"))
    begun = time.monotonic()
    lm.loglikelihood([Request("a", ("b",))])
    assert time.monotonic() - begun > 0.4
    assert transport._after(formatdate(time.time() + 90, usegmt=True)) == pytest.approx(90, abs=3)
    assert transport._after("-3") == transport._after(formatdate(0)) == 0
    assert transport._after(None) is transport._after("soon") is None


def test_a_silent_endpoint_is_not_waited_for_without_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, vllm: Standing
) -> None:
    lm = primed(vllm, folder)
    monkeypatch.setattr(transport, "SECONDS", 0.05)
    monkeypatch.setattr(transport, "ATTEMPTS", 2)
    released = threading.Event()
    with standing(lambda _: Reply(cut=not released.wait(5))) as silent:
        lm.wire.origin = lm.wire.origin._replace(netloc=f"127.0.0.1:{silent.port}")
        lm.wire._idle.clear()
        with pytest.raises(BasewrightError, match=r"did not answer in 2 tries: .*TimeoutError"):
            lm.loglikelihood([Request("a", ("b",))])
        released.set()


def test_a_wait_too_long_is_said_not_waited(vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    vllm.faults.append(refused("slow down", 429, Retry_After="3600"))
    with pytest.raises(BasewrightError, match="asks to wait 3600 s"):
        lm.loglikelihood([Request("a", ("b",))])


def rows(*entries: Any) -> Reply:
    return as_json({"choices": [{"prompt_logprobs": list(entries)}]})


A, B = (str(number) for number in LM.tokenizer.ids("ab"))
MALFORMED = [
    Reply(200, b"<html>"),
    Reply(200, b""),
    Reply(200, b"[" * 100_000),
    Reply(200, b'{"choices": [{"prompt_logprobs": [null, {"%s": {"logprob": NaN}}]}]}' % A.encode()),
    as_json([]),
    as_json({"choices": []}),
    as_json({"choices": [{"text": "a"}]}),
    rows(),
    rows(None, {A: {"logprob": -1.0}}),
    rows(None, None, None),
    rows(None, {A: {"logprob": -1.0}}, {B: {}}),
    rows(None, {A: {"logprob": -1.0}}, {B: {"logprob": None}}),
    rows(None, {A: {"logprob": -1.0}}, {B: {"logprob": True}}),
    rows(None, {A: {"logprob": -1.0}}, {B: {"logprob": "-1"}}),
    rows(None, {A: {"logprob": -1.0}}, {B: {"logprob": 0.5}}),
    rows(None, {A: {"logprob": -1.0}}, {A: {"logprob": -1.0}}),
    Reply(200, json.dumps({"choices": [{"prompt_logprobs": [None, {A: {"logprob": -1}}, {B: {"logprob": -1e5}}]}]})
          .replace("-100000.0", "-1e999").encode()),
]  # fmt: skip


@pytest.mark.parametrize("reply", MALFORMED)
def test_a_malformed_answer_is_one_line(reply: Reply, vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    vllm.faults.append(reply)
    with pytest.raises(BasewrightError) as caught:
        lm.loglikelihood([Request("a", ("b",))])
    assert caught.value.fix
    assert len(vllm.seen) == 1


def test_an_answer_without_end_is_cut(vllm: Standing, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = primed(vllm, folder)
    monkeypatch.setattr(transport, "MOST_BYTES", 2**10)
    vllm.faults.append(Reply(200, b" " * 2**20 + b"{}"))
    with pytest.raises(BasewrightError, match="larger than"):
        lm.loglikelihood([Request("a", ("b",))])


EVENTS: list[list[bytes]] = [
    [b'data: {"choices": [{"text": "a"}]}\n\n', b""],
    [b'data: {"choices": [{"text": "a"}]}\n\n'],
    [b"data: {oops\n\n"],
    [b"data: \xff\xfe\n\n"],
    [b'data: {"error": {"message": "CUDA out of memory"}}\n\n'],
    [b'data: {"choices": [{"text": 7, "finish_reason": "stop"}]}\n\n', b"data: [DONE]\n\n"],
    [b'data: {"choices": [{"logprobs": {"tokens": ["token_id:x"]}, "text": "a"}]}\n\n', b"data: [DONE]\n\n"],
    [b'data: {"choices": [7]}\n\n', b"data: [DONE]\n\n"],
    [b'data: {"choices": [{"text": "a", "finish_reason": "abort"}]}\n\n', b"data: [DONE]\n\n"],
]


@pytest.mark.parametrize("events", EVENTS)
def test_a_stream_that_breaks_is_an_error_never_an_end(events: list[bytes], vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    vllm.faults.append(Reply(events=iter(events)))
    with pytest.raises(BasewrightError, match=r"stream|answer|text|tokens|choice"):
        list(lm.generate("a", Sampling(max_tokens=5)))


def test_events_of_several_lines_and_carriage_returns_are_read(vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder)
    events = [
        b': ping\r\n\r\nevent: x\r\ndata: {"choices":\r\ndata:[{"text": "a\\nb"}]}\r\n\r\n',
        b"data: [DONE]\r\n\r\n",
    ]
    vllm.faults.append(Reply(events=iter(events)))
    assert text_of(lm.generate("a", Sampling(max_tokens=5))) == "a\nb"


# --- stops, leaving, signals ----------------------------------------------------------------------


@given(
    parts=st.lists(st.text(alphabet="abc", max_size=4), max_size=12),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3),
)
def test_h093_no_part_of_a_stop_text_is_shown(parts: list[str], stops: list[str]) -> None:
    whole = "".join(parts)
    ends = [(at + len(stop), at) for stop in stops if (at := whole.find(stop)) >= 0]
    pieces = list(streaming.texts(((part, None) for part in parts), tuple(stops)))
    assert text_of(iter(pieces)) == whole[: min(ends)[1] if ends else None]
    assert pieces[-1].finish == "stop"
    shown = ""
    for piece in pieces:
        shown += piece.text
        assert not any(stop in shown for stop in stops)


def test_a_reader_that_leaves_ends_the_stream(folder: Path) -> None:
    sent: list[int] = []

    def endless(seen: Seen) -> Reply:
        def events() -> Iterator[bytes]:
            for number in range(10_000):
                sent.append(number)
                time.sleep(0.005)
                yield b'data: {"choices": [{"text": "a"}]}\n\n'

        return Completions(LM, "openai")(seen) if seen.method == "GET" else Reply(events=events())

    with standing(endless) as endpoint:
        pieces = opened(endpoint, folder).generate("a", Sampling(max_tokens=100))
        assert next(pieces).text == "a"
        pieces.close()  # type: ignore[attr-defined]
        time.sleep(0.3)
        made = len(sent)
        time.sleep(0.2)
        assert len(sent) <= made + 1 < 300


def test_a_reader_that_leaves_asks_no_more(vllm: Standing, folder: Path) -> None:
    lm = primed(vllm, folder, in_flight=2)
    scores = lm.score([Pair((65,), (66,))] * 200)
    next(scores)
    scores.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(vllm.seen) < 100


@pytest.mark.parametrize("what", ["score", "generate", "retry"])
def test_h050_a_signal_is_heeded_while_waiting(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    completions = Completions(LM)

    def hanging(seen: Seen) -> Reply:
        if seen.method == "POST" and what == "retry":
            return refused("later", 429, Retry_After="60")
        if seen.method == "POST":
            released.wait(10)
        return completions(seen)

    with standing(hanging) as endpoint:
        lm = opened(endpoint, folder)
        threading.Timer(0.2, lambda: monkeypatch.setattr(signals, "_received", [2])).start()
        begun = time.monotonic()
        with pytest.raises(Interrupted):
            list(lm.generate("a", Sampling())) if what == "generate" else lm.loglikelihood(REQUESTS)
        assert time.monotonic() - begun < 2
        released.set()


def test_the_first_error_ends_all() -> None:
    def bad(_check: object) -> Iterator[int]:
        yield 1
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        list(polled([bad] * 5, 2))
    assert list(polled([], 3)) == []


def test_h075_scores_do_not_depend_on_how_many_are_asked_at_once(vllm: Standing, folder: Path) -> None:
    texts = [f"{n} clocks and {n * n} walls" for n in range(40)]
    found = [opened(vllm, folder, in_flight=n).rolling(texts) for n in (1, 8)]
    assert found[0] == found[1] == LM.rolling(texts)
    assert all(math.isfinite(one.nats) for one in found[0])
