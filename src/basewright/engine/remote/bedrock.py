"""Amazon Bedrock: a model there as an endpoint, by InvokeModel with requests that botocore signs (SigV4).

A model imported since November 2025 takes OpenAI's completions and tells the log-probabilities of a prompt (AWS,
Bedrock User Guide, "Advanced API features for imported models"). Others take the Llama form, and generate only.
Answers come whole.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from basewright.engine.remote.endpoint import RemoteLM, folder_window
from basewright.engine.remote.key import origin_of, refuse_open_line, secret
from basewright.engine.remote.spent import Spent
from basewright.engine.remote.transport import Authorize, Wire
from basewright.engine.remote.work import Check
from basewright.errors import UsageError
from basewright.text.tokenizer import open_tokenizer

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
STREAM_ONLY = ("stream", "stream_options")


def open_lm(
    model: str,
    tokenizer_folder: Path,
    name: str,
    *,
    region: str | None = None,
    url: str | None = None,
    price_per_million: float | None = None,
    context: int | None = None,
) -> RemoteLM:
    """The engine over a Bedrock model's id or ARN, with the keys of `KEYS` in the environment.

    `region` is AWS_REGION where it is not given; `url` is the region's own address. Raises `UsageError`, also without
    botocore.
    """
    place = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not place:
        raise UsageError("no AWS region is given", fix="set AWS_REGION, to us-east-1 for instance")
    wire = _wire(url or f"https://bedrock-runtime.{place}.amazonaws.com", place, price_per_million)
    path = f"/model/{quote(model, safe='')}/invoke"
    imported = ":imported-model/" in model

    def ask(body: dict[str, Any], check: Check, final: Sequence[int] = ()) -> Any:
        asked = {key: value for key, value in body.items() if key not in STREAM_ONLY}
        if imported:
            return wire.ask("POST", path, asked, check=check, final=final)
        return _completion(wire.ask("POST", path, _llama_form(asked), check=check, final=final), wire)

    def chunks(body: dict[str, Any], check: Check) -> Iterator[Any]:
        yield ask(body, check)

    seen = context or folder_window(tokenizer_folder)
    tokenizer = open_tokenizer(tokenizer_folder)
    return RemoteLM(name, tokenizer, seen - 2, wire, ask, chunks, text_only=not imported)


def _wire(url: str, region: str, price_per_million: float | None) -> Wire:
    origin = origin_of(url)
    keys = tuple(secret(variable) for variable in KEYS)
    if not keys[0] or not keys[1]:
        raise UsageError("no AWS keys are in the environment", fix=f"set {KEYS[0]} and {KEYS[1]}")
    refuse_open_line(origin, KEYS[1])
    authorize = _signer(f"{origin.scheme}://{origin.netloc}", keys, region)
    return Wire(origin, authorize, tuple(filter(None, keys)), " and ".join(KEYS[:2]), Spent(price_per_million))


def _signer(address: str, keys: Sequence[str], region: str) -> Authorize:
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError as error:
        raise UsageError(
            "Bedrock needs botocore, which is not installed", fix="pip install 'basewright[remote]'"
        ) from error
    logging.getLogger("botocore.auth").setLevel(logging.INFO)  # at DEBUG it writes the session token
    signer = SigV4Auth(Credentials(keys[0], keys[1], keys[2] or None), "bedrock", region)

    def authorize(method: str, path: str, body: bytes) -> dict[str, str]:
        request = AWSRequest(method, address + path, {"Content-Type": "application/json"}, body)
        signer.add_auth(request)
        return {str(name): str(value) for name, value in request.headers.items()}

    return authorize


def _llama_form(body: dict[str, Any]) -> dict[str, Any]:
    names = {"prompt": "prompt", "max_tokens": "max_gen_len", "temperature": "temperature", "top_p": "top_p"}
    return {theirs: body[ours] for ours, theirs in names.items()}


def _completion(answer: Any, wire: Wire) -> dict[str, Any]:
    """An answer of the Llama form as one of the completions form."""
    if not isinstance(answer, dict) or not isinstance(answer.get("generation"), str):
        raise wire.fault("the answer holds no generation: the model is not of the Llama form")
    usage = {
        "prompt_tokens": answer.get("prompt_token_count"),
        "completion_tokens": answer.get("generation_token_count"),
    }
    choice = {
        "text": answer["generation"],
        "finish_reason": "length" if answer.get("stop_reason") == "length" else "stop",
    }
    return {"choices": [choice], "usage": usage}
