"""The completions address, asked by OpenAI's own client and by hand, over a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from basewright.engine.fake import FakeLM
from basewright.engine.lm import Sampling
from basewright.errors import DataError
from tests.serve.serving import NAME, BrokenLM, Running, SlowLM, running

CONTEXT = 256
LM = FakeLM(name=NAME, context=CONTEXT)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(LM) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="none", timeout=20, max_retries=0) as found:
        yield found


def text_of(prompt: str, **settings: Any) -> str:
    return "".join(piece.text for piece in LM.generate(prompt, Sampling(**settings)))


# --- answers --------------------------------------------------------------------------------------


def test_a_completion_is_what_the_engine_says(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=NAME, prompt="The old", max_tokens=12, temperature=0)
    assert answer.choices[0].text == text_of("The old", max_tokens=12)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs is None
    assert (answer.object, answer.model) == ("text_completion", NAME)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (8, 12, 20)


@pytest.mark.parametrize("seed", range(5))
def test_h092_a_stream_joins_to_the_same_text(client: openai.OpenAI, seed: int) -> None:
    asked: dict[str, Any] = {
        "model": NAME,
        "prompt": "Größe \N{GRINNING FACE}",
        "max_tokens": 80,
        "seed": seed,
        "stop": ["a", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"],
    }
    whole = client.completions.create(**asked).choices[0]
    chunks = [chunk.choices[0] for chunk in client.completions.create(**asked, stream=True)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == whole.finish_reason


def test_h093_a_stop_text_ends_the_answer_before_itself(client: openai.OpenAI) -> None:
    free = text_of("The old", max_tokens=60, temperature=1.0, seed=1)
    stop = free[10:12]
    answer = client.completions.create(model=NAME, prompt="The old", max_tokens=60, seed=1, stop=stop)
    assert answer.choices[0].text == free[: free.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_logprobs_are_openais_object(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=NAME, prompt="The old", max_tokens=20, seed=3, logprobs=3)
    choice = answer.choices[0]
    found = choice.logprobs
    assert found is not None
    assert found.tokens is not None
    assert found.token_logprobs is not None
    assert found.text_offset is not None
    assert found.top_logprobs is not None
    assert "".join(found.tokens) == choice.text
    assert len(found.tokens) == len(found.token_logprobs) == len(found.text_offset) == len(found.top_logprobs) == 20
    for token, offset in zip(found.tokens, found.text_offset, strict=True):
        assert choice.text[offset : offset + len(token)] == token
    for top in found.top_logprobs:
        assert 1 <= len(top) <= 4
        assert all(value <= 0 for value in top.values())


def test_streamed_logprobs_are_those_of_the_whole(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": NAME, "prompt": "x", "max_tokens": 30, "seed": 2, "logprobs": 2, "stop": "ab"}
    whole = client.completions.create(**asked).choices[0].logprobs
    assert whole is not None
    parts = [chunk.choices[0].logprobs for chunk in client.completions.create(**asked, stream=True)]
    for name in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
        assert [item for part in parts for item in getattr(part, name)] == getattr(whole, name)


def test_logprobs_zero_gives_the_drawn_token_alone(client: openai.OpenAI) -> None:
    found = client.completions.create(model=NAME, prompt="x", max_tokens=2, logprobs=0).choices[0].logprobs
    assert found is not None
    assert found.top_logprobs is not None
    assert all(len(top) == 1 for top in found.top_logprobs)


def test_a_list_of_prompts_is_a_list_of_choices(client: openai.OpenAI) -> None:
    prompts = ["one", "two", ""]
    answer = client.completions.create(model=NAME, prompt=prompts, max_tokens=5, temperature=0)
    assert [choice.text for choice in answer.choices] == [text_of(prompt, max_tokens=5) for prompt in prompts]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts = [""] * 3
    for chunk in client.completions.create(model=NAME, prompt=prompts, max_tokens=5, temperature=0, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in answer.choices]


def test_a_seed_fixes_the_answer_and_none_does_not(client: openai.OpenAI) -> None:
    def ask(**seed: int) -> str:
        return client.completions.create(model=NAME, prompt="The old", max_tokens=20, **seed).choices[0].text  # type: ignore[call-overload, no-any-return]

    assert ask(seed=-1) == ask(seed=-1)
    assert len({ask() for _ in range(4)}) > 1


def test_include_usage_adds_a_last_chunk(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model=NAME, prompt="ab", max_tokens=6, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, 6)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_max_tokens_zero_is_an_empty_answer(client: openai.OpenAI) -> None:
    choice = client.completions.create(model=NAME, prompt="ab", max_tokens=0).choices[0]
    assert (choice.text, choice.finish_reason) == ("", "length")


def test_fields_that_change_nothing_are_accepted(server: Running) -> None:
    neutral: dict[str, Any] = {
        "n": 1,
        "best_of": 1,
        "echo": False,
        "suffix": None,
        "logit_bias": {},
        "user": "somebody",
    }
    assert server.complete(**neutral, frequency_penalty=0, presence_penalty=0.0, stop=None, seed=None).status == 200


def test_models_and_health(client: openai.OpenAI, server: Running) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert server.ask("GET", "/healthz").json == {"status": "ok"}


def test_a_stream_on_the_wire_is_events_and_done(server: Running) -> None:
    reply = server.complete(max_tokens=3, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-request-id"]
    events = reply.body.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert all(json.loads(event.removeprefix(b"data: "))["choices"] for event in events[:-2])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param", "code", "says"),
    [
        ({"temprature": 1}, "temprature", "unknown_parameter", "did you mean 'temperature'?"),
        ({"messages": []}, "messages", "unknown_parameter", "messages"),
        ({"prompt": 5}, "prompt", "invalid_value", "string"),
        ({"prompt": [1, 2]}, "prompt", "invalid_value", "string"),
        ({"prompt": []}, "prompt", "invalid_value", "at least 1"),
        ({"prompt": ["a"] * 9}, "prompt", "invalid_value", "at most 8"),
        ({"prompt": None}, "prompt", "invalid_value", "string"),
        ({"n": 2}, "n", "unsupported_parameter", "not offered"),
        ({"echo": True}, "echo", "unsupported_parameter", "not offered"),
        ({"suffix": "x"}, "suffix", "unsupported_parameter", "not offered"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_parameter", "not offered"),
        ({"presence_penalty": 1}, "presence_penalty", "unsupported_parameter", "not offered"),
        ({"stop": ""}, "stop", "invalid_value", "at least 1 character"),
        ({"stop": ["x" * 65]}, "stop", "invalid_value", "at most 64"),
        ({"stop": ["x"] * 9}, "stop", "invalid_value", "at most 8"),
        ({"logprobs": 6}, "logprobs", "invalid_value", "less than or equal to 5"),
        ({"logprobs": True}, "logprobs", "invalid_value", "integer"),
        ({"stream": 1}, "stream", "invalid_value", "boolean"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value", "stream"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "unknown_parameter", "include_usage"),
        ({"prompt": "a" * CONTEXT, "max_tokens": 1}, "prompt", "context_length_exceeded", str(CONTEXT)),
        ({"max_tokens": CONTEXT}, "prompt", "context_length_exceeded", str(CONTEXT)),
    ],
)
def test_h086_a_bad_field_is_named(server: Running, fields: dict[str, Any], param: str, code: str, says: str) -> None:
    reply = server.complete(**fields)
    assert (reply.status, reply.error["param"], reply.error["code"]) == (400, param, code)
    assert says in reply.error["message"]
    assert reply.error["type"] == "invalid_request_error"


NUMBERS = ("max_tokens", "temperature", "top_p", "seed", "logprobs", "n", "best_of", "frequency_penalty")
ODD = (
    str(-(2**63) - 1),
    str(-(2**63)),
    "-1",
    "0",
    "1",
    "2.5",
    str(2**63),
    "1e308",
    "-1e308",
    "NaN",
    "Infinity",
    "true",
)
ODDER = ('"1"', "[]", "{}", "null", '"\\ud800"', "1" * 400, '"' + "x" * 300 + '"')


@pytest.mark.parametrize(
    "field", [*NUMBERS, "model", "prompt", "stop", "stream", "user", "suffix", "logit_bias", "echo"]
)
def test_h087_odd_values_never_break_the_server(server: Running, field: str) -> None:
    for value in ODD + ODDER:
        others = {"model": f'"{NAME}"', "prompt": '"a"', "max_tokens": "2", field: value}
        body = "{" + ",".join(f'"{key}":{given}' for key, given in others.items()) + "}"
        reply = server.ask("POST", "/v1/completions", body.encode(), content_type="application/json")
        assert reply.status in (200, 400, 404), (field, value)
        if reply.status != 200 and value not in ("NaN", "Infinity", '"\\ud800"'):
            assert reply.error["param"] in (field, "prompt")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"model": "fake", "prompt": "\xc3"}', b"{}x"],
)
def test_h087_a_body_that_is_no_object_is_refused(server: Running, body: bytes) -> None:
    reply = server.ask("POST", "/v1/completions", body, content_type="application/json")
    assert (reply.status, reply.error["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("model", ["other", "../../etc/passwd", "http://localhost/x", ""])
def test_h099_another_model_is_not_found(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model=model, prompt="a")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("OPTIONS", "/v1/completions", 405),
    ],
)
def test_other_addresses_say_what_is_offered(server: Running, method: str, path: str, status: int) -> None:
    reply = server.ask(method, path, b"{}" if method == "POST" else None, content_type="application/json")
    assert reply.status == status
    assert "/v1/completions" in reply.error["message"]


def test_bad_requests_raise_the_clients_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=NAME, prompt="a", max_tokens=-1)
    assert caught.value.param == "max_tokens"
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=NAME, prompt="a", extra_body={"top_k": 3})


# --- failures of the engine -----------------------------------------------------------------------


@pytest.mark.parametrize("good", [1, 4, 9])
def test_h094_a_failure_in_the_middle_never_looks_like_an_end(good: int) -> None:
    with running(BrokenLM(good=good)) as server:
        reply = server.complete(max_tokens=20, stream=True, logprobs=0, seed=1)  # without one, EOS may be drawn before
        last = json.loads(reply.body.strip().split(b"\n\n")[-1].removeprefix(b"data: "))
        assert last["error"]["code"] == "engine_failed"
        assert b"[DONE]" not in reply.body
        assert b'"finish_reason":"' not in reply.body
        with (
            openai.OpenAI(base_url=server.base_url, api_key="none", timeout=20) as client,
            pytest.raises(openai.APIError),
        ):
            list(client.completions.create(model=NAME, prompt="a", max_tokens=20, stream=True, logprobs=0, seed=1))


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("/home/somebody/secret.bin is gone"), 500), (DataError("too odd", fix="x"), 422)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_h095_h098_a_failure_is_run_once_and_tells_nothing(error: Exception, status: int, stream: bool) -> None:
    lm = BrokenLM(good=0, error=error)
    with running(lm) as server:
        reply = server.complete(stream=stream, prompt="canary")
        assert reply.status == status
        assert not any(
            secret in reply.body for secret in (b"/home", b"secret", b"Traceback", b"canary", b"RuntimeError")
        )
        assert reply.error["type"] == ("server_error" if status == 500 else "invalid_request_error")
        lm.log.clear()
        with (
            openai.OpenAI(base_url=server.base_url, api_key="none", timeout=20, max_retries=2) as client,
            pytest.raises(openai.APIStatusError),
        ):
            client.completions.create(model=NAME, prompt="a", stream=stream)
        assert lm.log == ["a"]
        assert server.complete(max_tokens=0).status == status  # and the server goes on


# --- many at once ---------------------------------------------------------------------------------


def test_h091_many_at_once_are_each_what_they_are_alone(server: Running) -> None:
    prompts = [f"canary {i}" for i in range(24)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda prompt: server.complete(prompt=prompt, max_tokens=9, temperature=0), prompts))
    for prompt, reply in zip(prompts, replies, strict=True):
        assert reply.json["choices"][0]["text"] == text_of(prompt, max_tokens=9)


def test_h096_a_full_queue_answers_at_once() -> None:
    lm = SlowLM(pause=0.02)
    with running(lm, places=2) as server, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.complete(max_tokens=10), range(8)))
    assert sorted({reply.status for reply in replies}) == [200, 429]
    assert len(lm.log) == sum(reply.status == 200 for reply in replies) >= 3
    for reply in replies:
        if reply.status == 429:
            assert 0 < int(reply.headers["retry-after"]) <= 120
            assert reply.error["code"] == "queue_full"


def send_and_leave(server: Running, stream: bool, prompt: str) -> socket.socket:
    assert len(list(LM.generate(prompt, Sampling(max_tokens=200)))) > 100  # it would be long at work
    fields = {"model": NAME, "prompt": prompt, "max_tokens": 200, "temperature": 0, "stream": stream}
    body = json.dumps(fields).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {server.host}:{server.port}\r\ncontent-type: application/json\r\n"
    leaving = socket.create_connection((server.host, server.port), timeout=10)
    leaving.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return leaving


@pytest.mark.parametrize("stream", [False, True])
def test_h090_who_leaves_frees_the_place_within_a_step(stream: bool) -> None:
    lm = SlowLM(pause=0.05)
    with running(lm) as server:
        leaving = send_and_leave(server, stream, "leaving")
        queued = send_and_leave(server, stream, "queued")
        while len(lm.steps) < 3:
            time.sleep(0.005)
        queued.close()
        time.sleep(0.1)
        leaving.close()
        began = time.monotonic()
        assert server.complete(prompt="next", max_tokens=1).status == 200
        assert time.monotonic() - began < 0.5  # of 100 steps and more that would have taken five seconds
        assert lm.log == ["leaving", "next"]


def test_h090_closing_the_clients_stream_stops_the_work() -> None:
    lm = SlowLM(pause=0.02)
    with (
        running(lm) as server,
        openai.OpenAI(base_url=server.base_url, api_key="none", timeout=20, max_retries=0) as client,
    ):
        stream = client.completions.create(
            model=NAME, prompt="a", max_tokens=200, temperature=0, stream=True, logprobs=0
        )
        next(iter(stream))
        stream.close()
        time.sleep(0.2)
        steps = len(lm.steps)
        time.sleep(0.2)
        assert len(lm.steps) == steps < 40


def test_stopping_the_server_cuts_a_stream_without_a_false_end() -> None:
    received = b""
    with running(SlowLM(pause=0.05)) as server:
        asking = send_and_leave(server, True, "a")
        received += asking.recv(65536)
    with asking:
        while part := asking.recv(65536):
            received += part
    assert b"[DONE]" not in received
    assert b'"finish_reason":"' not in received
