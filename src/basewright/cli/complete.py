"""`basewright complete`: continue a prompt with a base model, raw or few-shot."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basewright.cli import show
from basewright.errors import DataError, UsageError
from basewright.records import Layout

if TYPE_CHECKING:
    from basewright.engine.lm import Piece, Token

SEPARATOR = "\n\n"
"""Between solved examples, and what then ends the answer."""


@click.command()
@click.argument("what")
@click.argument("prompt", default="-")
@click.option("--text", "asked", help="Instead of PROMPT: a text that is put into the layout the model was tuned on.")
@click.option(
    "--shots", type=click.Path(dir_okay=False, path_type=Path), help="Solved examples: rows of text and label."
)
@click.option(
    "--prompt-layout",
    default="Text: {text}\\nLabel:",
    show_default=True,
    help="How a row looks, with --shots; \\n is a new line.",
)
@click.option("--max-tokens", type=click.IntRange(0), default=64, show_default=True)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 takes the likeliest.")
@click.option("--top-p", type=click.FloatRange(0, 1), default=1.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--stop", "stops", multiple=True, help="A text that ends the answer; \\n is a new line. Repeatable.")
@click.option("--logprobs", type=click.IntRange(0, 20), help="Also a table of tokens, with so many alternatives.")
@show.runs_option
@show.json_option
def command(
    what: str,
    prompt: str,
    asked: str | None,
    shots: Path | None,
    prompt_layout: str,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stops: tuple[str, ...],
    logprobs: int | None,
    runs: Path,
    as_json: bool,
) -> None:
    """Continue PROMPT, or what comes on standard input, with WHAT: a release, the id or folder of a tuning's result, a
    model's folder, or a catalog model.

    \b
    basewright complete foundling-prose "Once upon a time"
    basewright complete foundling-prose "it broke at once" --shots reviews.jsonl
    basewright complete tuned-0123456789abcdef --text "it broke at once"
    """
    from basewright.engine.lm import Sampling
    from basewright.serve.artifact import chat, find, layout, open_artifact
    from basewright.text.layout import Turn

    store = show.open_store(runs)
    folder = find(what, store)
    learned = layout(folder)
    text = _read(prompt) if asked is None else _laid_out(asked, prompt, shots, learned, what)
    if shots is not None:
        text = _few_shot(shots, Layout(prompt=_lines(prompt_layout), separator=SEPARATOR), text)
        stops = stops or (SEPARATOR,)
    sampling = Sampling(max_tokens, temperature, top_p, seed, tuple(_lines(stop) for stop in stops), logprobs or 0)
    if "" in sampling.stops:
        raise UsageError("--stop is empty", fix="give the text that ends the answer, or leave --stop out")
    lm, name, _ = open_artifact(folder, store=store)
    template = chat(lm, learned)
    ids: list[int] | None = None
    if template is None or asked is None:
        _hint_layout(learned, text)
    else:
        ids, text = template.ids([Turn("user", text)]), template.shown(text)
    pieces: list[Piece] = []
    for piece in lm.generate(text if ids is None else ids, sampling):
        pieces.append(piece)
        if not as_json:
            show.piece(piece.text)
    answer = "".join(piece.text for piece in pieces)
    tokens = [token for piece in pieces for token in piece.tokens]
    plain = {
        "model": name,
        "text": answer,
        "tokens": tokens,
        "finish": pieces[-1].finish,
        "settings": {"prompt": text, "sampling": sampling, "engine": lm.engine, "precision": lm.precision},
    }
    show.result("" if logprobs is None else "\n\n" + _table(tokens), plain, as_json)


def _read(prompt: str) -> str:
    """The prompt, or standard input without the new line that ends its last line."""
    if prompt == "-" and sys.stdin.isatty():
        show.hint("Reading the prompt from the keyboard; Ctrl-D ends it.")
    try:
        if prompt == "-":
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        return os.fsencode(prompt).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"the prompt is not UTF-8: {error.reason}", fix="save it as UTF-8") from error


def _laid_out(text: str, prompt: str, shots: Path | None, learned: Layout | None, what: str) -> str:
    """The text as the model read texts when it was tuned. Raises `UsageError` for a model that knows no layout."""
    from basewright.text import layout as layouts

    if prompt != "-" or shots is not None:
        raise UsageError("--text says all that is asked", fix="leave out PROMPT and --shots, or --text")
    if learned is None:
        raise UsageError(f"{what} says of no layout that it was tuned on", fix="give a whole PROMPT instead of --text")
    return layouts.prompt(learned, text)


def _lines(text: str) -> str:
    return text.replace("\\n", "\n")


def _few_shot(path: Path, layout: Layout, text: str) -> str:
    from basewright.data import rows
    from basewright.text import layout as layouts

    return layouts.few_shot(layouts.check(layout), rows.read(path), text)


def _hint_layout(layout: Layout | None, prompt: str) -> None:
    """A tuned model answers in its layout only; whoever asks in another is told, and asked what they asked."""
    if layout is None:
        return
    if layout.chat is not None:
        show.hint("This model was tuned with its chat template: --text asks it so; this prompt is taken as it is.")
        return
    head, _, tail = layout.prompt.partition("{text}")
    if not (prompt.startswith(head) and prompt.endswith(tail)):
        show.hint(f"This model was tuned on prompts like {layout.prompt!r}; this one is not, and is taken as it is.")


def _table(tokens: list[Token]) -> str:
    rows = [
        (repr(token.text), f"{token.logprob:.4f}", "  ".join(f"{text!r} {logprob:.4f}" for text, logprob in token.top))
        for token in tokens
    ]
    return show.table(rows, ("token", "nats", "alternatives"))
