"""Replicate: a model there as an endpoint that generates, by its predictions: made, then polled until they end.

Replicate streams from another host than the one the key is for, so answers are polled, and come in parts as the model
makes them. No prediction tells the log-probabilities of a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from basewright.engine.remote.endpoint import RemoteLM, folder_window
from basewright.engine.remote.key import open_wire
from basewright.engine.remote.transport import Wire, wait
from basewright.engine.remote.work import Check, polled
from basewright.errors import BasewrightError, UsageError
from basewright.text.tokenizer import open_tokenizer

POLL = 0.5
"""Seconds, as Replicate's own client polls."""
NAMES = {
    "prompt": ("prompt",),
    "max_tokens": ("max_tokens", "max_new_tokens", "max_length"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "seed": ("seed",),
}
"""What models call our settings in their inputs."""
ENDED = ("succeeded", "failed", "canceled")


def open_lm(
    model: str,
    tokenizer_folder: Path,
    name: str,
    *,
    url: str = "https://api.replicate.com",
    key_variable: str = "REPLICATE_API_TOKEN",
    price_per_million: float | None = None,
    context: int | None = None,
) -> RemoteLM:
    """The engine over `owner/name` or `owner/name:version`. Raises `UsageError`."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(:[0-9a-f]{64})?", model, re.ASCII):
        raise UsageError("that is no model of Replicate's", fix="give owner/name or owner/name:version")
    wire = open_wire(url, key_variable, price_per_million)
    path, _, version = model.partition(":")
    known = next(polled([lambda check: [_inputs(wire, path, version, check)]], 1))

    def ask(body: dict[str, Any], check: Check, final: Sequence[int] = ()) -> Any:
        raise NotImplementedError  # a text-only engine asks for chunks alone

    def chunks(body: dict[str, Any], check: Check) -> Iterator[Any]:
        asked: dict[str, Any] = {"input": _input(body, known)}
        if version:
            made = wire.ask("POST", "/v1/predictions", asked | {"version": version}, check=check)
        else:
            made = wire.ask("POST", f"/v1/models/{path}/predictions", asked, check=check)
        return _parts(wire, made, body["max_tokens"], check)

    seen = context or folder_window(tokenizer_folder)
    tokenizer = open_tokenizer(tokenizer_folder)
    return RemoteLM(name, tokenizer, seen - 2, wire, ask, chunks, text_only=True)


def _inputs(wire: Wire, path: str, version: str, check: Check) -> dict[str, Any]:
    """The inputs that a model takes, by name. Raises `BasewrightError` for one that does not continue prompts."""
    where = f"/v1/models/{path}/versions/{version}" if version else f"/v1/models/{path}"
    found = wire.ask("GET", where, check=check)
    for name in ("openapi_schema",) if version else ("latest_version", "openapi_schema"):
        found = found.get(name) if isinstance(found, dict) else None
    for name in ("components", "schemas", "Input", "properties"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not all(set(NAMES[name]) & set(found) for name in ("prompt", "max_tokens")):
        raise wire.fault("the model does not say that it takes a prompt and how many tokens to make")
    return found


def _input(body: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Our settings under the model's names; what it has no name for is left out, but never the length."""
    found = {name: body[ours] for ours, names in NAMES.items() for name in names if name in known}
    return found | {"prompt_template": "{prompt}"} if "prompt_template" in known else found


def _parts(wire: Wire, made: Any, room: int, check: Check) -> Iterator[Any]:
    """Chunks of what a prediction makes. One that nobody waits for any more is canceled."""
    number = made.get("id") if isinstance(made, dict) else None
    if not isinstance(number, str) or not re.fullmatch(r"[0-9A-Za-z]+", number):
        raise wire.fault("the answer is no prediction")
    path, sent, status = f"/v1/predictions/{number}", "", ""
    try:
        while True:
            status, text = _state(wire, made)
            if text != sent:
                yield _chunk(text[len(sent) :], None)
                sent = text
            if status in ENDED:
                break
            wait(POLL, check)
            made = wire.ask("GET", path, check=check)
    finally:
        if status not in ENDED:
            with suppress(BasewrightError):
                wire.ask("POST", f"{path}/cancel", check=lambda: None)
    if status != "succeeded":
        raise wire.fault(f"the prediction has {status}")
    yield _last(made.get("metrics"), room)


def _state(wire: Wire, prediction: Any) -> tuple[str, str]:
    """(status, text so far)."""
    if not isinstance(prediction, dict) or not isinstance(prediction.get("status"), str):
        raise wire.fault("the answer is no prediction")
    output = prediction.get("output") or []
    parts = output if isinstance(output, list) else [output]
    if not all(isinstance(part, str) for part in parts):
        raise wire.fault("the prediction's output is not text")
    return prediction["status"], "".join(parts)


def _last(metrics: Any, room: int) -> dict[str, Any]:
    counts = metrics if isinstance(metrics, dict) else {}
    made = counts.get("output_token_count")
    usage = {"prompt_tokens": counts.get("input_token_count"), "completion_tokens": made}
    return _chunk("", "length" if isinstance(made, int) and made >= room else "stop") | {"usage": usage}


def _chunk(text: str, finish: str | None) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": finish}]}
