"""Replicate and Bedrock: our engine and the providers' own clients talk to the same stand-ins."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
import pytest

from basewright.engine.fake import FakeLM
from basewright.engine.lm import Piece, Request, Sampling
from basewright.engine.remote import bedrock as bedrock_lm
from basewright.engine.remote import replicate as replicate_lm
from basewright.engine.remote import transport
from basewright.engine.remote.endpoint import RemoteLM
from basewright.errors import BasewrightError, DataError, UsageError
from tests.engine.stand_ins import Bedrock, Completions, Predictions, Reply, Standing, as_json, save_tokenizer, standing

LM = FakeLM(context=130)
ARN = "arn:aws:bedrock:eu-west-3:123456789012:imported-model/abcdef123456"
LLAMA = "meta.llama3-8b-v1:0"
REQUESTS = [Request("The old clock", (" struck nine", "~", "")), Request("", ("Größe",))]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PAUSE", 0.01)
    monkeypatch.setattr(replicate_lm, "POLL", 0.01)
    for variable in ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-EXAMPLE")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tokenizer(LM.tokenizer, tmp_path_factory.mktemp("tokenizer"), context=LM.context)


def text_of(pieces: Iterator[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


# --- Replicate ------------------------------------------------------------------------------------


def replicated(endpoint: Standing, folder: Path, model: str = "meta/base") -> RemoteLM:
    return replicate_lm.open_lm(model, folder, "base", url=endpoint.origin)


def test_replicates_text_comes_in_parts_with_our_stops(folder: Path) -> None:
    with standing(Predictions()) as endpoint:
        lm = replicated(endpoint, folder)
        pieces = list(lm.generate("Tell me", Sampling(max_tokens=9, temperature=0.5, seed=7)))
        assert [piece.text for piece in pieces if piece.text] == ["Once", " upon", " a", " time"]
        assert pieces[-1].finish == "stop"
        (made,) = [seen for seen in endpoint.seen if seen.path.endswith("/predictions")]
        settings = {"prompt": "Tell me", "max_tokens": 9, "temperature": 0.5, "top_p": 1.0, "seed": 7}
        assert made.json == {"input": {**settings, "prompt_template": "{prompt}"}}
        assert (lm.spent.prompt_tokens, lm.spent.completion_tokens) == (3, 4)
        assert text_of(lm.generate("Tell me", Sampling(stops=("on a",)))) == "Once up"
        assert list(lm.generate("Tell me", Sampling(max_tokens=4)))[-1].finish == "length"
        assert all(seen.headers["authorization"] == "Bearer r8_secret" for seen in endpoint.seen)


def test_replicates_own_client_can_talk_to_the_stand_in() -> None:
    replicate = pytest.importorskip("replicate")
    with standing(Predictions()) as endpoint:
        client = replicate.Client(api_token="r8_secret", base_url=endpoint.origin)
        client.poll_interval = 0.01
        assert "".join(client.run("meta/base", input={"prompt": "Tell me", "max_tokens": 9})) == "Once upon a time"
        with pytest.raises(replicate.exceptions.ReplicateError, match="not allowed"):
            client.run("meta/base", input={"text": "Tell me"})
        client._client.close()


def test_replicate_cannot_score_and_says_who_can(folder: Path) -> None:
    with standing(Predictions()) as endpoint:
        with pytest.raises(UsageError, match="generates text and gives no log-probabilities") as caught:
            replicated(endpoint, folder).loglikelihood(REQUESTS)
        assert "vLLM" in caught.value.fix


def test_replicates_faults_are_one_line_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ends in ("failed", "canceled"):
        with standing(Predictions(ends=ends)) as endpoint, pytest.raises(BasewrightError, match=f"has {ends}"):
            list(replicated(endpoint, folder).generate("a", Sampling()))
    with (
        standing(Predictions(properties=("image",))) as endpoint,
        pytest.raises(BasewrightError, match="takes a prompt"),
    ):
        replicated(endpoint, folder)
    with standing(Predictions()) as endpoint:
        with pytest.raises(UsageError, match="404"):
            replicated(endpoint, folder, "meta/other")
        for model in ("meta", "meta/base/../x", "meta/base:latest", "méta/base"):
            with pytest.raises(UsageError, match="no model of Replicate's"):
                replicated(endpoint, folder, model)
        lm = replicated(endpoint, folder)
        for reply in (
            as_json({}),
            as_json({"id": "../models"}),
            as_json({"id": "a", "status": "starting", "output": 7}),
        ):
            endpoint.faults.append(reply)
            with pytest.raises(BasewrightError, match=r"no prediction|not text"):
                list(lm.generate("a", Sampling()))
        endpoint.faults.extend([as_json({"detail": "throttled"}, 429, Retry_After="0"), Reply(502)])
        assert text_of(lm.generate("a", Sampling())) == "Once upon a time"
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_other")
    with standing(Predictions()) as endpoint, pytest.raises(UsageError, match="refuses the key") as caught:
        replicated(endpoint, folder)
    assert "REPLICATE_API_TOKEN" in caught.value.fix


def test_a_prediction_nobody_waits_for_is_canceled(folder: Path) -> None:
    predictions = Predictions(parts=("a",) * 500)
    with standing(predictions) as endpoint:
        pieces = replicated(endpoint, folder).generate("a", Sampling())
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        until = time.monotonic() + 5
        while predictions.state["status"] != "canceled":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_replicate_is_not_given_control_tokens_as_text(folder: Path) -> None:
    with standing(Predictions()) as endpoint, pytest.raises(DataError, match="control token"):
        list(replicated(endpoint, folder).generate("a<|endoftext|>b", Sampling()))


# --- Bedrock --------------------------------------------------------------------------------------


def bedrock(endpoint: Standing, folder: Path, model: str = ARN, region: str | None = "eu-west-3") -> RemoteLM:
    return bedrock_lm.open_lm(model, folder, "base", region=region, url=endpoint.origin)


def test_an_imported_models_scores_are_those_of_the_engine_behind(folder: Path) -> None:
    with standing(Bedrock(Completions(LM))) as endpoint:
        lm = bedrock(endpoint, folder)
        assert lm.loglikelihood(REQUESTS) == LM.loglikelihood(REQUESTS)
        settings = Sampling(max_tokens=12, temperature=1.0, seed=3)
        assert text_of(lm.generate("The old", settings)) == text_of(LM.generate("The old", settings))
        assert {seen.path for seen in endpoint.seen} == {f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/invoke"}
        assert not any(b"stream" in seen.body for seen in endpoint.seen)
        assert lm.spent.prompt_tokens > 0


def test_an_imported_model_that_takes_texts_alone_is_asked_in_texts(folder: Path) -> None:
    """AWS's pages show texts only; whether ids are taken is tried."""

    class Texts(Completions):
        def complete(self, body: dict[str, Any]) -> Reply:
            if not isinstance(body["prompt"], str):
                return as_json({"message": "Malformed input request"}, 400)
            return super().complete(body)

    with standing(Bedrock(Texts(LM))) as endpoint:
        lm = bedrock(endpoint, folder)
        assert lm.loglikelihood(REQUESTS) == LM.loglikelihood(REQUESTS)
        assert text_of(lm.generate("The old", Sampling())) == text_of(LM.generate("The old", Sampling()))


def test_another_model_generates_in_the_llama_form_and_does_not_score(folder: Path) -> None:
    with standing(Bedrock(Completions(LM))) as endpoint:
        lm = bedrock(endpoint, folder, LLAMA)
        assert text_of(lm.generate("The old", Sampling(max_tokens=12))) == text_of(
            LM.generate("The old", Sampling(max_tokens=12))
        )
        assert set(endpoint.seen[-1].json) == {"prompt", "max_gen_len", "temperature", "top_p"}
        with pytest.raises(UsageError, match="gives no log-probabilities"):
            lm.loglikelihood(REQUESTS)
        endpoint.faults.append(as_json({"completions": []}))
        with pytest.raises(BasewrightError, match="not of the Llama form"):
            list(lm.generate("a", Sampling()))


def test_aws_own_client_can_talk_to_the_stand_in() -> None:
    with standing(Bedrock(Completions(LM))) as endpoint:
        client = botocore.session.Session().create_client(
            "bedrock-runtime",
            region_name="eu-west-3",
            endpoint_url=endpoint.origin,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="wJalrXUtnFEMI-EXAMPLE",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )
        body = json.dumps({"prompt": "The old", "max_tokens": 5, "temperature": 0})
        answer = json.loads(client.invoke_model(modelId=ARN, body=body)["body"].read())
        assert answer["choices"][0]["text"] == text_of(LM.generate("The old", Sampling(max_tokens=5)))
        client.close()


@pytest.mark.parametrize("token", [None, "session-token-0123456789=="])
def test_the_signature_is_the_one_botocore_makes(
    token: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    with standing(Bedrock(Completions(LM), token=token)) as endpoint:
        lm = bedrock(endpoint, folder)
        lm.loglikelihood(REQUESTS)
        assert endpoint.seen[0].headers.get("x-amz-security-token") == token
        shown = repr(lm) + repr(lm.wire) + caplog.text
        assert not any(secret in shown for secret in ("wJalr", "AKID", token or "wJalr"))


def test_h034_bedrocks_faults_are_one_line_each_without_the_keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(Bedrock(Completions(LM))) as endpoint:
        lm = bedrock(endpoint, folder)
        endpoint.faults.extend([as_json({"message": "ModelNotReadyException"}, 429), as_json({"message": "busy"}, 503)])
        assert lm.loglikelihood(REQUESTS) == LM.loglikelihood(REQUESTS)
        endpoint.faults.append(as_json({"message": "no wJalrXUtnFEMI-EXAMPLE here"}, 400))
        with pytest.raises(UsageError, match=r"answers 400: no \[key\] here"):
            lm.loglikelihood(REQUESTS[:1])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        with pytest.raises(UsageError, match="refuses the key") as caught:
            bedrock(endpoint, folder).loglikelihood(REQUESTS)
        assert "AWS_SECRET_ACCESS_KEY" in caught.value.fix
        with pytest.raises(UsageError, match="no AWS region"):
            bedrock(endpoint, folder, region=None)
        with pytest.raises(UsageError, match="not sent over plain http"):
            bedrock_lm.open_lm(ARN, folder, "base", region="eu-west-3", url="http://10.0.0.1")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(UsageError, match="no AWS keys"):
            bedrock(endpoint, folder)


def test_without_botocore_one_line_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("botocore.auth", "botocore.awsrequest"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as caught:
        bedrock_lm.open_lm(ARN, folder, "base", region="eu-west-3")
    assert "basewright[remote]" in caught.value.fix
