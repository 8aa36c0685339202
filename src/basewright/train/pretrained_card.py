"""README.md of a base model made here: what it learned from, what it scored, what it gives back, what it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from basewright import __version__
from basewright.catalog import licences
from basewright.records import Checkpoint, PretrainSettings, TrainSettings

_TINY = (
    "Nothing was filtered by content, and no personal data was looked for or removed.",
    "Not measured: bias, toxicity, and whatever stands in no table above.",
)
LIMITS = {
    "decoder": (
        "A base model: it continues text and follows no instructions. Nobody aligned it or taught it to refuse.",
        "Tiny: expect phrases in the manner of what it read, not facts, arguments or programs that work.",
        "At temperature 0 it soon repeats itself.",
        *_TINY,
    ),
    "encoder": (
        "An encoder: it writes nothing. It is made to be tuned, with a head that tells labels apart.",
        "Tiny: what it finds likely in a gap is grammar and custom, not knowledge.",
        *_TINY,
    ),
}


def page(made: Checkpoint, settings: PretrainSettings) -> str:
    """The whole card: YAML that model hubs read, then sections for a person."""
    measured = (_scores, _learning, _memorised) if settings.kind == "decoder" else (_foreseen,)
    parts = (_front_matter, _what, _data, _recipe, *measured, _limits)
    return "\n".join(line for part in parts for line in part(made, settings)) + "\n"


def _front_matter(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    first, *_ = licences.find(settings.licence)
    hub = first.hub if first else None
    yield "---"
    yield f"license: {hub or 'other'}"
    if not hub:
        yield f"license_name: {settings.licence.lower()}"
    yield f"language: {json.dumps([name for name in settings.languages if len(name) == 2])}"
    yield "library_name: transformers"
    yield f"pipeline_tag: {'text-generation' if settings.kind == 'decoder' else 'fill-mask'}"
    yield "---"


def _what(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    yield f"# {made.name}"
    yield ""
    family, does = ("Llama", "completes text") if settings.kind == "decoder" else ("ModernBERT", "fills in gaps")
    yield (
        f"A base model of {made.card.parameters:,} parameters ({family} architecture, context {settings.context:,}),"
        f" pretrained from nothing on {made.tokens:,} tokens by Basewright {__version__}. It {does}."
        f" Licence of the weights: {settings.licence}."
    )


def _data(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    yield from _head("What it learned from")
    rows = [(one.holds, one.url, one.licence, one.read_on) for one in settings.corpus.sources]
    yield from _table(("what", "from", "licence", "read on"), rows)
    yield ""
    yield (
        f"{made.documents:,} documents, {made.corpus_bytes:,} bytes, {made.corpus_tokens:,} tokens; {made.tokens:,} of"
        f" them were seen, {made.tokens / made.corpus_tokens:.2f} passes.{_cut(settings)} What is held out was never"
        f" learned from: {', '.join(f'`{path}`' for path in settings.corpus.held_out)}."
    )


def _cut(settings: PretrainSettings) -> str:
    limit = settings.corpus.document_bytes
    return "" if limit >= settings.corpus.max_bytes else f" Of a document at most {limit:,} bytes were taken."


def _recipe(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    train = settings.train
    yield from _head("How it was made")
    yield (
        f"{settings.layers} layers of width {settings.width}, {settings.heads} heads sharing {settings.kv_heads}"
        f" key-value heads, feed-forward {settings.feed_forward}, embedding tied to the output; byte-level BPE of"
        f" {made.card.config['vocab_size']:,} entries, learned from the same corpus."
    )
    yield ""
    yield (
        f"{train.steps:,} steps of at most {train.batch_tokens:,} tokens, {train.optimizer}, learning rate"
        f" {train.learning_rate:g} after {train.warmup} steps of warm-up,{_slow(train)} from step {train.decay_from:,}"
        f" on a {train.decay} way to {train.final_learning_rate:g}, weight decay {train.weight_decay:g}, clipping at"
        f" {train.clip:g}, seed {train.seed}, arithmetic in {train.precision}. {_windows(settings)}{made.flops:.2g}"
        " floating-point operations."
    )


def _slow(train: TrainSettings) -> str:
    return f" from step {train.slow_from:,} on falling with the root of the steps," if train.slow_from else ""


def _windows(settings: PretrainSettings) -> str:
    if not settings.window_until:
        return ""
    return f"Windows of {settings.window} tokens until step {settings.window_until:,}, then of {settings.context:,}. "


def _scores(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    yield from _head("What it scores on held-out text")
    if made.held_out:
        rows = [(f"**{made.name}**", f"**{made.held_out.bits_per_byte:.4f}**")]
        rows += [(name, f"{value:.4f}") for name, value in sorted(made.baselines.items(), key=lambda pair: pair[1])]
        yield from _table(("", "bits per byte"), rows)
        yield ""
    yield (
        f"Each token of the model is predicted once, in windows of {settings.context:,}. `xz -6 of each` packs the"
        " documents one by one, `xz -6 of all` in one piece; the 5-gram (interpolated Kneser-Ney) counted the tokens of"
        " the whole corpus."
    )


def _foreseen(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    """What an encoder finds behind the mask, while it learned and as it is written."""
    yield from _head("What it foresees in held-out text")
    rows = [(f"{p.step:,}", f"{p.tokens:,}", f"{p.masked:.4f}", _share(p.foreseen)) for p in made.curve]
    if made.held_out:
        rows.append(
            ("**as written**", f"{made.tokens:,}", f"**{made.held_out.masked:.4f}**", _share(made.held_out.foreseen))
        )
    rows += [(name, "", f"{value:.4f}", "") for name, value in made.baselines.items()]
    yield from _table(("step", "tokens", "nats per hidden token", "likeliest"), rows)
    yield ""
    yield (
        "15 % of the tokens of held-out text are hidden, all at once, in windows of"
        f" {settings.window or settings.context}; the model sees what stands on both sides of each. So these nats are"
        " not to be compared with a decoder's bits per byte. Likeliest: the share of hidden tokens that it holds"
        " likelier than any other. `uniform` holds all tokens alike, `unigram` goes by how often each came in the"
        " corpus."
        f" In training {settings.masked:.0%} were to be foreseen, of which one in ten stood there and one in ten was"
        " another."
    )


def _learning(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    if not made.curve:
        return
    yield from _head("While it learned")
    rows = [
        (f"{p.step:,}", f"{p.tokens:,}", f"{p.bits_per_byte:.4f}", _share(p.cloze), _share(p.copied))
        for p in made.curve
    ]
    yield from _table(("step", "tokens", "bits per byte", "last words", "copied"), rows)
    yield ""
    yield (
        "Last words: how many of the last words of held-out sentences it writes by itself. Copied: the mean probability"
        " of the tokens of a random sequence when it comes a second time; without it, examples in a prompt cannot help."
    )


def _memorised(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    found = made.memorisation
    if found is None:
        return
    yield from _head("What it gives back word for word")
    rows = [
        ("learned", f"{100 * found.learned:.1f} %", f"{found.learned_nats:.3f}"),
        ("held out", f"{100 * found.held_out:.1f} %", f"{found.held_out_nats:.3f}"),
    ]
    yield from _table(("text", f"next {found.continued} tokens exact", "nats per token"), rows)
    yield ""
    yield f"{found.windows} windows of each: {found.prompt} tokens are shown, {found.continued} are written greedily."


def _limits(made: Checkpoint, settings: PretrainSettings) -> Iterator[str]:
    yield from _head("Limits")
    yield from (f"- {text}" for text in (*settings.cautions, *LIMITS[settings.kind]))


def _head(title: str) -> Iterator[str]:
    yield from ("", f"## {title}", "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
