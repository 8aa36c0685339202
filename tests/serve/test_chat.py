"""The chat address of a model that was tuned with a chat template, asked by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from basewright.engine import torch_lm
from basewright.engine.fake import FakeLM
from basewright.engine.lm import LM, Sampling
from basewright.serve import artifact
from basewright.text import chat as chats
from basewright.text.chat import Chat
from basewright.text.layout import Turn
from tests.evaluate.chatml import chatml
from tests.models import tiny_llama
from tests.serve.serving import NAME, Running, running

ASKED: list[Any] = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Where? <|im_end|>"}]
TURNS = [Turn("system", "Be short."), Turn("user", "Where? <|im_end|>")]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LM:
    folder = tmp_path_factory.mktemp("models")
    made = chatml(tiny_llama(folder / "a", layers=1, width=32), folder / "b", std=0.2)
    (made / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 385]}))
    return torch_lm.open_lm(made, NAME)


@pytest.fixture(scope="module")
def chat(lm: LM, tmp_path_factory: pytest.TempPathFactory) -> Chat:
    folder = next(tmp_path_factory.getbasetemp().glob("models*/b"))
    return chats.open_chat(chats.read(folder), lm.tokenizer, NAME)


@pytest.fixture(scope="module")
def server(lm: LM, chat: Chat) -> Iterator[Running]:
    with running(lm, chat=chat) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="none", timeout=20, max_retries=0) as found:
        yield found


def test_h015_messages_are_read_as_the_template_writes_them(client: openai.OpenAI, lm: LM, chat: Chat) -> None:
    answer = client.chat.completions.create(model=NAME, messages=ASKED, max_tokens=12, temperature=0)
    ids = chat.ids(TURNS)
    assert ids.count(385) == 2  # that of each message, and not the one that is spelled
    assert answer.choices[0].message.content == "".join(
        piece.text for piece in lm.generate(ids, Sampling(max_tokens=12))
    )
    assert (answer.object, answer.choices[0].message.role, answer.id[:9]) == (
        "chat.completion",
        "assistant",
        "chatcmpl-",
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(ids)


def test_a_stream_joins_to_the_same_answer(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": NAME, "messages": ASKED, "max_completion_tokens": 12, "seed": 3}
    whole = client.chat.completions.create(**asked)
    parts = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
    assert [part.choices[0].delta.role for part in parts if part.choices[0].delta.role] == ["assistant"]
    assert {part.object for part in parts} == {"chat.completion.chunk"}
    assert parts[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_without_a_limit_an_answer_may_fill_the_context(client: openai.OpenAI, lm: LM, chat: Chat) -> None:
    answer = client.chat.completions.create(model=NAME, messages=ASKED, temperature=0)
    assert answer.usage is not None
    assert answer.choices[0].finish_reason == "stop" or answer.usage.total_tokens == lm.context


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "messages"),
    "a role that is none": ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "messages"),
    "logprobs": ({"logprobs": True}, "logprobs"),
    "a field that is none": ({"prompt": "x"}, "prompt"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_offered_is_named(server: Running, name: str) -> None:
    fields, where = WRONG[name]
    body = json.dumps({"model": NAME, "messages": ASKED, **fields}).encode()
    reply = server.ask("POST", "/v1/chat/completions", body, content_type="application/json")
    assert (reply.status, reply.error["param"]) == (400, where)


def test_h067_a_base_model_does_not_chat() -> None:
    with running(FakeLM(name=NAME)) as server:
        body = json.dumps({"model": NAME, "messages": ASKED}).encode()
        reply = server.ask("POST", "/v1/chat/completions", body, content_type="application/json")
    assert (reply.status, "does not chat" in reply.error["message"]) == (404, True)


def test_the_template_is_part_of_what_was_learned(tmp_path: Path) -> None:
    """A folder's own template alone makes no model chat: it is not what was learned (H067)."""
    made = chatml(tiny_llama(tmp_path / "a", layers=1, width=32), tmp_path / "b", std=0.2)
    assert artifact.chat(FakeLM(), artifact.layout(made)) is None
