"""Endpoints on a loopback port that answer as vLLM, OpenAI, Together, llama-server, Replicate and Bedrock do.

What they say is computed by `engine.fake`; how they say it follows their documentation and, of the open ones, source.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np

from basewright.engine import draw
from basewright.engine.fake import END, FakeLM
from basewright.engine.lm import Sampling, Token
from basewright.text import encode
from basewright.text.tokenizer import Tokenizer

Style = Literal["vllm", "openai", "together", "llama-server"]
MODEL = "fake/base"
OPENAI_FIELDS = {
    *("model", "prompt", "echo", "logprobs", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"),
    *("stream_options", "n", "best_of", "suffix", "logit_bias", "user", "presence_penalty", "frequency_penalty"),
}


@dataclass(slots=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass(slots=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    events: Iterator[bytes] | None = None
    """A stream, in place of the body; when one is empty, the connection is cut there."""
    cut: bool = False
    """Close the connection without an answer."""


Answer = Callable[[Seen], Reply]


@dataclass(slots=True)
class Standing:
    port: int
    seen: list[Seen] = field(default_factory=list)
    faults: deque[Reply] = field(default_factory=deque)
    """Given instead of an answer, one for each request."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), {name.replace("_", "-"): said for name, said in headers.items()})


def refused(message: str, status: int = 400, **headers: str) -> Reply:
    return as_json({"error": {"message": message, "type": "invalid_request_error", "code": None}}, status, **headers)


@contextmanager
def standing(answer: Answer) -> Iterator[Standing]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen = Seen(self.command, self.path, {name.lower(): said for name, said in self.headers.items()}, body)
            place.seen.append(seen)
            reply = place.faults.popleft() if place.faults else answer(seen)
            if reply.cut:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, said in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, said)
            if reply.events is None:
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self._stream(reply.events)

        def _stream(self, events: Iterator[bytes]) -> None:
            for event in events:
                if not event:
                    self.close_connection = True
                    return
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that left

    server = Server(("127.0.0.1", 0), Handler)
    place = Standing(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int | None = None) -> Path:
    """The fake engine's tokenizer as a model's folder; `context` is what its configuration says."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import processors

    folder.mkdir(parents=True, exist_ok=True)
    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, tokenizer.eos_id)])
    backend.save(str(folder / "tokenizer.json"))
    facts = {"bos_token": END, "eos_token": END, **({"model_max_length": context} if context else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts), "utf-8")
    return folder


# --- completions ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Completions:
    """POST /v1/completions and GET /v1/models in one provider's style."""

    lm: FakeLM
    style: Style = "vllm"
    key: str | None = None

    def __call__(self, seen: Seen) -> Reply:
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            return refused("Incorrect API key provided", 401)
        if (seen.method, seen.path) == ("GET", "/v1/models"):
            return as_json(self._listed())
        if (seen.method, seen.path) != ("POST", "/v1/completions"):
            return refused("no such address", 404)
        return self.complete(seen.json)

    def _listed(self) -> Any:
        entry: dict[str, Any] = {"id": MODEL, "object": "model"}
        if self.style == "together":
            return [{**entry, "context_length": self.lm.context}]
        if self.style == "vllm":
            entry["max_model_len"] = self.lm.context
        if self.style == "llama-server":
            entry["meta"] = {"n_ctx_train": self.lm.context}
        return {"object": "list", "data": [entry]}

    def complete(self, body: dict[str, Any]) -> Reply:
        if body.get("model", MODEL) != MODEL:
            return refused("The model does not exist", 404)
        if self.style == "openai" and (unknown := set(body) - OPENAI_FIELDS):
            return refused(f"Unrecognized request argument supplied: {min(unknown)}")
        if self.style == "openai" and (body.get("logprobs") or 0) > 5:
            return refused("logprobs is at most 5")
        if self.style == "together" and not isinstance(body["prompt"], str):
            return refused("prompt: expected a string", 422)
        if self.style == "llama-server" and body.get("echo"):
            return refused("Only no echo is supported", 500)
        tokenizer = self.lm.tokenizer
        ids = encode.prompt(tokenizer, body["prompt"]) if isinstance(body["prompt"], str) else list(body["prompt"])
        if not all(0 <= number < tokenizer.size for number in ids):
            return refused("Token id is out of vocabulary")
        if len(ids) + body["max_tokens"] > self.lm.context:
            return refused(f"This model's maximum context length is {self.lm.context} tokens")
        steps = self._steps(ids, body)
        if body.get("stream"):
            return Reply(headers={"Content-Type": "text/event-stream"}, events=self._events(len(ids), steps, body))
        return as_json(self._whole(ids, list(steps), body))

    def _steps(self, ids: list[int], body: dict[str, Any]) -> Iterator[tuple[Token, str, str | None]]:
        """(token, text that has become certain, why it ends here)."""
        settings = Sampling(
            temperature=body.get("temperature", 1.0), top_p=body.get("top_p", 1.0), seed=body.get("seed") or 0
        )
        tokenizer, made, text = self.lm.tokenizer, list[int](), ""
        for token in draw.tokens(tokenizer, self.lm._predict, ids, body["max_tokens"], settings):
            if token.id == tokenizer.eos_id:
                yield token, tokenizer.text(made)[len(text) :], "stop"
                return
            made.append(token.id)
            ends = len(made) == body["max_tokens"]
            whole = tokenizer.text(made) if ends else tokenizer.text(made).rstrip("\N{REPLACEMENT CHARACTER}")
            found = [at for stop in body.get("stop") or () if (at := whole.find(stop)) >= 0]
            more = whole[len(text) : min(found) if found else None]
            text = whole
            yield token, more, "stop" if found else "length" if ends else None
            if found:
                return

    def _events(
        self, prompt: int, steps: Iterator[tuple[Token, str, str | None]], body: dict[str, Any]
    ) -> Iterator[bytes]:
        before, made = list(body["prompt"]) if not isinstance(body["prompt"], str) else [], 0
        if isinstance(body["prompt"], str):
            before = encode.prompt(self.lm.tokenizer, body["prompt"])
        yield b": a comment\n\n"
        for token, text, finish in steps:
            made += token.id != self.lm.tokenizer.eos_id
            choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": self._named([token], before, body)}
            before.append(token.id)
            yield _event({"choices": [choice]})
        yield _event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": made}})
        yield b"data: [DONE]\n\n"

    def _whole(
        self, ids: list[int], steps: list[tuple[Token, str, str | None]], body: dict[str, Any]
    ) -> dict[str, Any]:
        text = "".join(more for _, more, _ in steps)
        tokens = [token for token, _, _ in steps]
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": steps[-1][2]}
        choice["logprobs"] = self._named(tokens, ids, body)
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(steps)}
        answer = {"object": "text_completion", "model": MODEL, "choices": [choice], "usage": usage}
        if self.style == "vllm" and body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self._prompt_logprobs(ids)
        if body.get("echo") and self.style == "together":
            part = self._named([_token(number) for number in ids[1:]], ids[:1], body) or {}
            tokens_of = [self.lm.tokenizer.pieces(ids[:1])[0], *part["tokens"]]
            logprobs = {"tokens": tokens_of, "token_ids": ids, "token_logprobs": [None, *part["token_logprobs"]]}
            answer["prompt"] = [{"text": body["prompt"], "logprobs": logprobs}]
        elif body.get("echo"):
            choice["logprobs"] = self._echoed(ids, tokens, body)
        return answer

    def _echoed(self, ids: list[int], tokens: list[Token], body: dict[str, Any]) -> dict[str, Any]:
        rest = self._named([*(_token(number) for number in ids[1:]), *tokens], ids[:1], body) or {}
        first = {"tokens": self.lm.tokenizer.pieces(ids[:1]), "token_logprobs": [None], "top_logprobs": [None]}
        return {name: first[name] + rest[name] for name in first}

    def _named(self, tokens: list[Token], before: list[int], body: dict[str, Any]) -> dict[str, Any] | None:
        """The log-probabilities of tokens after `before`, in this style."""
        if body.get("logprobs") is None:
            return None
        ids, rows = list(before), []
        for token in tokens:
            row = self.lm._predict(ids)
            top = np.argsort(-row, kind="stable")[: body["logprobs"]].tolist()
            rows.append((token.id, {number: float(row[number]) for number in dict.fromkeys([token.id, *top])}))
            ids.append(token.id)
        as_ids = self.style == "vllm" and body.get("return_tokens_as_token_ids")
        if self.style == "llama-server":
            return {"content": [self._entry(number, row) for number, row in rows]}
        name = (lambda number: f"token_id:{number}") if as_ids else self._piece
        return {
            "tokens": [name(number) for number, _ in rows],
            "token_logprobs": [row[number] for number, row in rows],
            "top_logprobs": [{name(other): value for other, value in row.items()} for _, row in rows],
        }

    def _entry(self, number: int, row: dict[int, float]) -> dict[str, Any]:
        top = [{"id": other, "token": self._piece(other), "logprob": value} for other, value in row.items()]
        return {"id": number, "token": self._piece(number), "logprob": row[number], "top_logprobs": top}

    def _piece(self, number: int) -> str:
        piece = self.lm.tokenizer.pieces([number])[0]
        if self.style == "openai" and "\N{REPLACEMENT CHARACTER}" in piece:
            return f"bytes:\\x{number:02x}"
        return piece

    def _prompt_logprobs(self, ids: list[int]) -> list[dict[str, Any] | None]:
        found: list[dict[str, Any] | None] = [None]
        for at in range(1, len(ids)):
            row = self.lm._predict(ids[:at])
            found.append(
                {
                    str(number): {
                        "logprob": float(row[number]),
                        "rank": int((row >= row[number]).sum()),
                        "decoded_token": self._piece(number),
                    }
                    for number in dict.fromkeys([ids[at], int(row.argmax())])
                }
            )
        return found


def _token(number: int) -> Token:
    return Token(number, "", 0.0)


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


# --- Replicate ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Predictions:
    """Replicate's predictions: each GET finds one part more."""

    parts: tuple[str, ...] = ("Once", " upon", " a", " time")
    ends: str = "succeeded"
    properties: tuple[str, ...] = ("prompt", "max_tokens", "temperature", "top_p", "seed", "prompt_template")
    state: dict[str, Any] = field(default_factory=dict)

    def __call__(self, seen: Seen) -> Reply:
        if seen.headers.get("authorization", "").lower() != "bearer r8_secret":
            return as_json({"title": "Unauthenticated", "detail": "no valid token", "status": 401}, 401)
        if (seen.method, seen.path) == ("GET", "/v1/models/meta/base"):
            schema: dict[str, Any] = {
                "components": {"schemas": {"Input": {"properties": {name: {} for name in self.properties}}}}
            }
            return as_json({"owner": "meta", "name": "base", "latest_version": {"openapi_schema": schema}})
        if (seen.method, seen.path) == ("POST", "/v1/models/meta/base/predictions"):
            return self._made(seen.json["input"])
        if (seen.method, seen.path) == ("POST", "/v1/predictions/abc123/cancel"):
            self.state["status"] = "canceled"
            return as_json(self.state)
        if (seen.method, seen.path) == ("GET", "/v1/predictions/abc123"):
            return self._grown()
        return as_json({"detail": "not found"}, 404)

    def _made(self, given: dict[str, Any]) -> Reply:
        if unknown := set(given) - set(self.properties):
            return as_json({"detail": f"Additional property {min(unknown)} is not allowed"}, 422)
        times = dict.fromkeys(("created_at", "started_at", "completed_at"))
        urls = {"get": "https://example.org/never", "stream": "https://example.org/never"}
        self.state = {"id": "abc123", "model": "meta/base", "version": "v", "status": "starting", "input": given}
        self.state |= {"output": None, "logs": "", "error": None, "metrics": {}, "urls": urls, **times}
        return as_json(self.state, 201)

    def _grown(self) -> Reply:
        output = [*(self.state["output"] or []), self.parts[len(self.state["output"] or [])]]
        self.state |= {"output": output, "status": "processing"}
        if len(output) == len(self.parts):
            counts = {"input_token_count": 3, "output_token_count": len(self.parts)}
            self.state |= {"status": self.ends, "metrics": counts}
        return as_json(self.state)


# --- Bedrock --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Bedrock:
    """InvokeModel: a request counts only if botocore's own signer signs it so; imported models answer as vLLM."""

    models: Completions
    access: str = "AKIDEXAMPLE"
    secret: str = "wJalrXUtnFEMI-EXAMPLE"
    token: str | None = None
    region: str = "eu-west-3"

    def __call__(self, seen: Seen) -> Reply:
        if not self.is_signed(seen):
            return as_json({"message": "The request signature we calculated does not match"}, 403)
        body = seen.json
        if "max_gen_len" not in body:
            return self.models.complete(body)
        answer = self.models.complete({"prompt": body["prompt"], "max_tokens": body["max_gen_len"], "temperature": 0})
        (choice,) = json.loads(answer.body)["choices"]
        counts = {"prompt_token_count": 7, "generation_token_count": body["max_gen_len"]}
        return as_json({"generation": choice["text"], "stop_reason": choice["finish_reason"], **counts})

    def is_signed(self, seen: Seen) -> bool:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        signer = SigV4Auth(Credentials(self.access, self.secret, self.token), "bedrock", self.region)
        said = seen.headers.get("authorization", "")
        names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: seen.headers[name] for name in names if name in seen.headers}
        request = AWSRequest("POST", f"http://{seen.headers['host']}{seen.path}", headers, seen.body)
        request.context["timestamp"] = seen.headers.get("x-amz-date", "")
        wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return {"host", "x-amz-date"} <= set(names) and said.endswith(f"Signature={wanted}")
