"""`basewright serve`: answer on /v1/completions with what was built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basewright.cli import show

if TYPE_CHECKING:
    from basewright.serve.artifact import Engine


@click.command()
@click.argument("what")
@click.option("--host", default="127.0.0.1", show_default=True, help="Others than this machine's need an API key.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--engine", type=click.Choice(["torch", "llama_cpp"]), default="torch", show_default=True)
@show.runs_option
@show.json_option
def command(what: str, host: str, port: int, engine: Engine, runs: Path, as_json: bool) -> None:
    """Serve WHAT, a release's name or folder, the id or folder of a tuning's result, a model's folder, or a model of
    the catalog, until Ctrl-C.

    With BASEWRIGHT_API_KEY in the environment, every request but /healthz needs that key.

    \b
    basewright serve contract-clauses
    """
    from basewright.serve import run
    from basewright.serve.artifact import chat, find, layout, open_artifact

    store = show.open_store(runs)
    folder = find(what, store)
    lm, name, _ = open_artifact(folder, engine, store=store)
    tuned = layout(folder)
    template = chat(lm, tuned)
    prompt = tuned.prompt.replace("{text}", "…") if tuned else "Once upon a time"

    def ready(url: str) -> None:
        if as_json:
            show.result("", {"url": f"{url}/v1", "model": name, "engine": lm.engine, "context": lm.context}, as_json)
        show.hint(f"{name} answers on {url}/v1  ({lm.engine}, {lm.precision}, context {lm.context}; Ctrl-C ends it)")
        show.hint(f"\nTry       {_curl(url, name, prompt, template is not None)}")

    run.start(lm, name, host, port, ready, template)


def _curl(url: str, name: str, prompt: str, chats: bool) -> str:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]} if chats else {"prompt": prompt}
    body = json.dumps({"model": name, **asked, "max_tokens": 16, "temperature": 0}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    return f"curl {url}/v1/{'chat/' if chats else ''}completions -H 'Content-Type: application/json' -d '{quoted}'"
